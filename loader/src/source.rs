//! The bytes of tensors: read into memory of ours, or mapped.

use std::fs::File;
use std::io::{self, ErrorKind};
use std::ops::Range;
use std::path::PathBuf;
use std::sync::OnceLock;

use bytes::Bytes;
use memmap2::Mmap;

use crate::checkpoint::{CheckpointFile, Entry};
use crate::error::LoadError;
use crate::header::file_metadata;

/// The open files of a checkpoint.
pub(crate) struct Source {
    files: Vec<OpenFile>,
}

struct OpenFile {
    path: PathBuf,
    len: u64,
    file: File,
    mapping: OnceLock<Bytes>,
}

impl Source {
    /// Opens the files again, which must be as long as when their headers were read.
    pub(crate) fn open(files: &[CheckpointFile]) -> Result<Self, LoadError> {
        let open = |checkpoint: &CheckpointFile| {
            let path = checkpoint.path.clone();
            let len = file_metadata(&path)?.len();
            if len != checkpoint.len {
                return Err(LoadError::Changed { file: path });
            }
            let file = File::open(&path).map_err(|error| LoadError::io(&path, error))?;
            Ok(OpenFile {
                path,
                len,
                file,
                mapping: OnceLock::new(),
            })
        };
        Ok(Self {
            files: files.iter().map(open).collect::<Result<_, _>>()?,
        })
    }

    /// All bytes of a tensor, in memory of ours. For small tensors: nothing can interrupt it.
    pub(crate) fn read(&self, entry: &Entry) -> Result<Vec<u8>, LoadError> {
        let mut bytes = vec![0; entry.tensor.bytes() as usize];
        self.read_into(entry.file, entry.tensor.range.start, &mut bytes)?;
        Ok(bytes)
    }

    /// Fills `buffer` from the byte `offset` of a file on.
    pub(crate) fn read_into(
        &self,
        file: usize,
        offset: u64,
        buffer: &mut [u8],
    ) -> Result<(), LoadError> {
        let OpenFile { path, file, .. } = &self.files[file];
        read_exact_at(file, buffer, offset).map_err(|error| match error.kind() {
            ErrorKind::UnexpectedEof => LoadError::Changed { file: path.clone() },
            _ => LoadError::io(path, error),
        })
    }

    /// A tensor's bytes as part of a mapping of its file, which is made once and lives as long as
    /// any part of it. Nothing is read until it is touched.
    pub(crate) fn map(&self, entry: &Entry) -> Result<Bytes, LoadError> {
        let OpenFile {
            path,
            len,
            file,
            mapping,
        } = &self.files[entry.file];
        let whole = match mapping.get() {
            Some(whole) => whole,
            None => {
                // SAFETY: the mapping is private and read-only. Another process may still write
                // or truncate the file, as with any program that maps its weights; model files
                // are replaced by renaming, which leaves the mapped file alone.
                let new = unsafe { Mmap::map(file) }.map_err(|error| LoadError::io(path, error))?;
                if new.len() as u64 != *len {
                    return Err(LoadError::Changed { file: path.clone() });
                }
                mapping.get_or_init(|| Bytes::from_owner(new))
            }
        };
        let Range { start, end } = entry.tensor.range;
        Ok(whole.slice(start as usize..end as usize))
    }
}

#[cfg(unix)]
fn read_exact_at(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<()> {
    std::os::unix::fs::FileExt::read_exact_at(file, buffer, offset)
}

#[cfg(windows)]
fn read_exact_at(file: &File, mut buffer: &mut [u8], mut offset: u64) -> io::Result<()> {
    use std::os::windows::fs::FileExt;
    while !buffer.is_empty() {
        match file.seek_read(buffer, offset) {
            Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
            Ok(read) => {
                buffer = &mut buffer[read..];
                offset += read as u64;
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
