#![allow(clippy::unwrap_used)]

use std::sync::Mutex;

use super::*;

/// Gives its bytes in pieces of sizes that a list names, and fails where it says so.
struct Fitful {
    bytes: Vec<u8>,
    answers: Mutex<Vec<Result<usize, ErrorKind>>>,
}

impl ReadAt for Fitful {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        assert_eq!(buffer.len() % BLOCK, 0);
        assert_eq!(offset % BLOCK as u64, 0);
        let answer = self.answers.lock().unwrap().pop();
        let most = answer.unwrap_or(Ok(usize::MAX))?;
        let rest = self.bytes.get(offset as usize..).unwrap_or_default();
        let read = rest.len().min(buffer.len()).min(most);
        buffer[..read].copy_from_slice(&rest[..read]);
        Ok(read)
    }
}

fn fitful(length: usize, mut answers: Vec<Result<usize, ErrorKind>>) -> Fitful {
    answers.reverse();
    Fitful {
        bytes: (0..length).map(|i| (i % 251) as u8).collect(),
        answers: Mutex::new(answers),
    }
}

#[test]
fn short_reads_and_interruptions_are_taken_up_again() {
    let answers = vec![
        Ok(5000),
        Err(ErrorKind::Interrupted),
        Ok(4096),
        Ok(100),
        Ok(100),
    ];
    let file = fitful(20_000, answers);
    let mut buffer = vec![0; 5 * BLOCK];
    // The last answer brings nothing new of its block, as happens only at the end.
    let error = fill(&file, &mut buffer, 0, 20_000).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::UnexpectedEof);
    let file = fitful(
        20_000,
        vec![Ok(5000), Err(ErrorKind::Interrupted), Ok(8192)],
    );
    fill(&file, &mut buffer, 0, 20_000).unwrap();
    assert_eq!(buffer[..20_000], file.bytes);
    fill(&file, &mut buffer, 8192, 20_000 - 8192).unwrap();
    assert_eq!(buffer[..20_000 - 8192], file.bytes[8192..]);
}

#[test]
fn an_early_end_and_a_failing_disk_are_told_apart() {
    let mut buffer = vec![0; 2 * BLOCK];
    let early = fill(&fitful(5000, Vec::new()), &mut buffer, 0, 5001).unwrap_err();
    assert_eq!(early.kind(), ErrorKind::UnexpectedEof);
    fill(&fitful(5000, Vec::new()), &mut buffer, 0, 5000).unwrap();
    let broken = fitful(8192, vec![Ok(4096), Err(ErrorKind::Other)]);
    let error = fill(&broken, &mut buffer, 0, 8192).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Other);
}

#[test]
fn what_is_read_is_the_file_whichever_way() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("file");
    let bytes: Vec<u8> = (0..3 * BLOCK + 17).map(|i| (i % 241) as u8).collect();
    std::fs::write(&path, &bytes).unwrap();
    let file = RawFile::open(&path).unwrap();
    let mut buffer = backends::upload::HostBuffer::new(4 * BLOCK).unwrap();
    fill(&file, &mut buffer, 0, bytes.len()).unwrap();
    assert_eq!(buffer[..bytes.len()], bytes);
    let read = file.read_buffered(&mut buffer, BLOCK as u64).unwrap();
    assert_eq!(buffer[..read], bytes[BLOCK..]);
}

#[test]
#[cfg(target_os = "linux")]
fn a_refused_direct_read_is_done_through_the_cache() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("file");
    std::fs::write(&path, [7; BLOCK]).unwrap();
    let file = RawFile::open(&path).unwrap();
    if !file.is_direct() {
        eprintln!("skipped: no direct reads on this file system");
        return;
    }
    // An address that no direct read accepts.
    let mut buffer = vec![0; BLOCK + 1];
    let shift = usize::from((buffer.as_ptr() as usize).is_multiple_of(2));
    let read = file.read_at(&mut buffer[shift..BLOCK + shift], 0).unwrap();
    assert_eq!(buffer[shift..shift + read], [7; BLOCK]);
}

