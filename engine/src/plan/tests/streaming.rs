//! Plans of models that do not fit, and are streamed.

use super::*;
use crate::plan::streaming::is_streamed;
use crate::plan::{ModulationBytes, Streaming};

/// FP8 models of the published sizes, with blocks of 226 MB and layers of 220 MB.
fn blocks(count: usize, each: u64) -> Blocks {
    Blocks {
        bytes: vec![each; count],
        slot: each,
        ..Blocks::default()
    }
}

const BLOCK: u64 = 226 << 20;
const LAYER: u64 = 220 << 20;

fn in_blocks() -> Subject {
    let mut subject = subject();
    subject.transformer.blocks = blocks(60, BLOCK);
    subject.text_encoder.blocks = Blocks {
        table: GIB,
        ..blocks(28, LAYER)
    };
    subject
}

fn streaming(total: u64) -> Setting {
    Setting {
        stream: StreamChoice::Auto,
        ..setting(total)
    }
}

fn plan(setting: Setting) -> Plan {
    Plan::new(&in_blocks(), work(1024, 1024), setting)
}

fn streamed(plan: &Plan, name: PhaseName) -> Option<Streaming> {
    phase(plan, name).streaming
}

#[test]
fn streamed_blocks_are_spread_evenly() {
    for all in [1, 2, 7, 28, 60] {
        for streamed in 0..=all {
            let chosen: Vec<usize> = (0..all)
                .filter(|block| is_streamed(*block, streamed, all))
                .collect();
            assert_eq!(chosen.len(), streamed);
            let gaps = chosen.windows(2).map(|pair| pair[1] - pair[0]);
            // From the last to the first of the next pass.
            let wrapped = chosen
                .first()
                .zip(chosen.last())
                .map(|(first, last)| all + first - last);
            let gaps: Vec<usize> = gaps.chain(wrapped).collect();
            let (least, most) = (gaps.iter().min(), gaps.iter().max());
            assert!(
                least
                    .zip(most)
                    .is_none_or(|(least, most)| most - least <= 1),
                "{streamed} of {all}: {gaps:?}"
            );
        }
    }
    assert!(!is_streamed(0, 0, 0));
}

#[test]
fn what_fits_is_not_streamed() {
    let whole = phase(&plan(streaming(80 * GIB)), PhaseName::Denoise).peak_bytes;
    for total in [whole, 80 * GIB] {
        let plan = plan(streaming(total));
        assert!(plan.fits && streamed(&plan, PhaseName::Denoise).is_none());
    }
    // Without anything to tell how much memory there is.
    let unknown = Setting {
        device: None,
        ..streaming(0)
    };
    assert!(
        plan(unknown)
            .phases
            .iter()
            .all(|phase| phase.streaming.is_none())
    );
}

#[test]
fn the_largest_set_of_blocks_stays_that_fits() {
    let whole = phase(&plan(streaming(80 * GIB)), PhaseName::Denoise).peak_bytes;
    let mut before = 60;
    for total in [whole - 1, 16 * GIB, 12 * GIB, 8 * GIB] {
        let plan = plan(streaming(total));
        let denoise = phase(&plan, PhaseName::Denoise);
        let streaming = denoise.streaming.unwrap();
        assert_eq!(denoise.verdict, Verdict::Fits);
        assert_eq!(streaming.resident_blocks + streaming.streamed_blocks, 60);
        assert_eq!(streaming.slot_bytes, BLOCK);
        assert_eq!(
            streaming.pass_bytes,
            streaming.streamed_blocks as u64 * BLOCK
        );
        // One block more would be too much.
        assert!(denoise.peak_bytes <= total && denoise.peak_bytes + BLOCK > total);
        let away = streaming.pass_bytes - streaming.slots as u64 * BLOCK;
        assert_eq!(denoise.peak_bytes, whole - away);
        assert!(streaming.resident_blocks < before);
        before = streaming.resident_blocks;
    }
}

