//! Holds slots to their order on a GPU, and measures how much of the copying is hidden.
//!
//!     cargo run --release -p benches --no-default-features --features flex,cuda --example slots
//!
//! Slots are refilled many times while kernels of ours, on both streams, and Burn's own compute
//! with what is in them. Before each refill a slot is filled with NaNs, in the same order; each
//! result is compared with that of the same weights at rest. The same is then done without each of
//! the two waits, where results must differ: else the check could not fail either. Exit code 1 if
//! anything is not so. It ends with the seconds of copies and of work, each alone and both together.

mod feed;
mod work;

use std::process::ExitCode;
use std::time::Instant;

use backends::{ModelBackend, OnBackend, UploadError, choose, dispatch};

use feed::{Feed, Marks};
use work::{PATTERNS, Work};

/// Refills of a run.
const REFILLS: usize = 60;

struct Check;

/// How a run's time is spent, beside a copy of each slot.
#[derive(Clone, Copy)]
struct Pace {
    name: &'static str,
    rows: usize,
    repeats: usize,
}

/// Copies that wait for work, work that waits for copies, and about as much of both.
const PACES: [Pace; 3] = [
    Pace {
        name: "much work",
        rows: 4096,
        repeats: 8,
    },
    Pace {
        name: "little work",
        rows: 16,
        repeats: 1,
    },
    Pace {
        name: "as much",
        rows: 4096,
        repeats: 2,
    },
];

impl OnBackend for Check {
    type Output = Result<bool, UploadError>;

    fn run<B: ModelBackend>(self, device: B::Device) -> Self::Output {
        if let Err(reason) = B::prepare(&device) {
            println!("no kernels of ours: {reason}");
        }
        let mut good = true;
        for slots in [2, 3] {
            let mut feed = Feed::<B>::new(&device, slots)?;
            for pace in PACES {
                good &= check::<B>(&device, &mut feed, pace)?;
            }
        }
        Ok(good)
    }
}

/// Compares results at one pace, and measures.
fn check<B: ModelBackend>(
    device: &B::Device,
    feed: &mut Feed<B>,
    pace: Pace,
) -> Result<bool, UploadError> {
    let work = Work::<B>::new(device, pace.rows, pace.repeats);
    // Burn chooses a kernel at its first use, by trying several.
    feed.at_rest(0, |lent| work.on(lent))?;
    let expected = (0..PATTERNS)
        .map(|pattern| feed.at_rest(pattern, |lent| work.on(lent)))
        .collect::<Result<Vec<_>, _>>()?;
    let expected: Vec<Vec<f32>> = expected.into_iter().map(work::values).collect();
    let wrong = |feed: &mut Feed<B>, marks| -> Result<usize, UploadError> {
        let sums = feed.run(REFILLS, true, marks, |lent| work.on(lent))?;
        let sums = sums.into_iter().map(work::values::<B>);
        let differ = sums
            .enumerate()
            .filter(|(i, sums)| *sums != expected[i % PATTERNS]);
        Ok(differ.count())
    };
    let in_order = wrong(feed, Marks::Both)?;
    let mut good = in_order == 0;
    println!(
        "{} slots, {}: {in_order} of {REFILLS} results differ; {} queues of work read",
        feed.slots(),
        pace.name,
        feed.queues(),
    );
    if B::COPIES_BESIDE {
        let unread = wrong(feed, Marks::NoReadAfter)?;
        let unwritten = wrong(feed, Marks::NoWriteAfter)?;
        println!("    without read_after {unread} differ, without write_after {unwritten}");
        // Little work is done before the next bytes come, and much lets them arrive in time.
        good &= unread + unwritten > 0;
        good &= pace.repeats > 1 || unread > 0;
        good &= pace.repeats < 8 || unwritten > 0;
    }
    let timed = |work: &mut dyn FnMut() -> Result<(), UploadError>| -> Result<f64, UploadError> {
        B::sync(device).map_err(|error| UploadError::Device(error.to_string()))?;
        let start = Instant::now();
        work()?;
        B::sync(device).map_err(|error| UploadError::Device(error.to_string()))?;
        Ok(start.elapsed().as_secs_f64())
    };
    let copies = timed(&mut || feed.run(REFILLS, false, Marks::Both, |_| ()).map(drop))?;
    let computing =
        timed(&mut || (0..REFILLS).try_for_each(|_| feed.lend(|lent| work.on(lent)).map(drop)))?;
    let both = timed(&mut || {
        let sums = feed.run(REFILLS, false, Marks::Both, |lent| work.on(lent));
        sums.map(drop)
    })?;
    let bytes = (REFILLS * work::SLOT) as f64;
    println!(
        "    copies {copies:.3} s ({:.1} GB/s), work {computing:.3} s, both {both:.3} s: {:.3} of the longer",
        bytes / copies / 1e9,
        both / copies.max(computing),
    );
    Ok(good)
}

fn main() -> ExitCode {
    let backend = std::env::args().nth(1).unwrap_or_else(|| "cuda".to_owned());
    let done = choose(&backend, None).and_then(|device| dispatch(&device, Check));
    match done {
        Ok(Ok(true)) => ExitCode::SUCCESS,
        Ok(Ok(false)) => {
            eprintln!("FAILED: see above");
            ExitCode::FAILURE
        }
        Ok(Err(error)) => {
            eprintln!("FAILED: {error}");
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("FAILED: {error}");
            ExitCode::FAILURE
        }
    }
}
