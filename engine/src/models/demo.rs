//! The demo model: a tiny Qwen-Image that is part of the program, so that the first command
//! draws something. To everything else it is a ComfyUI `models` tree like any other.

use std::fs::{self, File};
use std::io;
use std::path::Path;

use tempfile::TempDir;

use crate::error::Error;

/// The files of the model, by their paths in the tree. The folder `demo` of this crate is a link, so
/// that they are part of its package.
const FILES: [(&str, &[u8]); 6] = [
    (
        "diffusion_models/qwen_image_demo_fp8_e4m3fn.safetensors",
        include_bytes!("../../demo/diffusion_models/qwen_image_demo_fp8_e4m3fn.safetensors"),
    ),
    (
        "text_encoders/qwen_2.5_vl_demo_fp8_scaled.safetensors",
        include_bytes!("../../demo/text_encoders/qwen_2.5_vl_demo_fp8_scaled.safetensors"),
    ),
    (
        "vae/qwen_image_demo_vae.safetensors",
        include_bytes!("../../demo/vae/qwen_image_demo_vae.safetensors"),
    ),
    (
        "tokenizer/vocab.json",
        include_bytes!("../../demo/tokenizer/vocab.json"),
    ),
    (
        "tokenizer/merges.txt",
        include_bytes!("../../demo/tokenizer/merges.txt"),
    ),
    (
        "tokenizer/tokenizer_config.json",
        include_bytes!("../../demo/tokenizer/tokenizer_config.json"),
    ),
];

/// The tokenizer's files, by their names.
pub fn tokenizer() -> impl Iterator<Item = (&'static str, &'static [u8])> {
    let name = |(path, bytes): (&'static str, _)| Some((path.strip_prefix("tokenizer/")?, bytes));
    FILES.into_iter().filter_map(name)
}

/// How the name of its transformer begins in recipes.
const NAME: &str = "qwen_image_demo";

/// Tells whether an image with this name of a transformer in its recipe is the demo model's.
pub fn is_its_name(model: &str) -> bool {
    model.starts_with(NAME)
}

/// How the temporary folders' names begin.
const PREFIX: &str = "qwen-image-demo-";
/// The file in such a folder that its process holds a lock on.
const LOCK: &str = "in-use";
/// The variable that names the folder for temporary files.
const VARIABLE: &str = if cfg!(windows) { "TEMP" } else { "TMPDIR" };

/// The tree in a temporary folder, which lives as long as this value.
#[derive(Debug)]
pub struct Unpacked {
    folder: TempDir,
    /// Tells other processes that the folder is not left over. It goes after the folder.
    _lock: File,
}

impl Unpacked {
    /// The path of the folder.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }
}

/// Writes the tree to a temporary folder, and removes those of processes that were killed.
///
/// # Errors
/// [`Error::Output`] if there is no room for 12 MB.
pub fn unpack() -> Result<Unpacked, Error> {
    let temporary = std::env::temp_dir();
    clear(&temporary);
    let unpacked = claim(&temporary).map_err(|error| failed(&temporary, &error))?;
    for (name, bytes) in FILES {
        let path = unpacked.path().join(name);
        let parent = path.parent().unwrap_or(unpacked.path());
        fs::create_dir_all(parent)
            .and_then(|()| fs::write(&path, bytes))
            .map_err(|error| failed(&temporary, &error))?;
    }
    Ok(unpacked)
}

/// A folder of this process's own, locked.
fn claim(temporary: &Path) -> io::Result<Unpacked> {
    loop {
        let folder = TempDir::with_prefix_in(PREFIX, temporary)?;
        let path = folder.path().join(LOCK);
        let lock = File::create(&path)?;
        // Where files cannot be locked, no folder is ever taken for left over.
        let _ = lock.lock();
        // Before it was locked it looked left over, and another process may have removed it.
        if path.exists() {
            return Ok(Unpacked {
                folder,
                _lock: lock,
            });
        }
    }
}

/// Removes the folders whose processes live no more: those with a lock file that nobody holds.
/// Folders that cannot be looked into, as another user's, stay.
fn clear(temporary: &Path) {
    let entries = fs::read_dir(temporary).into_iter().flatten().flatten();
    for entry in entries {
        let is_ours = entry.file_name().to_string_lossy().starts_with(PREFIX)
            && entry.file_type().is_ok_and(|kind| kind.is_dir());
        let path = entry.path().join(LOCK);
        if !is_ours || !path.symlink_metadata().is_ok_and(|found| found.is_file()) {
            continue;
        }
        let Ok(lock) = File::options().read(true).write(true).open(&path) else {
            continue;
        };
        if lock.try_lock().is_ok() {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

fn failed(temporary: &Path, error: &io::Error) -> Error {
    let reason = match error.kind() {
        io::ErrorKind::NotFound => "it does not exist".to_owned(),
        // The error itself names a file in there as well.
        kind => kind.to_string(),
    };
    Error::Output {
        path: temporary.to_owned(),
        reason: format!(
            "{reason}; the demo model is unpacked in the folder for temporary files: name another \
             one in {VARIABLE}"
        ),
    }
}
