//! `--mask` files whose alpha channel says what is repainted, or seems to.

use image::{GrayImage, Luma, Rgba, RgbaImage};

use crate::init_image::{image, pixels};
use crate::support::Place;

/// The repainted part, as a mask without an alpha channel has it.
fn grey(x: u32, y: u32) -> u8 {
    if x > 20 && y > 10 { 255 } else { 0 }
}

/// Draws with a mask of 48x32 pixels, and gives the pixels and what was said.
fn draw(place: &Place, mask: &str) -> (Vec<u8>, String) {
    let scene = image("scene_48x32.png");
    let run = place
        .generate(&["--init-image", &scene, "--mask", mask])
        .expect(0);
    (pixels(&place.path("out/x.png")).2, run.stderr)
}

fn save(place: &Place, name: &str, pixel: impl Fn(u32, u32) -> [u8; 4]) {
    let image = RgbaImage::from_fn(48, 32, |x, y| Rgba(pixel(x, y)));
    image.save(place.path(name)).unwrap();
}

#[test]
fn a_hole_is_repainted_and_told() {
    let place = Place::new();
    let mask = GrayImage::from_fn(48, 32, |x, y| Luma([grey(x, y)]));
    mask.save(place.path("grey.png")).unwrap();
    let (expected, said) = draw(&place, "grey.png");
    assert!(!said.contains("transparent"), "{said}");
    let scene = image::open(image("scene_48x32.png")).unwrap().into_rgb8();
    save(&place, "white.png", |x, y| {
        [255, 255, 255, 255 - grey(x, y)]
    });
    save(&place, "black.webp", |x, y| [0, 0, 0, 255 - grey(x, y)]);
    // The init image with a hole, as ComfyUI's mask editor saves it.
    save(&place, "scene.png", |x, y| {
        let [red, green, blue] = scene.get_pixel(x, y).0;
        [red, green, blue, 255 - grey(x, y)]
    });
    for name in ["white.png", "black.webp", "scene.png"] {
        let (found, said) = draw(&place, name);
        assert!(found == expected, "{name}");
        let note = format!("note: what is transparent in the mask {name} is repainted");
        assert!(said.contains(&note), "{said}");
    }
    save(&place, "cut.png", |x, y| {
        let level = grey(x, y);
        [level, level, level, if x < 4 { 0 } else { 255 }]
    });
    let (found, said) = draw(&place, "cut.png");
    assert!(found == expected);
    let note = "note: the mask cut.png is black and white, so what is white in it is repainted";
    assert!(said.contains(note), "{said}");
}