/// A file of random-like bytes on a disk that tells what it has in memory, and its bytes.
#[cfg(target_os = "linux")]
fn on_disk(dir: &tempfile::TempDir, length: usize) -> Option<(std::path::PathBuf, Vec<u8>)> {
    let path = dir.path().join("file");
    let bytes: Vec<u8> = (0..length).map(|i| (i / 4096 * 31 + i) as u8).collect();
    std::fs::write(&path, &bytes).unwrap();
    let file = File::open(&path).unwrap();
    file.sync_all().unwrap();
    let page_cache = PageCache::of(&file, &path).filter(PageCache::has_disk);
    if page_cache.is_none() {
        eprintln!("skipped: {} does not tell its page cache", path.display());
    }
    page_cache.map(|_| (path, bytes))
}

/// Pages of a file in memory.
#[cfg(target_os = "linux")]
fn pages_in_memory(path: &Path) -> u64 {
    let file = File::open(path).unwrap();
    let page_cache = PageCache::of(&file, path).unwrap();
    page_cache.pages(&file).unwrap()
}

#[cfg(target_os = "linux")]
fn drop_from_memory(path: &Path, offset: usize) {
    let file = File::open(path).unwrap();
    rustix::fs::fadvise(&file, offset as u64, None, rustix::fs::Advice::DontNeed).unwrap();
}

/// Reads a file as a stream does, and says how many bytes came from memory and how many did not.
#[cfg(target_os = "linux")]
fn read_whole(path: &Path, bytes: &[u8]) -> [u64; 2] {
    const BUFFER: usize = 4 << 20;
    let file = RawFile::open(path).unwrap();
    let mut buffer = backends::upload::HostBuffer::new(BUFFER).unwrap();
    for (number, expected) in bytes.chunks(BUFFER).enumerate() {
        let offset = (number * BUFFER) as u64;
        fill(&file, &mut buffer, offset, expected.len()).unwrap();
        assert!(buffer[..expected.len()] == *expected, "buffer {number}");
    }
    file.bytes_read()
}

#[test]
#[cfg(target_os = "linux")]
fn a_file_in_memory_is_read_from_there_and_stays_there() {
    let dir = tempfile::tempdir().unwrap();
    let Some((path, bytes)) = on_disk(&dir, (9 << 20) + 17) else {
        return;
    };
    let pages = pages_in_memory(&path);
    assert_eq!(read_whole(&path, &bytes), [bytes.len() as u64, 0]);
    assert_eq!(pages_in_memory(&path), pages);
}

#[test]
#[cfg(target_os = "linux")]
fn a_file_on_the_disk_leaves_nothing_in_memory() {
    let dir = tempfile::tempdir().unwrap();
    let Some((path, bytes)) = on_disk(&dir, (9 << 20) + 17) else {
        return;
    };
    drop_from_memory(&path, 0);
    assert_eq!(pages_in_memory(&path), 0, "another process holds it");
    assert_eq!(read_whole(&path, &bytes), [0, bytes.len() as u64]);
    assert_eq!(pages_in_memory(&path), 0);
}

#[test]
#[cfg(target_os = "linux")]
fn a_file_that_is_in_memory_in_part_is_read_from_there_in_part() {
    use std::io::Read;
    let dir = tempfile::tempdir().unwrap();
    let Some((path, bytes)) = on_disk(&dir, (48 << 20) + 17) else {
        return;
    };
    drop_from_memory(&path, 0);
    // Read in order, so that the system reads ahead and marks where it wants to go on.
    let mut start = vec![0; 20 << 20];
    File::open(&path).unwrap().read_exact(&mut start).unwrap();
    std::thread::sleep(std::time::Duration::from_millis(100));
    let pages = pages_in_memory(&path);
    let [from_memory, from_disk] = read_whole(&path, &bytes);
    assert!(from_memory >= 4 << 20, "{from_memory} bytes from memory");
    assert_eq!(from_memory + from_disk, bytes.len() as u64);
    std::thread::sleep(std::time::Duration::from_millis(100));
    assert_eq!(pages_in_memory(&path), pages, "the page cache has grown");
}

#[test]
#[cfg(target_os = "linux")]
fn a_file_system_without_a_disk_is_read_from_memory() {
    let Ok(dir) = tempfile::TempDir::new_in("/dev/shm") else {
        eprintln!("skipped: no /dev/shm");
        return;
    };
    let path = dir.path().join("file");
    let bytes = vec![3; (5 << 20) + 1];
    std::fs::write(&path, &bytes).unwrap();
    assert_eq!(read_whole(&path, &bytes), [bytes.len() as u64, 0]);
}
