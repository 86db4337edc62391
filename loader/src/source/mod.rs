//! The bytes of tensors: read into memory of ours, or mapped.

mod raw_file;

use std::fs::File;
use std::io::ErrorKind;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use backends::upload::HostBuffer;
use bytes::Bytes;
use memmap2::Mmap;

pub(crate) use raw_file::{BLOCK, FromDisk, RawFile, ReadAt, fill};

use crate::checkpoint::{CheckpointFile, Entry};
use crate::container::{FileVersion, file_metadata};
use crate::error::LoadError;
use crate::report::ReadMethod;

/// The open files of a checkpoint.
pub(crate) struct Source {
    files: Vec<OpenFile>,
}

struct OpenFile {
    path: PathBuf,
    version: FileVersion,
    raw: RawFile,
    mapping: OnceLock<Bytes>,
}

impl Source {
    /// Opens the files again, which must be those whose headers were read.
    pub(crate) fn open(files: &[CheckpointFile]) -> Result<Self, LoadError> {
        let open = |checkpoint: &CheckpointFile| {
            let path = checkpoint.path.clone();
            file_metadata(&path)?;
            let raw = RawFile::open(&path).map_err(|error| LoadError::io(&path, error))?;
            let file = OpenFile {
                version: checkpoint.version(),
                raw,
                mapping: OnceLock::new(),
                path,
            };
            file.check_version()?;
            Ok(file)
        };
        Ok(Self {
            files: files.iter().map(open).collect::<Result<_, _>>()?,
        })
    }

    /// All bytes of a tensor, in memory of ours. For small tensors: nothing can interrupt it.
    pub(crate) fn read(&self, entry: &Entry) -> Result<Vec<u8>, LoadError> {
        let Range { start, end } = entry.tensor.range;
        let length = (end - start) as usize;
        let aligned = start - start % BLOCK as u64;
        let before = (start - aligned) as usize;
        let path = self.path(entry.file);
        let buffer = HostBuffer::new(before + length);
        let mut buffer = buffer.map_err(|error| LoadError::upload(path, error))?;
        fill(self.raw(entry.file), &mut buffer, aligned, before + length)
            .map_err(|error| read_error(path, error))?;
        Ok(buffer[before..before + length].to_vec())
    }

    /// A tensor's bytes as part of a mapping of its file, which is made once and lives as long as
    /// any part of it. Nothing is read until it is touched.
    pub(crate) fn map(&self, entry: &Entry) -> Result<Bytes, LoadError> {
        let OpenFile {
            path,
            version,
            raw,
            mapping,
        } = &self.files[entry.file];
        let whole = match mapping.get() {
            Some(whole) => whole,
            None => {
                // SAFETY: the mapping is private and read-only. Another process may still write
                // or truncate the file, as with any program that maps its weights; model files
                // are replaced by renaming, which leaves the mapped file alone.
                let new =
                    unsafe { Mmap::map(raw.file()) }.map_err(|error| LoadError::io(path, error))?;
                if new.len() as u64 != version.len {
                    return Err(LoadError::Changed { file: path.clone() });
                }
                mapping.get_or_init(|| Bytes::from_owner(new))
            }
        };
        let Range { start, end } = entry.tensor.range;
        Ok(whole.slice(start as usize..end as usize))
    }

    /// A file, for reads at offsets of our choice.
    pub(crate) fn raw(&self, file: usize) -> &RawFile {
        &self.files[file].raw
    }

    /// The files, in their order.
    pub(crate) fn raws(&self) -> Vec<&RawFile> {
        self.files.iter().map(|file| &file.raw).collect()
    }

    /// The path of a file.
    pub(crate) fn path(&self, file: usize) -> &Path {
        &self.files[file].path
    }

    /// Each file's path, its handle, and the length that it had when its header was read.
    pub(crate) fn files(&self) -> impl Iterator<Item = (&Path, &File, u64)> {
        let files = self.files.iter();
        files.map(|file| (file.path.as_path(), file.raw.file(), file.version.len))
    }

    /// How the files have been read so far, and how many bytes came from memory.
    pub(crate) fn method(&self) -> (ReadMethod, u64) {
        let counts = self.files.iter().map(|file| file.raw.bytes_read());
        let [from_memory, from_disk] =
            counts.fold([0; 2], |sum, file| [sum[0] + file[0], sum[1] + file[1]]);
        let method = match self.files.iter().all(|file| file.raw.is_direct()) {
            _ if from_memory > 0 && from_disk == 0 => ReadMethod::Memory,
            true => ReadMethod::Direct,
            false => ReadMethod::Buffered,
        };
        (method, from_memory)
    }

    /// Fails if a file was written to since its header was read.
    pub(crate) fn check_versions(&self) -> Result<(), LoadError> {
        self.files.iter().try_for_each(OpenFile::check_version)
    }
}

impl OpenFile {
    fn check_version(&self) -> Result<(), LoadError> {
        let now = version_of(self.raw.file(), &self.path)?;
        if now == self.version {
            Ok(())
        } else {
            Err(LoadError::Changed {
                file: self.path.clone(),
            })
        }
    }
}

fn version_of(file: &File, path: &Path) -> Result<FileVersion, LoadError> {
    let metadata = file.metadata();
    let metadata = metadata.map_err(|error| LoadError::io(path, error))?;
    Ok(FileVersion::of(&metadata))
}

/// The error of a failed read: a file that ends early has changed since its header was read.
pub(crate) fn read_error(path: &Path, error: std::io::Error) -> LoadError {
    match error.kind() {
        ErrorKind::UnexpectedEof => LoadError::Changed {
            file: path.to_path_buf(),
        },
        _ => LoadError::io(path, error),
    }
}
