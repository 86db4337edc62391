//! Files of kinds that are refused by name, and none that is half understood.

use std::io::Cursor;
use std::path::Path;

use image::{DynamicImage, ImageFormat, Rgb32FImage};

use super::{images, read};

#[test]
fn kinds_that_are_not_read_are_refused_by_name() {
    for name in ["float.tiff", "integers.tiff", "lab.tiff", "palette.tiff"] {
        let path = images().join(name);
        let error = read(&std::fs::read(&path).unwrap(), &path).unwrap_err();
        let error = error.to_string();
        let expected = format!("{name}: is of a kind that is not read: ");
        assert!(
            error.contains(&expected) && !error.contains('\n'),
            "{error}"
        );
    }
}

#[test]
fn floating_point_samples_are_refused() {
    let image = DynamicImage::from(Rgb32FImage::new(4, 4));
    let mut bytes = Cursor::new(Vec::new());
    image.write_to(&mut bytes, ImageFormat::Tiff).unwrap();
    let error = read(&bytes.into_inner(), Path::new("x.tiff")).unwrap_err();
    assert!(
        error
            .to_string()
            .contains("x.tiff: has floating-point samples")
    );
}