#[test]
fn blocks_of_several_sizes_share_slots_of_the_largest() {
    let mut subject = in_blocks();
    for (index, bytes) in subject.transformer.blocks.bytes.iter_mut().enumerate() {
        *bytes = BLOCK / (1 + index as u64 % 3);
    }
    let of = |total| Plan::new(&subject, work(1024, 1024), streaming(total));
    let whole = phase(&of(80 * GIB), PhaseName::Denoise).peak_bytes;
    for total in [whole - GIB, whole - 3 * GIB] {
        let plan = of(total);
        let denoise = phase(&plan, PhaseName::Denoise);
        let streaming = denoise.streaming.unwrap();
        let blocks = &subject.transformer.blocks.bytes;
        let chosen = |(index, _): &(usize, &u64)| {
            is_streamed(*index, streaming.streamed_blocks, blocks.len())
        };
        let chosen = blocks.iter().enumerate().filter(chosen);
        let bytes: u64 = chosen.map(|(_, bytes)| bytes).sum();
        assert_eq!(streaming.pass_bytes, bytes);
        assert!(denoise.peak_bytes <= total);
    }
}

#[test]
fn the_text_encoder_streams_all_layers_and_reads_its_table_by_rows() {
    let plan = plan(streaming(4 * GIB));
    let encode = phase(&plan, PhaseName::Encode);
    let streaming = encode.streaming.unwrap();
    assert_eq!(streaming.streamed_blocks, 28);
    assert_eq!(streaming.pass_bytes, 28 * LAYER);
    let held = 8 * GIB - 28 * LAYER - GIB + streaming.slots as u64 * LAYER;
    assert_eq!(encode.weight_bytes(), held);
    assert_eq!(encode.verdict, Verdict::Fits);
    // It is gone through once: nothing of it is worth keeping.
    let cached = Setting {
        ram_cache: 80 * GIB,
        host_available: Some(80 * GIB),
        ..self::streaming(4 * GIB)
    };
    let plan = self::plan(cached);
    assert_eq!(
        streamed(&plan, PhaseName::Encode).unwrap().ram_cache_bytes,
        0
    );
}

#[test]
fn what_no_stream_makes_fit_is_refused_with_what_it_takes() {
    let least = phase(&plan(streaming(1)), PhaseName::Denoise).peak_bytes;
    let fits = |total| !phase(&plan(streaming(total)), PhaseName::Denoise).too_large();
    assert!(fits(least) && !fits(least - 1));
    let limited = |limit| {
        let setting = streaming(80 * GIB);
        let budget = Budget {
            limit: Some(limit),
            ..setting.budget
        };
        plan(Setting { budget, ..setting })
    };
    let refused = limited(GIB / 2);
    assert!(!refused.fits);
    let limits = refused
        .advice
        .iter()
        .filter_map(|advice| match advice.remedy {
            Remedy::Limit { bytes } => Some(bytes),
            _ => None,
        });
    let limits: Vec<u64> = limits.collect();
    // Not what the whole model would take.
    assert!(limits.len() == 1 && limits[0] < 8 * GIB, "{limits:?}");
    assert!(limited(limits[0]).fits);
}

#[test]
fn to_stream_is_a_remedy_where_it_is_off() {
    let refused = plan(setting(12 * GIB));
    assert!(!refused.fits);
    assert!(remedies(&refused).contains(&Remedy::Stream));
    let streamed = plan(streaming(12 * GIB));
    assert!(streamed.fits && streamed.advice.is_empty());
    // Where even that is too much it is none.
    assert!(!remedies(&plan(setting(GIB / 2))).contains(&Remedy::Stream));
}

