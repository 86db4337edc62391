//! Writes a file of a list of tensors: whole, or not at all.

use std::fs::File;
use std::io::{self, Seek, SeekFrom, Write};
use std::ops::{ControlFlow, Range};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread;

use tempfile::NamedTempFile;

use crate::element::ElementType;
use crate::published::fill::{BLOCK, Stream};
use crate::published::values::Values;
use crate::published::{Layout, TensorSpec, WriteError, WriteFault, check_space};

/// Elements that are made and written at once.
const PIECE: u64 = 1 << 22;
const _: () = assert!(PIECE.is_multiple_of(BLOCK));

/// Threads that make elements; a disk is busy with fewer.
const MAX_WORKERS: usize = 16;

/// Bytes after which the disk is waited for, so that progress is the disk's, and stopping quick.
const SYNC_BYTES: u64 = 1 << 28;

/// The contents of a file's tensors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Filling {
    /// Scales are 1; all else are holes, which read as zeros and take no space on a file system
    /// that knows holes.
    Holes,
    /// Every byte is written. Weights are about normal with variance 1 / fan-in, biases small,
    /// weights of normalisations near 1, scales 1. No value is NaN or infinite.
    Random {
        /// The same seed gives the same bytes.
        seed: u64,
    },
}

impl Filling {
    /// Tells whether elements like these are written.
    fn writes(self, values: Values) -> bool {
        match self {
            Self::Holes => values.is_constant(),
            Self::Random { .. } => true,
        }
    }

    fn seed(self) -> u64 {
        match self {
            Self::Holes => 0,
            Self::Random { seed } => seed,
        }
    }

    /// Bytes that a file of this layout takes on the disk, but for the disk's own rounding.
    pub fn disk_bytes(self, layout: &Layout) -> u64 {
        let tensors = layout.tensors();
        let written = tensors.filter(|(tensor, _)| self.writes(Values::of(tensor)));
        let data: u64 = written.map(|(_, range)| range.end - range.start).sum();
        layout.header().len() as u64 + data
    }
}

/// The treatment of a file that has the name already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Overwrite {
    /// It stays, and [`WriteFault::Exists`] is the answer.
    Refuse,
    /// It is replaced once the new one is whole.
    Replace,
}

/// Writes a file of these tensors, under a temporary name beside `path` until it is whole.
///
/// `watch` is told after each piece how many bytes of how many are written, and may stop it.
///
/// # Errors
/// [`WriteFault::Exists`], [`WriteFault::NoSpace`] before anything is written;
/// [`WriteFault::Cancelled`], [`WriteFault::Io`]. Nothing is left behind.
pub fn write(
    path: &Path,
    layout: &Layout,
    filling: Filling,
    overwrite: Overwrite,
    watch: &mut dyn FnMut(u64, u64) -> ControlFlow<()>,
) -> Result<(), WriteError> {
    let failed = |fault| WriteError {
        path: path.to_owned(),
        fault,
    };
    if overwrite == Overwrite::Refuse && path.symlink_metadata().is_ok() {
        return Err(failed(WriteFault::Exists));
    }
    check_space(path, filling.disk_bytes(layout))?;
    write_beside(path, layout, filling, overwrite, watch).map_err(failed)
}

fn write_beside(
    path: &Path,
    layout: &Layout,
    filling: Filling,
    overwrite: Overwrite,
    watch: &mut dyn FnMut(u64, u64) -> ControlFlow<()>,
) -> Result<(), WriteFault> {
    let mut file = temporary(path)?;
    file.write_all(layout.header())?;
    file.as_file().set_len(layout.file_len())?;
    write_elements(&file, layout, filling, watch)?;
    let placed = match overwrite {
        Overwrite::Refuse => file.persist_noclobber(path),
        Overwrite::Replace => file.persist(path),
    };
    match placed {
        Ok(_) => Ok(()),
        Err(lost) if lost.error.kind() == io::ErrorKind::AlreadyExists => Err(WriteFault::Exists),
        Err(lost) => Err(lost.error.into()),
    }
}

fn temporary(path: &Path) -> io::Result<NamedTempFile> {
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let mut builder = tempfile::Builder::new();
    builder.prefix(".qwen-image-").suffix(".part");
    #[cfg(unix)]
    {
        // A temporary file is private by default; this one is to be as any new file, less umask.
        use std::os::unix::fs::PermissionsExt;
        builder.permissions(std::fs::Permissions::from_mode(0o666));
    }
    builder.tempfile_in(folder)
}

