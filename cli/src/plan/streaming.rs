//! What is streamed, in words.

use std::fmt::Write as _;

use engine::bytes::{format_bytes, limit_for};
use engine::plan::{PhaseName, PhasePlan, Place, Plan, Streaming};

/// Lines about a phase whose model is streamed, if it fits.
pub(crate) fn streaming(plan: &Plan, phase: &PhasePlan) -> Vec<String> {
    let rate = plan.setting.read_rate;
    match (phase.phase, phase.streaming) {
        (_, None) => Vec::new(),
        (_, Some(_)) if phase.too_large() => Vec::new(),
        (PhaseName::Encode, Some(streaming)) => vec![encoder(&streaming, rate)],
        (_, Some(streaming)) => blocks(phase, &streaming, rate),
    }
}

fn encoder(streaming: &Streaming, rate: Option<f64>) -> String {
    format!(
        "The text encoder's {} layers are read through {}, once for all prompts: {}{}.",
        streaming.streamed_blocks,
        slots(streaming),
        format_bytes(streaming.pass_bytes),
        in_seconds(streaming, rate)
            .map(|seconds| format!(", in {seconds}"))
            .unwrap_or_default()
    )
}

fn blocks(phase: &PhasePlan, streaming: &Streaming, rate: Option<f64>) -> Vec<String> {
    let all = streaming.resident_blocks + streaming.streamed_blocks;
    let mut what = format!(
        "Of the transformer's {all} blocks {} stay in memory, and {} are read in each step through \
         {}: {} a step",
        streaming.resident_blocks,
        streaming.streamed_blocks,
        slots(streaming),
        format_bytes(streaming.pass_bytes)
    );
    if streaming.ram_cache_bytes > 0 {
        let cached = format_bytes(streaming.ram_cache_bytes);
        let _ = write!(what, ", of which {cached} stay in host memory");
    }
    what.push('.');
    let mut lines = vec![what];
    lines.extend(how_long(streaming, rate));
    if !streaming.copies_beside {
        lines.push(match phase.place {
            Place::Device => {
                "The copies do not run beside the computation on this backend.".to_owned()
            }
            Place::Processor => {
                "The processor reads them between its computations, not beside them.".to_owned()
            }
        });
    }
    lines
}

fn how_long(streaming: &Streaming, rate: Option<f64>) -> Option<String> {
    let read = in_seconds(streaming, rate)?;
    Some(match (streaming.wait_seconds, streaming.compute_seconds) {
        (Some(0.0), Some(compute)) => {
            format!("They come in {read}, hidden behind the {compute:.1} s that a step computes.")
        }
        (Some(wait), compute) => {
            let computes = compute.map_or_else(String::new, |compute| {
                format!(", and a step computes {compute:.1} s")
            });
            let cache = streaming
                .enough_ram_cache
                .map_or_else(String::new, |bytes| {
                    format!("; --ram-cache {} would avoid it", limit_for(bytes).0)
                });
            format!("They come in {read}{computes}: it waits {wait:.1} s a step{cache}.")
        }
        (None, _) => format!(
            "They come in {read}; how much of it is hidden behind the computation shows once an \
             image was drawn."
        ),
    })
}

fn in_seconds(streaming: &Streaming, rate: Option<f64>) -> Option<String> {
    let (seconds, rate) = streaming.read_seconds.zip(rate)?;
    Some(format!("{seconds:.1} s ({:.2} GB/s)", rate / 1e9))
}

fn slots(streaming: &Streaming) -> String {
    format!(
        "{} slots of {}",
        streaming.slots,
        format_bytes(streaming.slot_bytes)
    )
}
