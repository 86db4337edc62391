//! `download`, from a Hub on this machine.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};

use tempfile::TempDir;

use crate::hub_server::{COMMIT, Reply, Repositories, Request, Sent, Server};
use crate::support::{Run, fixtures, program};

const COMFYUI: &str = "Comfy-Org/Qwen-Image_ComfyUI/split_files";
const TRANSFORMER: &str = "qwen_image_fp8_e4m3fn.safetensors";

/// A repository path of the transformer.
fn transformer() -> String {
    format!("{COMFYUI}/diffusion_models/{TRANSFORMER}")
}

/// All files that variants name, with the tiny models as those of `fp8`.
fn published() -> Repositories {
    let models = fixtures().join("comfyui");
    let read = |path: &str| fs::read(models.join(path)).unwrap();
    let mut published = Repositories::default();
    published.add(
        &transformer(),
        read("diffusion_models/qwen_image_small_fp8_e4m3fn.safetensors"),
    );
    published.add(
        &format!("{COMFYUI}/text_encoders/qwen_2.5_vl_7b_fp8_scaled.safetensors"),
        read("text_encoders/qwen_2.5_vl_small_fp8_scaled.safetensors"),
    );
    published.add(
        &format!("{COMFYUI}/vae/qwen_image_vae.safetensors"),
        read("vae/qwen_image_small_vae.safetensors"),
    );
    for name in ["vocab.json", "merges.txt", "tokenizer_config.json"] {
        let path = format!("tokenizer/{name}");
        published.add_small(&format!("Qwen/Qwen-Image/{path}"), read(&path));
    }
    for other in [
        "Comfy-Org/Qwen-Image_ComfyUI/split_files/diffusion_models/qwen_image_bf16.safetensors",
        "Comfy-Org/Qwen-Image_ComfyUI/split_files/diffusion_models/\
         qwen_image_2512_fp8_e4m3fn.safetensors",
        "lightx2v/Qwen-Image-Lightning/Qwen-Image/qwen_image_fp8_e4m3fn_scaled.safetensors",
        "lightx2v/Qwen-Image-Lightning/Qwen-Image-Lightning-4steps-V1.0-bf16.safetensors",
        "lightx2v/Qwen-Image-Lightning/Qwen-Image-Lightning-8steps-V1.1-bf16.safetensors",
    ] {
        published.add(other, other);
    }
    published
}

/// A user with a home of their own.
struct User {
    folder: TempDir,
}

impl User {
    fn new() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The tree that `download` fills where no other is named.
    fn models(&self) -> PathBuf {
        self.path("data/qwen-image-burn/models")
    }

    fn transformer(&self) -> PathBuf {
        self.models().join("diffusion_models").join(TRANSFORMER)
    }

    /// The program in that home.
    fn program(&self) -> Command {
        let mut command = program();
        command
            .env("HOME", self.folder.path())
            .env("XDG_DATA_HOME", self.path("data"))
            .env("HF_HOME", self.path("hf"));
        command
    }

    fn command(&self, server: &Server, flags: &[&str]) -> Command {
        let mut command = self.program();
        command
            .arg("download")
            .args(flags)
            .env("HF_ENDPOINT", server.url());
        command
    }

    fn download(&self, server: &Server, flags: &[&str]) -> Run {
        self.command(server, flags).output().unwrap().into()
    }

    /// The files in the tree by their paths in it, sorted.
    fn tree(&self) -> Vec<String> {
        let mut found = Vec::new();
        let mut folders = vec![self.models()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(&folder).into_iter().flatten() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                } else {
                    let shown = path.strip_prefix(self.models()).unwrap();
                    found.push(shown.to_str().unwrap().to_owned());
                }
            }
        }
        found.sort();
        found
    }
}

fn serve(published: Repositories) -> Server {
    Server::start(move |request| published.answer(request))
}

/// Answers the `count` first requests for the transformer in another way.
fn at_first(
    count: usize,
    other: impl Fn(&Request, Reply) -> Reply + Send + Sync + 'static,
) -> Server {
    let published = published();
    let asked = AtomicUsize::new(0);
    Server::start(move |request| {
        let reply = published.answer(request);
        if request.path.ends_with(TRANSFORMER) && asked.fetch_add(1, Ordering::SeqCst) < count {
            other(request, reply)
        } else {
            reply
        }
    })
}

