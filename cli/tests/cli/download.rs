//! `download`, from a Hub on this machine.

use std::fs;
use std::path::Path;

use crate::hub_server::{COMMIT, Gate, Sent};
use crate::hub_user::{TRANSFORMER, User, assert_whole, at_first, published};
use crate::hub_user::{published_transformer, transformer};
use crate::support::Run;

#[test]
fn a_download_is_a_models_tree_that_generate_finds() {
    let (user, server) = (User::new(), published().serve());
    let run = user.download(&server, &[]).expect(0);
    let tree = [
        "diffusion_models/qwen_image_fp8_e4m3fn.safetensors",
        "text_encoders/qwen_2.5_vl_7b_fp8_scaled.safetensors",
        "tokenizer/merges.txt",
        "tokenizer/tokenizer_config.json",
        "tokenizer/vocab.json",
        "vae/qwen_image_vae.safetensors",
    ];
    assert_eq!(user.tree(), tree);
    assert_whole(&user.transformer());
    let mut told: Vec<&str> = run.stdout.lines().collect();
    told.sort_unstable();
    let expected = tree.map(|name| user.models().join(name).display().to_string());
    assert_eq!(told, expected);
    assert!(run.stderr.contains("licence apache-2.0"), "{}", run.stderr);

    // Again: everything is there, and nothing is fetched.
    let before = server.requests("/resolve/").len();
    let again = user.download(&server, &[]).expect(0);
    assert_eq!(again.stdout, run.stdout);
    assert_eq!(server.requests("/resolve/").len(), before);

    let mut command = user.program();
    command
        .current_dir(user.folder.path())
        .args(["generate", "--backend=flex", "-p", "x", "--steps=2"])
        .args(["-W16", "-H16", "-o", "x.png"]);
    let run = Run::from(command.output().unwrap()).expect(0);
    let folder = user.models().display().to_string();
    assert!(run.stderr.contains("using the models in"), "{}", run.stderr);
    assert!(run.stderr.contains(&folder) && run.stderr.contains("--demo"));
}

#[test]
fn every_variant_is_published_under_its_names() {
    for (variant, files) in [
        ("fp8-scaled", &["qwen_image_fp8_e4m3fn_scaled"][..]),
        ("bf16", &["qwen_image_bf16"]),
        ("2512", &["qwen_image_2512_fp8_e4m3fn"]),
        (
            "lightning",
            &[
                "Qwen-Image-Lightning-4steps-V1.0-bf16",
                "Qwen-Image-Lightning-8steps-V1.1-bf16",
                "qwen_image_fp8_e4m3fn_scaled",
            ],
        ),
    ] {
        let (user, server) = (User::new(), published().serve());
        let run = user.download(&server, &["--variant", variant]).expect(0);
        assert_eq!(run.stdout.lines().count(), 5 + files.len(), "{variant}");
        for file in files {
            assert!(run.stdout.contains(&format!("/{file}.safetensors\n")));
        }
    }
}

#[test]
fn a_second_transformer_is_told_of() {
    let (user, server) = (User::new(), published().serve());
    user.download(&server, &["-q"]).expect(0);
    let run = user.download(&server, &["--variant=bf16"]).expect(0);
    assert!(run.stderr.contains("--transformer"), "{}", run.stderr);
}

#[cfg(unix)]
#[test]
fn ctrl_c_keeps_what_came() {
    use std::io::{BufRead, BufReader, Read};

    use crate::support::{interrupt, interruptible};
    let gate = Gate::default();
    let held = Sent::Held(1000, gate.clone());
    let server = at_first(1, move |_, reply| reply.sent(held.clone()));
    let user = User::new();
    let mut command = interruptible(&user.command(&server, &[]));
    command
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::piped());
    let mut child = command.spawn().unwrap();
    let partial = || {
        let is_ours = |name: &String| name.contains(TRANSFORMER) && name.ends_with(".part");
        let path = user.models().join(user.tree().into_iter().find(is_ours)?);
        let length = fs::metadata(&path).ok()?.len();
        (length >= 1000).then_some(path)
    };
    let partial = loop {
        match partial() {
            Some(path) => break path,
            None => std::thread::sleep(std::time::Duration::from_millis(5)),
        }
    };
    interrupt(&child);
    let mut stderr = BufReader::new(child.stderr.take().unwrap());
    let mut said = String::new();
    while !said.contains("stopping") {
        assert!(stderr.read_line(&mut said).unwrap() > 0, "{said}");
    }
    gate.open();
    stderr.read_to_string(&mut said).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(130), "{said}");
    assert!(said.contains("run the same command again"), "{said}");
    let kept = fs::metadata(&partial).unwrap().len();
    assert!(kept >= 1000);
    let run = user.download(&server, &[]).expect(0);
    assert!(run.stderr.contains("Resuming"), "{}", run.stderr);
    assert_eq!(
        server.requests(TRANSFORMER)[1].range(),
        usize::try_from(kept).ok()
    );
    assert_whole(&user.transformer());
}