#[test]
fn a_mapping_is_not_streamed_and_weights_that_are_read_are() {
    let processor = Setting {
        place: Place::Processor,
        encoder_place: Place::Processor,
        kernels: backends::KernelSet::Processor,
        dtype: FloatDType::F32,
        host_available: Some(14 * GIB),
        ..streaming(80 * GIB)
    };
    assert!(streamed(&plan(processor), PhaseName::Denoise).is_none());
    let read = Setting {
        weights: loader::LoadMethod::Read,
        ..processor
    };
    let plan = plan(read);
    let denoise = phase(&plan, PhaseName::Denoise);
    let streaming = denoise.streaming.unwrap();
    assert!(!streaming.copies_beside);
    assert!(denoise.peak_bytes <= 14 * GIB);
    // A slot's tensors are copies of it.
    let away = streaming.pass_bytes - (streaming.slots as u64 + 1) * BLOCK;
    assert_eq!(denoise.weight_bytes(), 19 * GIB - away);
}

#[test]
fn seconds_are_told_where_rates_are_known() {
    let of = |read_rate, flops_per_second, ram_cache| {
        let setting = Setting {
            read_rate,
            flops_per_second,
            ram_cache,
            host_available: Some(64 * GIB),
            kernels: backends::KernelSet::Cuda,
            ..streaming(12 * GIB)
        };
        streamed(&plan(setting), PhaseName::Denoise).unwrap()
    };
    let nothing = of(None, None, 0);
    assert_eq!(
        (
            nothing.read_seconds,
            nothing.compute_seconds,
            nothing.wait_seconds
        ),
        (None, None, None)
    );
    let read = of(Some(1e9), None, 0);
    let seconds = read.pass_bytes as f64 / 1e9;
    assert_eq!(read.read_seconds, Some(seconds));
    assert_eq!(read.wait_seconds, None);
    let hidden = of(Some(1e9), Some(1e13), 0);
    assert!(hidden.copies_beside);
    assert!((10.0..20.0).contains(&hidden.compute_seconds.unwrap()));
    assert_eq!(hidden.wait_seconds, Some(0.0));
    assert_eq!(hidden.enough_ram_cache, None);
    let waits = of(Some(1e9), Some(1e14), 0);
    let wait = seconds - waits.compute_seconds.unwrap();
    assert!((waits.wait_seconds.unwrap() - wait).abs() < 1e-9);
    // What is advised is enough, and a block less is not.
    let enough = waits.enough_ram_cache.unwrap();
    let cached = of(Some(1e9), Some(1e14), enough);
    assert_eq!(cached.ram_cache_bytes, enough);
    assert_eq!(cached.wait_seconds, Some(0.0));
    let less = of(Some(1e9), Some(1e14), enough - 1);
    assert_eq!(less.ram_cache_bytes, enough - BLOCK);
    assert!(less.wait_seconds.unwrap() > 0.0);
    // No more than there is.
    let all = of(Some(1e9), None, u64::MAX);
    assert_eq!(all.ram_cache_bytes, all.pass_bytes);
    assert_eq!(all.read_seconds, Some(0.0));
}

#[test]
fn weights_of_modulations_never_stay_but_in_a_mapping() {
    let mut subject = in_blocks();
    let modulations = ModulationBytes {
        fp8: 60 * (108 << 20),
        dense: 0,
        slot: 108 << 20,
    };
    let denoise = |subject: &Subject, setting: Setting| {
        let plan = Plan::new(subject, work(1024, 1024), setting);
        *plan.phase(PhaseName::Denoise).unwrap()
    };
    let all = denoise(&subject, setting(80 * GIB));
    subject.transformer.blocks.modulations = modulations;
    let without = denoise(&subject, setting(80 * GIB));
    assert_eq!(all.fp8_bytes - without.fp8_bytes, modulations.fp8);
    assert_eq!(all.peak_bytes - without.peak_bytes, modulations.total());
    // A mapping takes no memory of its own.
    let mapped = Setting {
        place: Place::Processor,
        weights: loader::LoadMethod::InPlace,
        ..setting(80 * GIB)
    };
    assert_eq!(denoise(&subject, mapped).fp8_bytes, all.fp8_bytes);
}
