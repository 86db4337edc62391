//! The download of one file to its place.

use std::io::Read;
use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use crate::cache;
use crate::client::{Hub, shown, unreachable};
use crate::error::Error;
use crate::listing::Entry;
use crate::partial::{OpenFault, Partial};
use crate::plan::{Planned, State};

/// The number of requests in a row that may bring nothing new before the download is given up.
const FRUITLESS: u32 = 6;
const PIECE: usize = 1 << 18;
/// How often the watcher is asked during a wait.
const WATCH_INTERVAL: Duration = Duration::from_millis(50);

/// A callback that is told how many bytes of a file are there (or read through, while it is
/// checked). `Break` ends the work and keeps what came.
pub type Watch<'w> = dyn FnMut(u64) -> ControlFlow<()> + 'w;

/// Brings a planned file to its place, from the cache or the network.
///
/// # Errors
/// Any failure on the way. What came so far is kept for the next call, unless its digest is wrong.
pub fn fetch(hub: &Hub, file: &Planned, watch: &mut Watch<'_>) -> Result<(), Error> {
    let failed = |source| Error::Write {
        path: file.place.clone(),
        source,
    };
    if let Some(folder) = file.place.parent() {
        std::fs::create_dir_all(folder).map_err(|source| Error::Write {
            path: folder.to_owned(),
            source,
        })?;
    }
    match &file.state {
        State::Present => return Ok(()),
        State::Cached(blob) => match cache::link(blob, &file.place) {
            Ok(()) => return Ok(()),
            // Where the disks know no links, it is downloaded.
            Err(_) if !file.place.exists() => {}
            Err(error) => return Err(failed(error)),
        },
        State::Missing { .. } => {}
    }
    let mut partial =
        Partial::open(&file.place, &file.entry, watch).map_err(|fault| match fault {
            OpenFault::Busy => Error::Busy {
                path: file.place.clone(),
            },
            OpenFault::Cancelled => Error::Cancelled,
            OpenFault::Io(error) => failed(error),
        })?;
    if let Err(error) = download(hub, file, &mut partial, watch) {
        partial.leave();
        return Err(error);
    }
    match partial.finish(&file.place, &file.entry).map_err(failed)? {
        Ok(()) => Ok(()),
        Err(found) => Err(Error::Checksum {
            path: file.place.clone(),
            found,
            expected: file.entry.digest.clone(),
        }),
    }
}

/// Makes requests until the partial file has the published size.
fn download(
    hub: &Hub,
    file: &Planned,
    partial: &mut Partial,
    watch: &mut Watch<'_>,
) -> Result<(), Error> {
    let mut furthest = partial.done();
    let mut fruitless = 0;
    while partial.done() < file.entry.size {
        let Err(error) = request(hub, file, partial, watch) else {
            continue;
        };
        if !error.is_passing() {
            return Err(error);
        }
        if partial.done() > furthest {
            furthest = partial.done();
            fruitless = 0;
        } else {
            fruitless += 1;
        }
        if fruitless >= FRUITLESS {
            return Err(error);
        }
        wait(fruitless, partial.done(), watch)?;
    }
    Ok(())
}

/// Makes one request for all that is missing.
fn request(
    hub: &Hub,
    file: &Planned,
    partial: &mut Partial,
    watch: &mut Watch<'_>,
) -> Result<(), Error> {
    let url = &file.url;
    let mut response = hub.get(file.source.repository, url, partial.done())?;
    let failed = |source| Error::Write {
        path: file.place.clone(),
        source,
    };
    let header = |name| response.headers().get(name)?.to_str().ok();
    let part = match response.status().as_u16() {
        206 => Part::of_range(header("content-range")),
        _ => Part::whole(header("content-length")),
    };
    let answer = |reason: String| Error::Answer {
        url: shown(url),
        reason,
    };
    part.check(partial.done(), &file.entry).map_err(answer)?;
    if part.from == 0 && partial.done() > 0 {
        partial.restart().map_err(failed)?;
    }
    let mut body = response.body_mut().as_reader();
    let mut piece = vec![0; PIECE];
    loop {
        if watch(partial.done()).is_break() {
            return Err(Error::Cancelled);
        }
        let read = body
            .read(&mut piece)
            .map_err(|error| unreachable(url, &error))?;
        let missing = file.entry.size - partial.done();
        if read as u64 > missing {
            return Err(answer("more bytes come than the file has".to_owned()));
        }
        if read == 0 {
            return match missing {
                0 => Ok(()),
                _ => Err(unreachable(url, &"the connection was cut")),
            };
        }
        partial.push(&piece[..read]).map_err(failed)?;
    }
}

/// Waits before the next request: not at all after one that brought something, then longer and
/// longer.
fn wait(fruitless: u32, done: u64, watch: &mut Watch<'_>) -> Result<(), Error> {
    let pause = match fruitless {
        0 | 1 => Duration::ZERO,
        more => Duration::from_millis(250) * 2_u32.pow(more),
    };
    let begun = Instant::now();
    while begun.elapsed() < pause {
        if watch(done).is_break() {
            return Err(Error::Cancelled);
        }
        std::thread::sleep(WATCH_INTERVAL);
    }
    Ok(())
}

/// The bytes of a file that an answer has.
struct Part {
    from: u64,
    /// Bytes of the whole file, where the answer says so.
    total: Option<u64>,
}

impl Part {
    fn whole(content_length: Option<&str>) -> Self {
        Self {
            from: 0,
            total: content_length.and_then(|length| length.parse().ok()),
        }
    }

    /// Reads a header `Content-Range: bytes FROM-TO/TOTAL`.
    fn of_range(content_range: Option<&str>) -> Self {
        let fields = content_range
            .and_then(|range| range.strip_prefix("bytes "))
            .and_then(|range| range.split_once('/'));
        let from = fields
            .and_then(|(span, _)| span.split_once('-'))
            .and_then(|(from, _)| from.parse().ok());
        Self {
            // A range that says nothing of itself cannot be appended to anything.
            from: from.unwrap_or(u64::MAX),
            total: fields.and_then(|(_, total)| total.parse().ok()),
        }
    }

    /// Checks that these bytes can follow the first `done` ones of the file, or replace them.
    fn check(&self, done: u64, entry: &Entry) -> Result<(), String> {
        if self.from != 0 && self.from != done {
            return Err("another part of the file comes than was asked for".to_owned());
        }
        match self.total {
            Some(total) if total != entry.size => Err(format!(
                "the file has {total} bytes there, and {} in the repository's list",
                entry.size
            )),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::{Entry, Part};
    use crate::digest::Digest;

    #[test]
    fn only_the_part_asked_for_is_appended() {
        let entry = Entry {
            size: 10,
            digest: Digest::sha256(&"0".repeat(64)).unwrap(),
        };
        let check = |range, done| Part::of_range(range).check(done, &entry);
        assert!(check(Some("bytes 4-9/10"), 4).is_ok());
        assert!(check(Some("bytes 4-9/*"), 4).is_ok());
        assert!(check(Some("bytes 0-9/10"), 4).is_ok());
        assert!(check(Some("bytes 3-9/10"), 4).is_err());
        assert!(check(Some("bytes 4-9/11"), 4).is_err());
        assert!(check(None, 4).is_err());
        assert!(Part::whole(Some("10")).check(4, &entry).is_ok());
        assert!(Part::whole(None).check(0, &entry).is_ok());
        assert!(Part::whole(Some("11")).check(0, &entry).is_err());
    }
}
