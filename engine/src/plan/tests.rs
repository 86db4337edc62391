//! Plans of the published models on devices of many sizes.

use backends::{Arithmetic, DeviceMemory};
use burn::tensor::FloatDType;
use loader::Footprint;
use model::vae::Tiling;
use model::{TextEncoderConfig, TransformerConfig, VaeConfig};

use super::blocks::Blocks;
use super::budget::Budget;
use super::phase::{PhaseName, PhasePlan, Verdict};
use super::remedy::Remedy;
use super::setting::{Place, Setting};
use super::subject::{AdapterSizes, Described, ModelBytes, Subject};
use super::work::Work;
use super::{Advice, Plan, Written};
use crate::request::{StreamChoice, VaeTiling};

mod advice;
mod streaming;

const GIB: u64 = 1 << 30;

/// The published models' sizes.
pub fn published() -> (TextEncoderConfig, TransformerConfig, VaeConfig) {
    let text_encoder = TextEncoderConfig::published();
    let transformer = TransformerConfig::published();
    let vae = VaeConfig::published();
    (text_encoder, transformer, vae)
}

fn fp8(bytes: u64) -> ModelBytes {
    let loaded = Footprint {
        fp8: bytes,
        ..Footprint::default()
    };
    ModelBytes {
        tensors: 1,
        file: bytes,
        loaded,
        as_fp8: loaded,
    }
}

/// FP8 models of about the published sizes.
fn subject() -> Subject {
    let (text_encoder, transformer, vae) = published();
    Subject {
        text_encoder: Described {
            config: text_encoder,
            bytes: fp8(8 * GIB),
            blocks: Blocks::default(),
            blocks_as_fp8: Blocks::default(),
        },
        transformer: Described {
            config: transformer,
            bytes: fp8(19 * GIB),
            blocks: Blocks::default(),
            blocks_as_fp8: Blocks::default(),
        },
        vae: Described {
            config: vae,
            bytes: fp8(GIB / 4),
            blocks: Blocks::default(),
            blocks_as_fp8: Blocks::default(),
        },
        vae_encoder: None,
        adapters: AdapterSizes::default(),
    }
}

/// The same with a dense transformer of twice the bytes.
fn dense_subject() -> Subject {
    let mut subject = subject();
    let bytes = &mut subject.transformer.bytes;
    bytes.loaded = Footprint {
        dense: 38 * GIB,
        ..Footprint::default()
    };
    subject
}

fn phase(plan: &Plan, name: PhaseName) -> &PhasePlan {
    plan.phase(name).expect("a phase")
}

fn work(width: u32, height: u32) -> Work {
    Work {
        width,
        height,
        encoder_tokens: 546,
        texts: 2,
        text_tokens: 512,
        guided: true,
        images: 1,
        timesteps: 8,
        decoder_tiling: None,
    }
}

fn setting(total: u64) -> Setting {
    Setting {
        place: Place::Device,
        encoder_place: Place::Device,
        device: Some(DeviceMemory { free: total, total }.into()),
        chosen: None,
        budget: Budget {
            limit: None,
            used_before: 0,
        },
        limit_name: "the limit",
        host_available: Some(GIB),
        dtype: FloatDType::BF16,
        vae_tiling: VaeTiling::Off,
        weights: loader::LoadMethod::InPlace,
        kernels: backends::KernelSet::Portable,
        arithmetic: Arithmetic::Exact,
        one_model: false,
        stream: StreamChoice::Off,
        ram_cache: 0,
        host_limit: None,
        read_rate: None,
        flops_per_second: None,
    }
}

fn remedies(plan: &Plan) -> Vec<Remedy> {
    plan.advice.iter().map(|advice| advice.remedy).collect()
}

fn sizes(plan: &Plan) -> Vec<(u32, u32)> {
    let sizes = plan.advice.iter().filter_map(|advice| match advice.remedy {
        Remedy::Size { width, height, .. } => Some((width, height)),
        _ => None,
    });
    sizes.collect()
}