/// A run of elements of one tensor.
struct Piece<'a> {
    tensor: &'a TensorSpec,
    /// Numbers of the elements in the tensor.
    elements: Range<u64>,
    /// The place of the first of them in the file.
    offset: u64,
}

impl Piece<'_> {
    fn bytes(&self) -> u64 {
        (self.elements.end - self.elements.start) * self.tensor.dtype.block().bytes as u64
    }
}

/// The bytes to be written, in the order of the file.
fn pieces(layout: &Layout, filling: Filling) -> Vec<Piece<'_>> {
    let mut pieces = Vec::new();
    for (tensor, range) in layout.tensors() {
        if !filling.writes(Values::of(tensor)) {
            continue;
        }
        let width = tensor.dtype.block().bytes as u64;
        let count = (range.end - range.start) / width;
        pieces.extend((0..count).step_by(PIECE as usize).map(|first| Piece {
            tensor,
            elements: first..count.min(first + PIECE),
            offset: range.start + first * width,
        }));
    }
    pieces
}

fn write_elements(
    file: &NamedTempFile,
    layout: &Layout,
    filling: Filling,
    watch: &mut dyn FnMut(u64, u64) -> ControlFlow<()>,
) -> Result<(), WriteFault> {
    let pieces = pieces(layout, filling);
    let total: u64 = pieces.iter().map(Piece::bytes).sum();
    let next = AtomicUsize::new(0);
    let workers = thread::available_parallelism().map_or(1, usize::from);
    let workers = workers.min(MAX_WORKERS).min(pieces.len());
    thread::scope(|scope| {
        // Without room the workers wait, so that no more than this is ever ahead of the disk.
        let (sender, done) = sync_channel(workers);
        for _ in 0..workers {
            let (sender, pieces, next) = (sender.clone(), &pieces, &next);
            scope.spawn(move || work(file.path(), pieces, next, filling.seed(), &sender));
        }
        drop(sender);
        let (mut written, mut unsynced) = (0, 0);
        // To leave the loop is to hang up, which ends the workers.
        for outcome in done {
            let bytes: u64 = outcome?;
            written += bytes;
            unsynced += bytes;
            if unsynced >= SYNC_BYTES {
                file.as_file().sync_data()?;
                unsynced = 0;
            }
            if watch(written, total).is_break() {
                return Err(WriteFault::Cancelled);
            }
        }
        // A disk may only now find that it is full.
        file.as_file().sync_data()?;
        Ok(())
    })
}

/// Makes and writes pieces, through a handle of its own, until there are none or nobody listens.
fn work(
    path: &Path,
    pieces: &[Piece<'_>],
    next: &AtomicUsize,
    seed: u64,
    done: &SyncSender<io::Result<u64>>,
) {
    let mut file = match File::options().write(true).open(path) {
        Ok(file) => file,
        Err(error) => {
            // The receiver is gone if another worker failed before.
            let _ = done.send(Err(error));
            return;
        }
    };
    let mut buffer = Vec::new();
    while let Some(piece) = pieces.get(next.fetch_add(1, Ordering::Relaxed)) {
        make(piece, seed, &mut buffer);
        let outcome = file
            .seek(SeekFrom::Start(piece.offset))
            .and_then(|_| file.write_all(&buffer))
            .map(|()| buffer.len() as u64);
        if done.send(outcome).is_err() {
            return;
        }
    }
}

/// Fills the buffer with the bytes of a piece.
fn make(piece: &Piece<'_>, seed: u64, buffer: &mut Vec<u8>) {
    buffer.resize(piece.bytes() as usize, 0);
    let values = Values::of(piece.tensor);
    let stream = Stream::of(seed, &piece.tensor.key);
    let first = piece.elements.start;
    match piece.tensor.dtype {
        ElementType::BF16 => stream.fill(&values.bf16(), first, buffer.as_chunks_mut().0),
        ElementType::F32 => stream.fill(&values.f32(), first, buffer.as_chunks_mut().0),
        // A layout has no fourth dtype.
        _ => stream.fill(&values.e4m3(), first, buffer.as_chunks_mut().0),
    }
}
