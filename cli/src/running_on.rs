//! Says which device `auto` has taken, and why not a GPU that seems to be there.

use backends::device::MissedGpu;
use backends::{BackendKind, GpuSign, Selection};

use crate::hints;

/// The device of a choice, as the end of a sentence; and, where a GPU seems to be there and is not
/// used, what speaks for it and why not.
pub(crate) fn words(selection: &Selection, signs: Vec<GpuSign>) -> String {
    let device = &selection.device;
    let named = match device.kind {
        BackendKind::Flex => format!("the {}", selection.name),
        kind => format!("{kind} {}, {}", device.index, selection.name),
    };
    let missed = selection.missed(signs);
    if !missed.is_empty() {
        let missed: Vec<String> = missed.iter().map(one).collect();
        return format!("{named}, {}", missed.join("; "));
    }
    if device.kind == BackendKind::Flex && !selection.passed_over.is_empty() {
        return format!("{named}: no GPU was found");
    }
    named
}

fn one(MissedGpu { sign, reason }: &MissedGpu) -> String {
    format!(
        "not on the {} that seems to be here ({}): {}",
        sign.vendor,
        sign.what,
        hints::device(reason)
    )
}