fn published_transformer() -> Vec<u8> {
    let path = "comfyui/diffusion_models/qwen_image_small_fp8_e4m3fn.safetensors";
    fs::read(fixtures().join(path)).unwrap()
}

#[track_caller]
fn assert_whole(path: &Path) {
    assert!(fs::read(path).unwrap() == published_transformer());
}

#[test]
fn a_download_is_a_models_tree_that_generate_finds() {
    let (user, server) = (User::new(), serve(published()));
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
        let (user, server) = (User::new(), serve(published()));
        let run = user.download(&server, &["--variant", variant]).expect(0);
        assert_eq!(run.stdout.lines().count(), 5 + files.len(), "{variant}");
        for file in files {
            assert!(run.stdout.contains(&format!("/{file}.safetensors\n")));
        }
    }
}

#[test]
fn a_second_transformer_is_told_of() {
    let (user, server) = (User::new(), serve(published()));
    user.download(&server, &["-q"]).expect(0);
    let run = user.download(&server, &["--variant=bf16"]).expect(0);
    assert!(run.stderr.contains("--transformer"), "{}", run.stderr);
}

#[test]
fn a_cut_connection_is_taken_up_where_it_ended() {
    let server = at_first(3, |_, reply| reply.sent(Sent::Cut(1000)));
    let user = User::new();
    user.download(&server, &["-q"]).expect(0);
    assert_whole(&user.transformer());
    let ranges: Vec<_> = server
        .requests(TRANSFORMER)
        .iter()
        .map(Request::range)
        .collect();
    assert_eq!(ranges, [None, Some(1000), Some(2000), Some(3000)]);
}

#[test]
fn a_failed_download_is_resumed_by_the_next() {
    let server = at_first(usize::MAX, |request, reply| match request.range() {
        None => reply.sent(Sent::Cut(1000)),
        Some(_) => Reply::of(403, ""),
    });
    let user = User::new();
    user.download(&server, &["-q"]).expect(1);
    assert!(!user.transformer().exists());
    let left = user.tree();
    let partial = left.iter().find(|name| name.ends_with(".part")).unwrap();
    let partial = user.models().join(partial);
    assert_eq!(fs::metadata(&partial).unwrap().len(), 1000);

    let server = serve(published());
    let run = user.download(&server, &[]).expect(0);
    assert!(run.stderr.contains("Resuming"), "{}", run.stderr);
    assert_eq!(server.requests(TRANSFORMER)[0].range(), Some(1000));
    assert_whole(&user.transformer());
    assert!(!partial.exists());
}

#[test]
fn a_server_without_ranges_begins_again() {
    let whole = published_transformer();
    let server = at_first(2, move |request, reply| match request.range() {
        None => reply.sent(Sent::Cut(1000)),
        Some(_) => Reply::of(200, whole.clone()),
    });
    let user = User::new();
    user.download(&server, &["-q"]).expect(0);
    assert_whole(&user.transformer());
}

#[cfg(unix)]
#[test]
fn ctrl_c_keeps_what_came() {
    use crate::support::{interrupt, interruptible};
    let server = at_first(1, |_, reply| reply.sent(Sent::Trickle(1000)));
    let user = User::new();
    let mut command = interruptible(&user.command(&server, &["-q"]));
    command
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped());
    let child = command.spawn().unwrap();
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
    let run: Run = child.wait_with_output().unwrap().into();
    let run = run.expect(130);
    assert!(run.stderr.contains("run the same command again"));
    let kept = fs::metadata(&partial).unwrap().len();
    assert!(kept >= 1000);
    user.download(&server, &["-q"]).expect(0);
    assert_eq!(
        server.requests(TRANSFORMER)[1].range(),
        usize::try_from(kept).ok()
    );
    assert_whole(&user.transformer());
}

