//! LoRAs beside the transformer's weights.

use backends::ModelBackend;
use loader::load_adapters;
use model::Transformer;

use super::load::Loading;
use super::run::Run;
use crate::error::Error;
use crate::events::{Activity, Event, MemoryWhen};
use crate::models::adapters::attach;

/// Loads the LoRAs, if there are any, and puts them beside the layers that they change.
///
/// # Errors
/// A file that cannot be read; a device without room; [`Error::Interrupted`].
pub(super) fn load<B: ModelBackend>(
    run: &mut Run<'_>,
    transformer: &mut Transformer<B>,
    device: &B::Device,
) -> Result<(), Error> {
    let adapters = &run.session.models.adapters;
    if adapters.is_empty() {
        return Ok(());
    }
    let dtype = run.setting.dtype;
    let host_memory = B::HOST_MEMORY;
    run.observer
        .event(Event::Begin(Activity::LoadLoras { host_memory }));
    let mut loading = Loading {
        observer: &mut *run.observer,
        cancel: run.cancel,
    };
    let (pairs, report) = load_adapters::<B>(adapters, dtype, device, &mut loading)?;
    run.observer.event(Event::End);
    attach(transformer, pairs)?;
    for (lora, weight) in adapters.loras() {
        run.observer.event(Event::LoadedLora {
            name: lora.name(),
            targets: lora.targets(),
            ranks: lora.ranks(),
            weight: *weight,
            bytes: if *weight == 0.0 { 0 } else { lora.bytes(dtype) },
            host_memory,
        });
    }
    run.loaded_adapters(&report);
    run.tell_memory::<B>(MemoryWhen::Loaded, device);
    Ok(())
}