#[test]
fn a_file_in_the_hubs_cache_is_linked() {
    let published = published();
    let blobs = "hf/hub/models--Comfy-Org--Qwen-Image_ComfyUI/blobs";
    let (user, sha256) = (User::new(), published.sha256(&transformer()));
    let blob = user.path(blobs).join(sha256);
    fs::create_dir_all(user.path(blobs)).unwrap();
    fs::write(&blob, published_transformer()).unwrap();
    let server = published.serve();
    let run = user.download(&server, &[]).expect(0);
    assert!(run.stderr.contains("is linked from"), "{}", run.stderr);
    assert!(server.requests(TRANSFORMER).is_empty());
    assert_whole(&user.transformer());
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt;
        let inode = |path: &Path| fs::metadata(path).unwrap().ino();
        assert_eq!(inode(&user.transformer()), inode(&blob));
    }
}

#[test]
fn damaged_files_are_downloaded_anew_when_they_are_to_be_checked() {
    let published = published();
    let blobs = "hf/hub/models--Comfy-Org--Qwen-Image_ComfyUI/blobs";
    let (user, sha256) = (User::new(), published.sha256(&transformer()));
    let server = published.serve();
    user.download(&server, &["-q"]).expect(0);
    // Of the same size, so that only the bytes can tell.
    let mut damaged = published_transformer();
    let last = damaged.len() - 1;
    damaged[last] ^= 1;
    fs::write(user.transformer(), &damaged).unwrap();
    let before = server.requests("/resolve/").len();
    user.download(&server, &[]).expect(0);
    assert_eq!(server.requests("/resolve/").len(), before);
    assert_eq!(fs::read(user.transformer()).unwrap(), damaged);

    let dry = user.download(&server, &["--verify", "--dry-run"]).expect(0);
    let told = "is not the published file";
    assert!(dry.stderr.contains(told), "{}", dry.stderr);
    assert_eq!(fs::read(user.transformer()).unwrap(), damaged);

    let run = user.download(&server, &["--verify"]).expect(0);
    assert_eq!(run.stderr.matches(told).count(), 1, "{}", run.stderr);
    assert_eq!(server.requests("/resolve/").len(), before + 1);
    assert_whole(&user.transformer());

    // One in the Hub's cache is not linked then.
    fs::remove_file(user.transformer()).unwrap();
    fs::create_dir_all(user.path(blobs)).unwrap();
    fs::write(user.path(blobs).join(sha256), &damaged).unwrap();
    let run = user.download(&server, &["--verify"]).expect(0);
    assert!(run.stderr.contains(told), "{}", run.stderr);
    assert_whole(&user.transformer());
}

#[test]
fn a_dry_run_tells_and_fetches_nothing() {
    let (user, server) = (User::new(), published().serve());
    let run = user.download(&server, &["--dry-run"]).expect(0);
    assert!(run.stdout.contains(TRANSFORMER) && run.stdout.contains("to download"));
    assert!(run.stdout.contains(COMMIT), "{}", run.stdout);
    assert!(server.requests("/resolve/").is_empty());
    assert!(!user.models().exists());
}

#[test]
fn the_folder_is_that_of_the_flag_or_the_variable() {
    let (user, server) = (User::new(), published().serve());
    let given = user.path("given");
    let flag = format!("--models={}", given.display());
    user.download(&server, &["-q", &flag]).expect(0);
    assert!(given.join("vae/qwen_image_vae.safetensors").is_file());
    let variable = user.path("variable");
    let mut command = user.command(&server, &["-q"]);
    command.env("QWEN_IMAGE_MODELS", &variable);
    Run::from(command.output().unwrap()).expect(0);
    assert!(variable.join("vae/qwen_image_vae.safetensors").is_file());
    assert!(!user.models().exists());
}