#[test]
fn two_downloads_of_a_file_do_not_mix() {
    let (user, published) = (User::new(), published());
    let digits = &published.sha256(&transformer())[..12];
    fs::create_dir_all(user.transformer().parent().unwrap()).unwrap();
    let name = format!("{TRANSFORMER}.{digits}.part");
    let partial = fs::File::create(user.transformer().with_file_name(name)).unwrap();
    partial.lock().unwrap();
    let server = serve(published);
    let run = user.download(&server, &["-q"]).expect(1);
    assert!(run.stderr.contains("another process"), "{}", run.stderr);
    drop(partial);
    user.download(&server, &["-q"]).expect(0);
    assert_whole(&user.transformer());
}

#[test]
fn a_wrong_checksum_is_an_error_and_leaves_nothing() {
    let mut published = published();
    published.list(&transformer(), |listed| {
        listed["lfs"]["sha256"] = "a".repeat(64).into();
    });
    let (user, server) = (User::new(), serve(published));
    let run = user.download(&server, &["-q"]).expect(3);
    for part in [TRANSFORMER, "SHA-256", "aaaa"] {
        assert!(run.stderr.contains(part), "{}", run.stderr);
    }
    assert_eq!(user.tree().len(), 5, "{:?}", user.tree());
    assert!(!user.transformer().exists());
}

#[test]
fn a_small_file_is_checked_too() {
    let mut published = published();
    published.list("Qwen/Qwen-Image/tokenizer/vocab.json", |listed| {
        listed["blobId"] = "a".repeat(40).into();
    });
    let (user, server) = (User::new(), serve(published));
    let run = user.download(&server, &["-q"]).expect(3);
    assert!(run.stderr.contains("vocab.json"), "{}", run.stderr);
}

#[test]
fn a_file_of_another_length_is_refused() {
    for change in [-1_i64, 1] {
        let mut published = published();
        published.list(&transformer(), |listed| {
            let size = listed["lfs"]["size"].as_i64().unwrap();
            listed["lfs"]["size"] = (size + change).into();
        });
        let (user, server) = (User::new(), serve(published));
        let run = user.download(&server, &["-q"]).expect(1);
        assert!(run.stderr.contains("bytes"), "{}", run.stderr);
        assert!(!user.transformer().exists());
    }
}

#[test]
fn more_than_the_disk_has_room_for_is_refused_before_anything_is_fetched() {
    let mut published = published();
    published.list(&transformer(), |listed| {
        listed["lfs"]["size"] = (1_u64 << 60).into();
    });
    let (user, server) = (User::new(), serve(published));
    let run = user.download(&server, &["-q"]);
    run.expect_error(1, &["free", "another disk"]);
    assert!(server.requests("/resolve/").is_empty());
    assert!(!user.models().exists());
}

#[test]
fn refusals_of_the_hub_are_told_with_what_to_do() {
    for (status, code, part) in [
        (401, 1, "HF_TOKEN"),
        (403, 1, "terms"),
        (404, 3, "renamed"),
        (500, 1, "try again"),
    ] {
        let (user, server) = (User::new(), Server::start(move |_| Reply::of(status, "")));
        let run = user.download(&server, &["-q"]);
        run.expect_error(code, &[part, &status.to_string(), &server.url()]);
        assert!(!user.models().exists());
    }
    let (user, server) = (User::new(), at_first(9, |_, _| Reply::of(403, "")));
    let run = user.download(&server, &["-q"]).expect(1);
    assert!(run.stderr.contains("terms"), "{}", run.stderr);
    assert!(!user.transformer().exists());
}

#[test]
fn a_file_that_is_gone_is_named_before_anything_is_fetched() {
    let mut published = published();
    published.remove(&transformer());
    let (user, server) = (User::new(), serve(published));
    let run = user.download(&server, &["-q"]);
    run.expect_error(
        3,
        &[TRANSFORMER, "--variant", "qwen_image_bf16.safetensors"],
    );
    assert!(server.requests("/resolve/").is_empty());
}

#[test]
fn an_answer_that_is_no_list_is_refused() {
    let server = Server::start(|_| Reply::of(200, "<html>Please log in to the wireless network"));
    let user = User::new();
    let run = user.download(&server, &["-q"]);
    run.expect_error(1, &[&server.url(), "not a list of files"]);
}

