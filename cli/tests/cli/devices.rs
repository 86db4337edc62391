//! `devices`.

use serde_json::Value;

use crate::support::{Run, program};

fn devices(args: &[&str]) -> Run {
    program().arg("devices").args(args).output().unwrap().into()
}

#[test]
fn every_backend_is_listed_with_its_device_or_the_feature_to_add() {
    let run = devices(&[]).expect(0);
    for backend in ["cuda", "rocm", "metal", "vulkan", "webgpu", "flex"] {
        assert!(
            run.stdout.lines().any(|line| line.starts_with(backend)),
            "{backend}"
        );
    }
    #[cfg(not(feature = "rocm"))]
    assert!(run.stdout.contains("--features rocm"));
    assert_eq!(run.stderr, "");
}

#[test]
fn json_says_the_same_for_programs() {
    let run = devices(&["--json"]).expect(0);
    let listed: Value = serde_json::from_str(&run.stdout).unwrap();
    let backends = listed.as_array().unwrap();
    assert_eq!(backends.len(), 6);
    let flex = backends
        .iter()
        .find(|entry| entry["backend"] == "flex")
        .unwrap();
    assert_eq!(flex["compiled_in"], true);
    assert_eq!(flex["devices"][0]["index"], 0);
    for entry in backends {
        let found = !entry["devices"].as_array().unwrap().is_empty();
        assert_eq!(found, entry["reason"].is_null(), "{entry}");
    }
}

#[cfg(unix)]
#[test]
fn a_closed_stdout_is_no_failure() {
    use std::os::fd::OwnedFd;
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let output = program()
        .arg("devices")
        .stdout(OwnedFd::from(writer))
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert!(
        output.stderr.is_empty(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}
