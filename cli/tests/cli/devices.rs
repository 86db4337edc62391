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

/// A machine with these files, of which the program sees no others where it looks for GPUs.
#[cfg(unix)]
fn machine(files: &[&str]) -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    for file in files {
        let path = root.path().join(file.trim_start_matches('/'));
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, "").unwrap();
    }
    root
}

/// A command on that machine.
#[cfg(unix)]
fn on(root: &tempfile::TempDir, args: &[&str]) -> Run {
    let mut command = program();
    command.args(args).env("QWEN_IMAGE_TEST_ROOT", root.path());
    for variable in ["CUDA_VISIBLE_DEVICES", "NVIDIA_VISIBLE_DEVICES"] {
        command.env_remove(variable);
    }
    command.output().unwrap().into()
}

#[cfg(all(
    unix,
    not(any(
        feature = "cuda",
        feature = "rocm",
        feature = "vulkan",
        feature = "webgpu"
    ))
))]
#[test]
fn a_gpu_that_is_there_and_not_used_is_told_with_the_reason() {
    let models = crate::support::fixtures().join("comfyui");
    let models = format!("--models={}", models.display());
    let plan = ["plan", &models, "-W64", "-H48"];
    for (file, parts) in [
        ("/dev/nvidia0", ["NVIDIA GPU", "--features cuda"]),
        ("/dev/dxg", ["GPU of Windows", "--features cuda"]),
        ("/dev/kfd", ["AMD GPU", "--features rocm"]),
    ] {
        let root = machine(&[file]);
        let said = on(&root, &plan).expect(0).stderr;
        let line = said.lines().find(|line| line.starts_with("Running on "));
        let line = line.unwrap_or_else(|| panic!("{said}"));
        let listed = on(&root, &["devices"]).expect(0).stdout;
        let auto = listed.lines().find(|line| line.starts_with("auto "));
        let auto = auto.unwrap_or_else(|| panic!("{listed}"));
        for part in ["the processor, ", file, parts[0], parts[1]] {
            assert!(line.contains(part), "no `{part}` in {line}");
            assert!(auto.contains(part), "no `{part}` in {auto}");
        }
        let json = on(&root, &["devices", "--json"]).expect(0).stdout;
        assert!(json.contains(&format!("\"sign\": \"{file}\"")), "{json}");
        // Who names the processor wants no GPU, and the demo model looks for none.
        let named = on(&root, &[&plan[..], &["--backend=flex"]].concat()).expect(0);
        assert_eq!(named.stderr, "");
        let demo = on(&root, &["plan", "--demo"]).expect(0).stderr;
        assert!(
            demo.contains("the demo model") && !demo.contains("GPU"),
            "{demo}"
        );
    }
    let said = on(&machine(&[]), &plan).expect(0).stderr;
    assert!(said.contains("no GPU was found"), "{said}");
}

#[cfg(unix)]
#[test]
fn quiet_says_nothing_of_the_device() {
    let models = crate::support::fixtures().join("comfyui");
    let models = format!("--models={}", models.display());
    let flags = [
        "generate",
        "-q",
        "--dry-run",
        "-px",
        "-W64",
        "-H48",
        &models,
    ];
    let run = on(&machine(&["/dev/nvidia0"]), &flags).expect(0);
    assert_eq!(run.stderr, "");
}
