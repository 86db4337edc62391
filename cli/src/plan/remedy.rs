//! Remedies that would make a plan fit, as flags.

use backends::BackendKind;
use engine::bytes::{format_bytes, limit_for};
use engine::plan::Remedy;

/// Writes what to do, with the flag that does it.
pub(crate) fn remedy(remedy: &Remedy) -> String {
    match remedy {
        Remedy::Stream => "stream the blocks that do not fit with --stream auto".to_owned(),
        Remedy::TextEncoderOnCpu => {
            "run the text encoder on the processor with --text-encoder-on-cpu".to_owned()
        }
        Remedy::VaeTiling => "let the VAE work in tiles with --vae-tiling on".to_owned(),
        Remedy::Size {
            width,
            height,
            shape,
        } => format!(
            "make the image smaller: -W {width} -H {height} is the largest {shape} that fits"
        ),
        Remedy::Fp8CheckpointAndSize {
            weight_bytes,
            model,
            instead_of,
            width,
            height,
            shape,
        } => {
            let file = Remedy::Fp8Checkpoint {
                weight_bytes: *weight_bytes,
                model: *model,
                instead_of: *instead_of,
            };
            let size = Remedy::Size {
                width: *width,
                height: *height,
                shape: *shape,
            };
            format!("{file}, and {}", self::remedy(&size))
        }
        Remedy::Limit { bytes } => {
            let (written, _) = limit_for(*bytes);
            format!("raise the limit: --vram-limit {written} is enough")
        }
        Remedy::Fp8Checkpoint { .. } | Remedy::FreeDevice { .. } => remedy.to_string(),
    }
}

/// Writes remedies one after the other, or where the work can be done if there is none.
pub(crate) fn remedies(remedies: &[Remedy], peak: u64) -> String {
    if remedies.is_empty() {
        return other_device(peak);
    }
    let words: Vec<String> = remedies.iter().map(remedy).collect();
    words.join("; or ")
}

/// Writes where work can be done that takes so many bytes of device memory.
pub(crate) fn other_device(peak: u64) -> String {
    let peak = format_bytes(peak);
    let processor = if BackendKind::Flex.compiled_in() {
        ", or --backend flex, which computes on the processor and is slow"
    } else {
        ""
    };
    format!("it takes a device with {peak} free{processor}")
}