/// A total that lies halfway between what an image of this size needs and what one of twice its
/// sides does.
fn total_for(width: u32, height: u32) -> u64 {
    let peak = |width, height| {
        let plan = Plan::new(&subject(), work(width, height), setting(1 << 50));
        plan.phases.iter().map(|phase| phase.peak_bytes).max()
    };
    (peak(width, height).unwrap_or(0) + peak(2 * width, 2 * height).unwrap_or(0)) / 2
}

#[test]
fn a_large_device_takes_everything_and_needs_no_advice() {
    let plan = Plan::new(&subject(), work(1328, 1328), setting(80 * GIB));
    assert!(plan.fits && plan.advice.is_empty());
    assert!(plan.check().is_ok());
    for phase in &plan.phases {
        assert_eq!(phase.verdict, Verdict::Fits);
        let weights = phase.fp8_bytes + phase.other_bytes;
        assert_eq!(phase.peak_bytes, weights + phase.working_bytes);
    }
}

#[test]
fn the_decoder_stays_beside_the_transformer_where_both_have_room() {
    let plan = |total| Plan::new(&subject(), work(1024, 1024), setting(total));
    let ample = plan(80 * GIB);
    let peak = |name| ample.phase(name).unwrap().peak_bytes;
    let both = peak(PhaseName::Denoise) + peak(PhaseName::Decode);
    assert!(plan(both).decodes_beside());
    let less = plan(both - 1);
    assert!(less.fits && !less.decodes_beside());
    // What is not known is not there.
    let unknown = Setting {
        device: None,
        ..setting(0)
    };
    assert!(!Plan::new(&subject(), work(1024, 1024), unknown).decodes_beside());
    // On the processor weights that lie in their files take nothing, and others do.
    let processor = Setting {
        place: Place::Processor,
        encoder_place: Place::Processor,
        kernels: backends::KernelSet::Processor,
        dtype: FloatDType::F32,
        ..setting(GIB)
    };
    assert!(Plan::new(&subject(), work(64, 64), processor).decodes_beside());
    let read = Setting {
        weights: loader::LoadMethod::Read,
        ..processor
    };
    assert!(!Plan::new(&subject(), work(64, 64), read).decodes_beside());
}

#[test]
fn tiles_let_the_decoder_stay_where_the_whole_image_would_not() {
    let several = Work {
        images: 2,
        ..work(1328, 1328)
    };
    let plan = |work, total| {
        let setting = Setting {
            vae_tiling: VaeTiling::Auto,
            ..setting(total)
        };
        Plan::new(&subject(), work, setting)
    };
    let decode = |plan: &Plan| *phase(plan, PhaseName::Decode);
    let ample = plan(several, 80 * GIB);
    assert_eq!(decode(&ample).tiling, Tiling::Whole);
    let denoise = phase(&ample, PhaseName::Denoise).peak_bytes;
    let total = denoise + decode(&ample).peak_bytes - 1;
    let tiled = plan(several, total);
    assert!(matches!(decode(&tiled).tiling, Tiling::Tiles { .. }));
    assert!(tiled.decodes_beside());
    assert_eq!(tiled.images_written, Written::AsTheyAreMade);
    // One image waits for nobody, and is decoded as well as can be.
    assert_eq!(decode(&plan(work(1328, 1328), total)).tiling, Tiling::Whole);
    // Where even tiles do not fit, images wait, and are decoded as well as can be.
    let waits = plan(several, denoise);
    assert!(waits.fits && !waits.decodes_beside());
    assert_eq!(decode(&waits).tiling, Tiling::Whole);
    assert_eq!(waits.images_written, Written::AtTheEnd);
    // What was settled stays, whatever is free later.
    let settled = Work {
        decoder_tiling: Some(decode(&tiled).tiling),
        ..several
    };
    assert_eq!(
        decode(&plan(settled, 80 * GIB)).tiling,
        decode(&tiled).tiling
    );
}

