//! `--mask-crop`: the part around the mask is drawn alone, and put back into the init image.

use std::fs;

use serde_json::Value;

use crate::from::from;
use crate::from_recipe::recipe;
use crate::init_image::{Recorded, image, pixels};
use crate::support::Place;

/// `--init-image` and `--mask` of a size, and `--mask-crop`.
fn crop(size: &str, padding: &str) -> [String; 6] {
    [
        "--init-image".to_owned(),
        image(&format!("scene_{size}.png")),
        "--mask".to_owned(),
        image(&format!("spot_{size}.png")),
        "--mask-crop".to_owned(),
        padding.to_owned(),
    ]
}

/// Runs `generate` with some flags after those of a crop.
fn generate(place: &Place, padding: &str, more: &[&str]) -> String {
    let crop = crop("61x45", padding);
    let crop: Vec<&str> = crop.iter().map(String::as_str).collect();
    let run = place.generate(&[&crop[..], more].concat()).expect(0);
    run.stderr
}

#[test]
fn a_cropped_image_is_the_references() {
    Recorded::new("demo_inpaint_crop").check(5e-5, 1);
    Recorded::new("inpaint_crop").check(5e-5, 1);
    Recorded::new("inpaint_crop_filled").check(5e-5, 1);
}

#[test]
fn what_is_black_in_the_mask_is_the_init_image() {
    let place = Place::new();
    let said = generate(&place, "4", &["--report=out/r.json"]);
    let note = "note: of the init image the ";
    assert!(said.contains(note) && said.contains(", at 48x32"), "{said}");
    assert!(!said.contains("is resized"), "{said}");
    let (width, height, found) = pixels(&place.path("out/x.png"));
    assert_eq!((width, height), (61, 45));
    let scene = image::open(image("scene_61x45.png")).unwrap().into_rgb8();
    let mask = image::open(image("spot_61x45.png")).unwrap().into_luma8();
    let pixels = found.chunks_exact(3).zip(scene.pixels()).zip(mask.pixels());
    let (mut kept, mut changed) = (0, 0);
    for ((found, before), mask) in pixels {
        match (mask.0[0], found == before.0) {
            (0, true) => kept += 1,
            (0, false) => panic!("a pixel changed where the mask is black"),
            (_, same) => changed += usize::from(!same),
        }
    }
    assert!(kept > 1000 && changed > 20, "{kept} and {changed}");
    let report: Value =
        serde_json::from_slice(&fs::read(place.path("out/r.json")).unwrap()).unwrap();
    let image = &report["images"][0];
    assert_eq!(
        (&image["width"], &image["height"]),
        (&61.into(), &45.into())
    );
    assert_eq!(
        (&report["width"], &report["height"]),
        (&48.into(), &32.into())
    );
}

#[test]
fn the_crop_is_recorded_and_made_again() {
    let place = Place::new();
    generate(&place, "4", &[]);
    assert_eq!(recipe(&place, "out/x.png")["mask_crop"], 4);
    let parameters = fs::read(place.path("out/x.png")).unwrap();
    let text = b"Inpaint area: Only masked, Masked area padding: 4, Size: 48x32";
    assert!(parameters.windows(text.len()).any(|bytes| bytes == text));

    let files = crop("61x45", "0");
    let files: Vec<&str> = files[..4].iter().map(String::as_str).collect();
    from(
        &place,
        "out/x.png",
        &[&files[..], &["-o", "out/y.png"]].concat(),
    )
    .expect(0);
    let read = |name: &str| pixels(&place.path(name));
    assert!(read("out/x.png") == read("out/y.png"));
    assert_eq!(recipe(&place, "out/y.png")["mask_crop"], 4);
    // A flag counts more.
    let other = ["--mask-crop", "9", "-o", "out/z.png"];
    from(&place, "out/x.png", &[&files[..], &other].concat()).expect(0);
    assert_eq!(recipe(&place, "out/z.png")["mask_crop"], 9);
    assert!(read("out/x.png") != read("out/z.png"));
}

#[test]
fn another_crop_is_another_image() {
    let place = Place::new();
    let skipped = |padding: &str| generate(&place, padding, &["--resume"]).contains("skipping ");
    assert!(!skipped("4"));
    assert!(skipped("4"));
    assert!(!skipped("5"));
    let files = crop("61x45", "0");
    let files: Vec<&str> = files[..4].iter().map(String::as_str).collect();
    let whole = place.generate(&[&["--resume"], &files[..]].concat());
    assert!(!whole.expect(0).stderr.contains("skipping "));
}

#[test]
fn a_plan_is_of_the_size_that_is_drawn() {
    let place = Place::new();
    let said = generate(&place, "4", &["--dry-run", "-W", "64"]);
    assert!(said.contains(", at 64x32"), "{said}");
    assert_eq!(place.written(), [""; 0]);
}

#[test]
fn crops_that_make_no_sense_are_refused() {
    let place = Place::new();
    let scene = image("scene_61x45.png");
    let spot = image("spot_61x45.png");
    let start = ["--init-image", &scene];
    let usage = |more: &[&str], parts: &[&str]| {
        place.generate(more).expect_error(2, parts);
        assert_eq!(place.written(), [""; 0]);
    };
    usage(&["--mask-crop", "4"], &["--mask-crop needs --mask"]);
    let without = [&start[..], &["--mask-crop", "4"]].concat();
    usage(&without, &["--mask-crop needs --mask"]);
    for wrong in ["-1", "40000", "1.5", "32px"] {
        let flags = [&start[..], &["--mask", &spot, "--mask-crop", wrong]].concat();
        usage(&flags, &["--mask-crop", wrong]);
    }
    let black = image::GrayImage::new(61, 45);
    black.save(place.path("black.png")).unwrap();
    let flags = [&start[..], &["--mask", "black.png", "--mask-crop", "4"]].concat();
    place.refuses(&flags, &["black.png", "marks nothing"]);
}
