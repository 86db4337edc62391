//! LoRAs beside the transformer's weights.

use backends::ModelBackend;
use engine::bytes::format_bytes;
use loader::{Lora, load_adapters};
use model::Transformer;

use super::run::Run;
use crate::error::CliError;

/// Loads the LoRAs, if there are any, and puts them beside the layers that they change.
///
/// # Errors
/// A file that cannot be read; a device without room; Ctrl-C.
pub(super) fn load<B: ModelBackend>(
    run: &mut Run<'_>,
    transformer: &mut Transformer<B>,
    device: &B::Device,
) -> Result<(), CliError> {
    let adapters = &run.job.models.adapters;
    if adapters.is_empty() {
        return Ok(());
    }
    let dtype = run.setting.dtype;
    let message = if B::HOST_MEMORY {
        "Loading LoRAs"
    } else {
        "Loading LoRAs to VRAM..."
    };
    let mut observer = run.progress.load(message);
    let (pairs, report) = load_adapters::<B>(adapters, dtype, device, &mut observer)?;
    drop(observer);
    for (name, pair) in pairs {
        // Whether the transformer has the layer was checked before anything was loaded.
        let layer = transformer.layer_mut(&name).ok_or_else(|| {
            CliError::internal(format!("the transformer has no linear layer {name}"))
        })?;
        layer.adapter = Some(pair);
    }
    let memory = if B::HOST_MEMORY { "memory" } else { "VRAM" };
    for (lora, weight) in adapters.loras() {
        let bytes = if *weight == 0.0 { 0 } else { lora.bytes(dtype) };
        let line = loaded_line(lora, *weight, &format!("{memory} {}", format_bytes(bytes)));
        run.job.console.note(&line);
    }
    run.loaded_adapters(&report);
    run.tell_memory::<B>("VRAM", device);
    Ok(())
}

/// As `Loaded LoRA style: 720 targets, rank 64, weight 0.8, VRAM 810.00 MiB`.
fn loaded_line(lora: &Lora, weight: f64, memory: &str) -> String {
    let rank = match lora.ranks() {
        (least, most) if least == most => format!("rank {most}"),
        (least, most) => format!("ranks {least} to {most}"),
    };
    let targets = match lora.targets() {
        1 => "1 target".to_owned(),
        count => format!("{count} targets"),
    };
    let name = crate::console::printable(&lora.name());
    format!("Loaded LoRA {name}: {targets}, {rank}, weight {weight}, {memory}")
}
