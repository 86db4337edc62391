//! `make-fixture`.

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::support::{Run, program};

const FILES: [&str; 3] = [
    "text_encoders/qwen_2.5_vl_7b_fp8_scaled.safetensors",
    "diffusion_models/qwen_image_fp8_e4m3fn.safetensors",
    "vae/qwen_image_vae.safetensors",
];

fn make(dir: &Path, more: &[&str]) -> Run {
    let mut command = program();
    command.args(["make-fixture", "--real-shapes"]).arg(dir);
    command.args(more).output().unwrap().into()
}

fn inspect(path: &Path) -> Value {
    let run: Run = program()
        .args(["inspect", "--json"])
        .arg(path)
        .output()
        .unwrap()
        .into();
    serde_json::from_str(&run.expect(0).stdout).unwrap()
}

/// The names in a folder, sorted.
fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let mut names: Vec<String> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn sparse_files_make_a_tree_of_the_published_models() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("new/models");
    let run = make(&dir, &["--sparse"]).expect(0);
    let written: Vec<&Path> = run.stdout.lines().map(Path::new).collect();
    assert_eq!(written.len(), 6, "{}", run.stdout);
    for (path, name) in written.iter().zip(FILES) {
        assert_eq!(*path, dir.join(name));
    }
    for path in &written[3..] {
        assert_eq!(path.parent(), Some(dir.join("tokenizer").as_path()));
    }
    assert!(written.iter().all(|path| path.is_file()));
    assert!(
        run.stderr.contains("Writing the transformer"),
        "{}",
        run.stderr
    );

    let found = inspect(&dir);
    let checkpoints = found["checkpoints"].as_array().unwrap();
    let figures: Vec<_> = checkpoints
        .iter()
        .map(|checkpoint| {
            let text = |name: &str| checkpoint[name].as_str().unwrap();
            let tensors = checkpoint["tensors"].as_u64().unwrap();
            let bytes = checkpoint["files"][0]["bytes"].as_u64().unwrap();
            (text("component"), text("dialect"), tensors, bytes)
        })
        .collect();
    assert_eq!(
        figures,
        [
            ("text_encoder", "legacy_scaled", 1446, 9_384_670_680),
            ("transformer", "plain_fp8", 1933, 20_430_635_136),
            ("vae", "dense", 194, 253_806_246),
        ]
    );
    assert_eq!(checkpoints[1]["config"]["num_layers"], 60);
    // Every id has a row in the embedding.
    let tokens = found["tokenizer"]["tokens"].as_u64().unwrap();
    let rows = checkpoints[0]["config"]["vocab_size"].as_u64().unwrap();
    assert!(tokens > 0 && tokens <= rows, "{tokens} of {rows}");
}

#[test]
fn files_that_are_there_stay_unless_forced() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path();
    let vae = dir.join(FILES[2]);
    fs::create_dir_all(vae.parent().unwrap()).unwrap();
    fs::write(&vae, "mine").unwrap();
    make(dir, &["--sparse"]).expect_error(1, &["qwen_image_vae", "already", "--force"]);
    assert_eq!(fs::read(&vae).unwrap(), b"mine");
    // Refused before anything was written.
    assert_eq!(names(dir), ["vae"]);

    let run = make(dir, &["--sparse", "--force", "--quiet"]).expect(0);
    assert_eq!((run.stdout.lines().count(), run.stderr.as_str()), (6, ""));
    assert_eq!(fs::metadata(&vae).unwrap().len(), 253_806_246);
}

#[test]
fn one_file_can_be_made_alone_and_the_tokenizer_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path();
    let tokenizer = dir.join("tokenizer");
    fs::create_dir(&tokenizer).unwrap();
    fs::write(tokenizer.join("vocab.json"), "mine").unwrap();
    let only = ["--sparse", "--only=vae", "--only", "text-encoder"];
    let run = make(dir, &only).expect(0);
    let written: Vec<&Path> = run.stdout.lines().map(Path::new).collect();
    assert_eq!(written, [dir.join(FILES[0]), dir.join(FILES[2])]);
    assert!(run.stderr.contains("kept"), "{}", run.stderr);
    assert_eq!(names(&tokenizer), ["vocab.json"]);
    assert_eq!(names(dir), ["text_encoders", "tokenizer", "vae"]);
}

#[test]
fn random_weights_fill_the_file_and_follow_the_seed() {
    let folder = tempfile::tempdir().unwrap();
    let make_vae = |name: &str, seed: &str| {
        let dir = folder.path().join(name);
        make(&dir, &["--only=vae", "--seed", seed]).expect(0);
        assert_eq!(names(&dir.join("vae")), ["qwen_image_vae.safetensors"]);
        let bytes = fs::read(dir.join(FILES[2])).unwrap();
        fs::remove_dir_all(dir).unwrap();
        bytes
    };
    let first = make_vae("a", "1");
    assert_eq!(first.len(), 253_806_246);
    assert!(
        first[21_184..]
            .chunks(4096)
            .all(|page| page.iter().any(|&byte| byte != 0))
    );
    // That the same seed gives the same bytes is tested beside the writer.
    assert!(first != make_vae("b", "2"));
}

#[test]
fn it_is_hidden_but_explained() {
    let run = |args: &[&str]| -> Run { program().args(args).output().unwrap().into() };
    assert!(!run(&["--help"]).expect(0).stdout.contains("make-fixture"));
    let help = run(&["make-fixture", "--help"]).expect(0).stdout;
    for flag in ["--real-shapes", "--sparse", "--seed", "--only", "--force"] {
        assert!(help.contains(flag), "no {flag} in {help}");
    }
    run(&["make-fixture"]).expect(2);
    run(&["make-fixture", "--real-shapes=x", "--sparse", "--seed=1"]).expect(2);
}

#[cfg(unix)]
#[test]
fn ctrl_c_leaves_no_part_of_a_file() {
    // Beside what was built, where there is room: the size of the whole file must be free.
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let place = folder.path().join("text_encoders");
    let mut make = program();
    make.args(["make-fixture", "--only=text-encoder", "--real-shapes"]);
    make.arg(folder.path());
    let mut held = crate::hold::Held::at("write", 1, &make);
    assert_eq!(names(&place).len(), 1);
    held.interrupt();
    let ended = held.release();
    assert_eq!(ended.code, Some(130), "{}", ended.stderr);
    assert!(ended.stderr.contains("interrupted"), "{}", ended.stderr);
    assert_eq!(ended.stdout, "");
    assert_eq!(names(&place), [""; 0]);
}