#[test]
fn without_the_encoder_the_later_phases_are_enough() {
    let peak = |name| {
        let ample = Plan::new(&dense_encoder(), work(256, 256), setting(200 * GIB));
        ample.phase(name).unwrap().peak_bytes
    };
    let total = peak(PhaseName::Denoise).max(peak(PhaseName::Decode));
    assert!(total < peak(PhaseName::Encode));
    let plan = Plan::new(&dense_encoder(), work(256, 256), setting(total));
    assert!(plan.check().is_err());
    assert!(plan.check_from(PhaseName::Denoise).is_ok());
}

/// A text encoder that is larger than all else.
fn dense_encoder() -> Subject {
    let mut subject = subject();
    subject.text_encoder.bytes.loaded.dense = 100 * GIB;
    subject
}

#[test]
fn a_peak_of_all_there_is_fits_and_one_byte_less_does_not() {
    let ample = Plan::new(&subject(), work(1024, 1024), setting(80 * GIB));
    let peak = phase(&ample, PhaseName::Denoise).peak_bytes;
    let fits = |total| Plan::new(&subject(), work(1024, 1024), setting(total)).fits;
    assert!(fits(peak) && !fits(peak - 1));
}

#[test]
fn loras_take_memory_beside_the_transformer_alone() {
    let with = Subject {
        adapters: AdapterSizes {
            tensors: 1440,
            file: GIB,
            elements: GIB / 2,
            rank: 64,
        },
        ..subject()
    };
    let plan = |subject| Plan::new(subject, work(1024, 1024), setting(80 * GIB));
    let (plain, adapted) = (plan(&subject()), plan(&with));
    for name in [PhaseName::Encode, PhaseName::Decode] {
        let peak = |plan: &Plan| plan.phase(name).map(|phase| phase.peak_bytes);
        assert_eq!(peak(&plain), peak(&adapted));
    }
    let [plain, with] = [&plain, &adapted].map(|plan| *plan.phase(PhaseName::Denoise).unwrap());
    assert_eq!(with.tensors, plain.tensors + 1440);
    assert_eq!(with.file_bytes, plain.file_bytes + GIB);
    // bf16.
    assert_eq!(with.adapter_bytes, GIB);
    assert_eq!(with.other_bytes, plain.other_bytes + GIB);
    // Attention's scores, which these kernels hold, may be more than any linear layer takes.
    assert!(with.working_bytes >= plain.working_bytes);
    assert_eq!(
        with.peak_bytes - plain.peak_bytes,
        GIB + with.working_bytes - plain.working_bytes
    );
}

#[test]
fn a_limit_binds_where_the_driver_tells_nothing_and_without_one_nothing_is_known() {
    let of = |limit| {
        let setting = Setting {
            device: None,
            budget: Budget {
                limit,
                used_before: 0,
            },
            ..setting(0)
        };
        Plan::new(&subject(), work(1024, 1024), setting)
    };
    assert!(of(Some(80 * GIB)).fits && !of(Some(10 * GIB)).fits);
    let limits = |advice: &Advice| matches!(advice.remedy, Remedy::Limit { .. });
    assert!(of(Some(10 * GIB)).advice.iter().any(limits));
    let plan = of(None);
    assert!(plan.fits);
    let unknown = |phase: &super::PhasePlan| phase.verdict == Verdict::Unknown;
    assert!(plan.phases.iter().all(unknown));
}

#[test]
fn an_encoder_on_the_processor_computes_in_its_numbers() {
    let split = Setting {
        encoder_place: Place::Processor,
        ..setting(80 * GIB)
    };
    let working = |setting, name| {
        let plan = Plan::new(&subject(), work(1024, 1024), setting);
        phase(&plan, name).working_bytes
    };
    let device = setting(80 * GIB);
    let processor = Setting {
        place: Place::Processor,
        dtype: FloatDType::F32,
        ..split
    };
    let encode = PhaseName::Encode;
    assert_eq!(working(split, encode), working(processor, encode));
    assert_ne!(working(split, encode), working(device, encode));
    let denoise = PhaseName::Denoise;
    assert_eq!(working(split, denoise), working(device, denoise));
}
