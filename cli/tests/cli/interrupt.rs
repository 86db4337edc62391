//! Ctrl-C.
#![cfg(unix)]

use std::io::{BufRead, BufReader, Read};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::support::Place;

#[test]
fn ctrl_c_ends_within_a_step_and_leaves_nothing() {
    let place = Place::new();
    let mut generate = place.command();
    generate.args([
        "--width=512",
        "--height=512",
        "--steps=1000",
        "--output=out/x.png",
    ]);
    generate.args(["--trace=out/t.safetensors", "--report=out/r.json"]);
    // A test run in the background of a script inherits SIGINT ignored, which the program honours.
    let mut command = Command::new("env");
    command
        .arg("--default-signal=INT,TERM,HUP")
        .arg(generate.get_program());
    command
        .args(generate.get_args())
        .current_dir(place.path(""));
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();

    let mut stderr = BufReader::new(child.stderr.take().unwrap());
    let mut said = String::new();
    while !said.contains("Denoising") {
        assert!(
            stderr.read_line(&mut said).unwrap() > 0,
            "ended early: {said}"
        );
    }
    let pressed = Instant::now();
    let id = child.id().to_string();
    assert!(
        Command::new("kill")
            .args(["-INT", &id])
            .status()
            .unwrap()
            .success()
    );
    stderr.read_to_string(&mut said).unwrap();
    let status = child.wait().unwrap();

    assert_eq!(status.code(), Some(130), "{said}");
    assert!(said.contains("interrupted"), "{said}");
    assert!(pressed.elapsed() < Duration::from_secs(60));
    assert_eq!(place.written(), [""; 0]);
}
