//! The example of the crates as a library draws what the program draws.

use std::fs::File;
use std::io::BufReader;
use std::path::Path;

use crate::support::Place;

#[path = "../../examples/generate.rs"]
mod example;

#[test]
fn the_example_draws_the_programs_image() {
    let place = Place::new();
    let ours = ["--width=48", "--height=48", "--steps=2", "--seed=9"];
    place.generate(&ours).expect(0);
    let output = place.path("out/library.png");
    let image = example::DrawnImage {
        models: place.path("models"),
        prompt: "a red fox".to_owned(),
        side: 48,
        steps: 2,
        seed: 9,
    };
    example::draw(image, &output).unwrap();
    assert!(pixels(&output) == pixels(&place.path("out/x.png")));
}

fn pixels(path: &Path) -> Vec<u8> {
    let file = BufReader::new(File::open(path).unwrap());
    let mut reader = png::Decoder::new(file).read_info().unwrap();
    let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
    let info = reader.next_frame(&mut pixels).unwrap();
    assert_eq!((info.width, info.height), (48, 48));
    pixels
}
