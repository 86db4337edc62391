//! Plans of the published models, as they are printed.

use backends::{Arithmetic, BackendKind, DeviceMemory, KernelSet};
use burn::tensor::FloatDType;
use engine::plan::{
    AdapterSizes, Blocks, Budget, Described, ModelBytes, Place, Plan, Setting, Subject, Work,
};
use engine::request::{StreamChoice, VaeTiling};
use loader::Footprint;
use model::{TextEncoderConfig, TransformerConfig, VaeConfig};

use super::table;
use crate::error::CliError;

const GIB: u64 = 1 << 30;

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
    Subject {
        text_encoder: Described {
            config: TextEncoderConfig::published(),
            bytes: fp8(8 * GIB),
            blocks: Blocks::default(),
            blocks_as_fp8: Blocks::default(),
        },
        transformer: Described {
            config: TransformerConfig::published(),
            bytes: fp8(19 * GIB),
            blocks: Blocks::default(),
            blocks_as_fp8: Blocks::default(),
        },
        vae: Described {
            config: VaeConfig::published(),
            bytes: fp8(GIB / 4),
            blocks: Blocks::default(),
            blocks_as_fp8: Blocks::default(),
        },
        vae_encoder: None,
        adapters: AdapterSizes::default(),
    }
}

fn work(width: u32, height: u32, images: usize) -> Work {
    Work {
        width,
        height,
        encoder_tokens: 546,
        texts: 2,
        text_tokens: 512,
        guided: true,
        images,
        timesteps: 8,
        decoder_tiling: None,
    }
}

fn setting(total: u64, limit: Option<u64>) -> Setting {
    Setting {
        place: Place::Device,
        encoder_place: Place::Device,
        device: Some(DeviceMemory { free: total, total }.into()),
        chosen: None,
        budget: Budget {
            limit,
            used_before: 0,
        },
        limit_name: "--vram-limit",
        host_available: Some(GIB),
        dtype: FloatDType::BF16,
        vae_tiling: VaeTiling::Auto,
        weights: loader::LoadMethod::InPlace,
        kernels: KernelSet::Portable,
        arithmetic: Arithmetic::Exact,
        one_model: false,
        stream: StreamChoice::Off,
        ram_cache: 0,
        host_limit: None,
        read_rate: None,
        flops_per_second: None,
    }
}

#[test]
fn the_table_tells_when_images_are_written() {
    let printed = |total| {
        table(&Plan::new(
            &subject(),
            work(1328, 1328, 2),
            setting(total, None),
        ))
    };
    assert!(printed(80 * GIB).contains("each image is written as it is made"));
    let denoise = Plan::new(&subject(), work(1328, 1328, 2), setting(80 * GIB, None)).phases[1];
    assert!(printed(denoise.peak_bytes).contains("written at the end"));
}

#[test]
fn the_table_tells_of_loras_and_of_tiles() {
    let subject = Subject {
        vae_encoder: Some(fp8(GIB / 4)),
        text_encoder: Described {
            config: TextEncoderConfig::published(),
            bytes: fp8(GIB),
            blocks: Blocks::default(),
            blocks_as_fp8: Blocks::default(),
        },
        transformer: Described {
            config: TransformerConfig::published(),
            bytes: fp8(GIB),
            blocks: Blocks::default(),
            blocks_as_fp8: Blocks::default(),
        },
        adapters: AdapterSizes {
            tensors: 1440,
            file: GIB,
            elements: GIB / 2,
            rank: 64,
        },
        ..subject()
    };
    let plan = |total| Plan::new(&subject, work(1024, 1024, 1), setting(total, None));
    let ample = plan(80 * GIB);
    assert!(table(&ample).contains("1.00 GiB are LoRAs"));
    let tiled = table(&plan(ample.phases[1].peak_bytes - 1));
    assert!(
        tiled.contains("The init image is encoded in tiles of"),
        "{tiled}"
    );
}

#[test]
fn what_would_help_is_told_with_its_flag() {
    let refused = |width, height, setting| {
        let plan = Plan::new(&subject(), work(width, height, 1), setting);
        let error = CliError::from(plan.check().unwrap_err());
        (error.to_string(), table(&plan))
    };
    let (error, _) = refused(4096, 2048, setting(24 * GIB, None));
    assert!(error.contains("make the image smaller: -W "), "{error}");
    let (error, _) = refused(1024, 1024, setting(48 * GIB, Some(16 * GIB)));
    assert!(error.contains("raise the limit: --vram-limit "), "{error}");
    let (error, printed) = refused(1024, 1024, setting(6 * GIB, None));
    assert!(printed.contains("nothing makes"), "{printed}");
    assert!(!printed.contains("would fit"), "{printed}");
    let flex = BackendKind::Flex.compiled_in();
    assert_eq!(printed.contains("--backend flex"), flex, "{printed}");
    assert!(error.contains("it takes a device with"), "{error}");
    assert!(!error.contains("--text-encoder-on-cpu"), "{error}");
}
