//! The example of the engine as a library draws what the program draws.

use std::fs;

use engine::Request;
use engine::request::ImageSize;

use crate::support::Place;

#[path = "../../examples/generate.rs"]
mod example;

#[test]
fn the_example_draws_the_programs_image() {
    let place = Place::new();
    let ours = ["--width=48", "--height=48", "--steps=2", "--seed=9"];
    place.generate(&ours).expect(0);
    let output = place.path("out/library.png");
    let request = Request {
        size: ImageSize {
            width: Some(48),
            height: Some(48),
        },
        steps: Some(2),
        ..Request::new("a red fox", 9)
    };
    example::draw(&place.path("models"), request, &output).unwrap();
    // Its recipe too.
    assert!(fs::read(&output).unwrap() == fs::read(place.path("out/x.png")).unwrap());
}
