//! The program, the fixtures and a folder to work in.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use tempfile::TempDir;

/// The program, with nothing of the tester's environment that changes what it does.
pub(crate) fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_qwen-image"));
    for variable in [
        "QWEN_IMAGE_MODELS",
        "QWEN_IMAGE_TOKENIZER",
        "QWEN_IMAGE_VRAM_LIMIT",
        "RUST_BACKTRACE",
        "NO_COLOR",
        "CLICOLOR",
        "CLICOLOR_FORCE",
        "HF_ENDPOINT",
        "HF_TOKEN",
        "HF_TOKEN_PATH",
        "HF_HUB_CACHE",
        "HF_HUB_OFFLINE",
        "ALL_PROXY",
        "all_proxy",
        "HTTPS_PROXY",
        "https_proxy",
        "HTTP_PROXY",
        "http_proxy",
        "NO_PROXY",
        "no_proxy",
    ] {
        command.env_remove(variable);
    }
    // A file has no folders in it: nothing is kept from one test for another.
    command.env("QWEN_IMAGE_CACHE", env!("CARGO_BIN_EXE_qwen-image"));
    // Nor is it remembered that there were models.
    command.env("XDG_STATE_HOME", env!("CARGO_BIN_EXE_qwen-image"));
    // A home without models, which is not there.
    let home = Path::new(env!("CARGO_TARGET_TMPDIR")).join("no-home");
    for variable in ["HOME", "USERPROFILE", "APPDATA"] {
        command.env(variable, &home);
    }
    for variable in ["XDG_DATA_HOME", "XDG_CACHE_HOME", "HF_HOME"] {
        command.env(variable, home.join(variable));
    }
    command
}

/// The same command started by another program, which is given it after its own arguments: with
/// this command's environment, so that nothing of the tester's reaches it by that way.
#[cfg(unix)]
pub(crate) fn started_by(launcher: &str, arguments: &[&str], command: &Command) -> Command {
    let mut started = Command::new(launcher);
    started
        .args(arguments)
        .arg(command.get_program())
        .args(command.get_args());
    if let Some(folder) = command.get_current_dir() {
        started.current_dir(folder);
    }
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => started.env(name, value),
            None => started.env_remove(name),
        };
    }
    started
}

/// The same command, listening to Ctrl-C: a test run in the background of a script inherits SIGINT
/// ignored, which the program honours.
#[cfg(unix)]
pub(crate) fn interruptible(command: &Command) -> Command {
    started_by("env", &["--default-signal=INT,TERM,HUP"], command)
}

/// Presses Ctrl-C.
#[cfg(unix)]
pub(crate) fn interrupt(child: &std::process::Child) {
    let id = child.id().to_string();
    let sent = Command::new("kill").args(["-INT", &id]).status();
    assert!(sent.unwrap().success());
}

/// The committed tiny models.
pub(crate) fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures")
}

/// The result of a run.
pub(crate) struct Run {
    /// Exit code.
    pub(crate) code: i32,
    /// The standard output.
    pub(crate) stdout: String,
    /// The standard error.
    pub(crate) stderr: String,
}

impl From<Output> for Run {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code().expect("ended by itself"),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

impl Run {
    /// Demands this exit code.
    #[track_caller]
    pub(crate) fn expect(self, code: i32) -> Self {
        assert_eq!(
            self.code, code,
            "stdout: {}\nstderr: {}",
            self.stdout, self.stderr
        );
        self
    }

    /// Demands one line on stderr, an error that holds every one of `parts`.
    #[track_caller]
    pub(crate) fn expect_error(self, code: i32, parts: &[&str]) {
        let run = self.expect(code);
        assert_eq!(run.stdout, "");
        assert!(run.stderr.starts_with("error: "), "{}", run.stderr);
        assert_eq!(run.stderr.lines().count(), 1, "{}", run.stderr);
        for part in parts {
            assert!(run.stderr.contains(part), "no `{part}` in: {}", run.stderr);
        }
    }
}

/// A folder of one test with a ComfyUI `models` tree that the test may damage.
pub(crate) struct Place {
    folder: TempDir,
}

impl Place {
    /// A fresh copy of the tiny models.
    pub(crate) fn new() -> Self {
        let place = Self::with("comfyui");
        assert!(
            place.transformer().is_file(),
            "the fixtures are where they were"
        );
        place
    }

    /// A copy of this fixture folder.
    pub(crate) fn with(fixture: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        copy_tree(&fixtures().join(fixture), &folder.path().join("models"));
        fs::create_dir(folder.path().join("out")).unwrap();
        Self { folder }
    }

    /// A path in the folder.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn transformer(&self) -> PathBuf {
        self.path("models/diffusion_models/qwen_image_small_fp8_e4m3fn.safetensors")
    }

    pub(crate) fn text_encoder(&self) -> PathBuf {
        self.path("models/text_encoders/qwen_2.5_vl_small_fp8_scaled.safetensors")
    }

    pub(crate) fn vae(&self) -> PathBuf {
        self.path("models/vae/qwen_image_small_vae.safetensors")
    }

    /// `generate` of a 48x32 image in two steps to `out/x.png`, with more flags.
    pub(crate) fn generate(&self, more: &[&str]) -> Run {
        let mut command = self.command();
        command.args(["--output", "out/x.png"]).args(more);
        command.output().unwrap().into()
    }

    /// The same without `--output`.
    pub(crate) fn command(&self) -> Command {
        let mut command = program();
        command.current_dir(self.folder.path()).args([
            "generate",
            "--models",
            "models",
            "--prompt",
            "a red fox",
            "--width",
            "48",
            "--height",
            "32",
            "--steps",
            "2",
            "--seed",
            "9",
            "--backend",
            "flex",
        ]);
        command
    }

    /// Runs `generate --quiet` and demands exit 3, one line with `parts`, and nothing written.
    #[track_caller]
    pub(crate) fn refuses(&self, more: &[&str], parts: &[&str]) {
        let flags: Vec<&str> = ["--quiet"].iter().chain(more).copied().collect();
        self.generate(&flags).expect_error(3, parts);
        assert_eq!(self.written(), [""; 0]);
    }

    /// The names in `out`, sorted.
    pub(crate) fn written(&self) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(self.path("out"))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }
}

/// Copies a folder with all in it.
pub(crate) fn copy_tree(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_tree(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// The part of a help text below a heading, up to the next one.
pub(crate) fn under_heading<'a>(help: &'a str, heading: &str) -> &'a str {
    let (_, below) = help.split_once(&format!("\n{heading}:\n")).unwrap();
    let next = below
        .match_indices('\n')
        .map(|(end, _)| end + 1)
        .find(|&start| below[start..].starts_with(|first: char| first.is_alphabetic()));
    &below[..next.unwrap_or(below.len())]
}
