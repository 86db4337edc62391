//! Ctrl-C.
#![cfg(unix)]

use std::io::{BufRead, BufReader, Read};
use std::process::Stdio;
use std::time::{Duration, Instant};

use crate::support::{Place, interrupt, interruptible};

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
    let mut command = interruptible(&generate);
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
    interrupt(&child);
    stderr.read_to_string(&mut said).unwrap();
    let status = child.wait().unwrap();

    assert_eq!(status.code(), Some(130), "{said}");
    assert!(said.contains("interrupted"), "{said}");
    assert!(pressed.elapsed() < Duration::from_secs(60));
    assert_eq!(place.written(), [""; 0]);
}
