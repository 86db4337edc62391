//! Files that are no images, named as an image to start from or as a mask.

use std::fs;
use std::path::Path;

use super::images;
use crate::error::Error;
use crate::image::{Ground, InitImage};
use crate::request::ImageInput;

/// Demands that a file is refused in one line, as an image and as a mask.
#[track_caller]
fn refused(path: &Path, reason: &str) {
    let scene = images().join("scene_48x32.png");
    let input = |init_image: &Path, mask: Option<&Path>| ImageInput {
        init_image: init_image.to_owned(),
        mask: mask.map(Path::to_owned),
        mask_crop: None,
        strength: 0.6,
    };
    for input in [input(path, None), input(&scene, Some(path))] {
        let error = InitImage::read(&input, Ground::White).unwrap_err();
        assert!(matches!(error, Error::Image { .. }), "{error}");
        let error = error.to_string();
        let start = format!("{}: ", path.display());
        assert!(
            error.starts_with(&start) && error.contains(reason) && !error.contains('\n'),
            "{error}"
        );
    }
}

#[test]
fn files_that_are_no_images_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let whole = fs::read(images().join("scene_48x32.png")).unwrap();
    let jpeg = fs::read(images().join("rgb.jpg")).unwrap();
    let files: [(&str, &[u8], &str); 7] = [
        ("empty.png", b"", "is empty"),
        ("text.png", b"a red fox", "is not an image"),
        ("cut.png", &whole[..whole.len() / 2], "damaged or cut short"),
        ("head.png", &whole[..20], "damaged or cut short"),
        ("cut.jpg", &jpeg[..jpeg.len() - 40], "cut short"),
        (
            "fake.jpg",
            &[0xff, 0xd8, 0xff, 0xd9, 0, 0],
            "damaged or cut short",
        ),
        ("bomb.png", &bomb(), "too large: 60000x60000"),
    ];
    for (name, bytes, reason) in files {
        let path = folder.path().join(name);
        fs::write(&path, bytes).unwrap();
        refused(&path, reason);
    }
    refused(&folder.path().join("none.png"), "No such file");
    refused(folder.path(), "is not a file");
}

/// A PNG of a few bytes that claims 3.6 billion pixels.
fn bomb() -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, 60_000, 60_000);
    encoder.set_color(png::ColorType::Rgb);
    let mut writer = encoder.write_header().unwrap();
    // Of its data only the beginning is there, which nobody gets to see.
    writer.write_chunk(png::chunk::IDAT, &[0x78, 0x9c]).unwrap();
    drop(writer);
    bytes
}