#[test]
fn the_token_goes_to_the_hub_and_to_no_other_host() {
    let store = serve(published());
    let (published, port) = (published(), store.port());
    let server = Server::start(move |request| {
        if request.path.contains("/resolve/") {
            // Another name of this machine is another host.
            Reply::redirect(format!("http://localhost:{port}{}", request.path))
        } else {
            published.answer(request)
        }
    });
    let user = User::new();
    let mut command = user.command(&server, &["-q"]);
    Run::from(command.env("HF_TOKEN", "hf_secret").output().unwrap()).expect(0);
    assert_whole(&user.transformer());
    let asked = server.requests("/");
    assert!(asked.len() >= 8);
    for request in asked {
        assert_eq!(request.authorization(), Some("Bearer hf_secret"));
    }
    let sent = store.requests("/");
    assert_eq!(sent.len(), 6);
    for request in sent {
        assert_eq!(request.authorization(), None, "{}", request.path);
    }
}

#[test]
fn the_token_of_a_login_is_used_and_a_broken_one_refused() {
    let (user, server) = (User::new(), serve(published()));
    fs::create_dir(user.path("hf")).unwrap();
    fs::write(user.path("hf/token"), "hf_of_login\n").unwrap();
    user.download(&server, &["--dry-run"]).expect(0);
    let asked = server.requests("/api/");
    assert_eq!(asked[0].authorization(), Some("Bearer hf_of_login"));

    let mut command = user.command(&server, &["-q"]);
    let run: Run = command
        .env("HF_TOKEN", "two words")
        .output()
        .unwrap()
        .into();
    run.expect_error(2, &["HF_TOKEN"]);
}

#[test]
fn a_file_in_the_hubs_cache_is_linked() {
    let published = published();
    let blobs = "hf/hub/models--Comfy-Org--Qwen-Image_ComfyUI/blobs";
    let (user, sha256) = (User::new(), published.sha256(&transformer()));
    let blob = user.path(blobs).join(sha256);
    fs::create_dir_all(user.path(blobs)).unwrap();
    fs::write(&blob, published_transformer()).unwrap();
    let server = serve(published);
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
fn a_dry_run_tells_and_fetches_nothing() {
    let (user, server) = (User::new(), serve(published()));
    let run = user.download(&server, &["--dry-run"]).expect(0);
    assert!(run.stdout.contains(TRANSFORMER) && run.stdout.contains("to download"));
    assert!(run.stdout.contains(COMMIT), "{}", run.stdout);
    assert!(server.requests("/resolve/").is_empty());
    assert!(!user.models().exists());
}

#[test]
fn another_file_in_the_place_is_left_alone() {
    let (user, server) = (User::new(), serve(published()));
    fs::create_dir_all(user.transformer().parent().unwrap()).unwrap();
    fs::write(user.transformer(), "mine").unwrap();
    let run = user.download(&server, &["-q"]);
    run.expect_error(3, &[TRANSFORMER, "4 bytes", "--models"]);
    assert_eq!(fs::read(user.transformer()).unwrap(), b"mine");
}

#[test]
fn the_folder_is_that_of_the_flag_or_the_variable() {
    let (user, server) = (User::new(), serve(published()));
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

#[test]
fn what_cannot_be_used_is_one_line() {
    let user = User::new();
    let with = |variable: &str, value: &str, flags: &[&str]| -> Run {
        let mut command = user.program();
        command.args(["download", "-q"]).args(flags);
        command.env(variable, value).output().unwrap().into()
    };
    with("HF_ENDPOINT", "ftp://x", &[]).expect_error(2, &["HF_ENDPOINT", "ftp://x"]);
    with("HF_HUB_OFFLINE", "1", &[]).expect_error(2, &["HF_HUB_OFFLINE"]);
    with("HF_ENDPOINT", "http://127.0.0.1:1", &["--variant=q4"]).expect_error(2, &["--variant"]);
    // Nobody listens at port 1.
    with("HF_ENDPOINT", "http://127.0.0.1:1", &[]).expect_error(1, &["cannot be reached"]);
    let (server, mut command) = (serve(published()), user.program());
    command
        .args(["download", "-q"])
        .env("HF_ENDPOINT", server.url())
        .env("ALL_PROXY", "http://127.0.0.1:1");
    Run::from(command.output().unwrap()).expect_error(1, &["proxy"]);
    assert!(server.requests("/").is_empty());
}
