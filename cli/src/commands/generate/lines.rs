//! The lines about models and memory.

use backends::DeviceMemory;
use engine::bytes::format_bytes;
use engine::plan::Budget;
use engine::record::report::Streamed;
use loader::{Component, LoadReport};

use crate::console::printable;

/// The message while a model is loaded.
pub(super) fn load_message(component: Component, host_memory: bool) -> String {
    if host_memory {
        format!("Loading the {component}")
    } else {
        format!("Loading {component} to VRAM...")
    }
}

/// Writes `Loaded LoRA style: 720 targets, rank 64, weight 0.8, VRAM 810.00 MiB`.
pub(super) fn loaded_lora(
    name: &str,
    targets: usize,
    ranks: (usize, usize),
    weight: f64,
    memory: &str,
    bytes: u64,
) -> String {
    let rank = match ranks {
        (least, most) if least == most => format!("rank {most}"),
        (least, most) => format!("ranks {least} to {most}"),
    };
    let targets = match targets {
        1 => "1 target".to_owned(),
        count => format!("{count} targets"),
    };
    let (name, bytes) = (printable(name), format_bytes(bytes));
    format!("Loaded LoRA {name}: {targets}, {rank}, weight {weight}, {memory} {bytes}")
}

/// Writes `VRAM: 19.03 GiB / 27.01 GiB limit`.
pub(super) fn memory(label: &str, budget: Budget, memory: DeviceMemory) -> String {
    let (of, what) = match budget.limit {
        Some(limit) => (limit, "limit"),
        None => (memory.total, "total"),
    };
    format!(
        "{label}: {} / {} {what}",
        format_bytes(budget.held(memory)),
        format_bytes(of)
    )
}

/// Writes what `--verbose` adds about blocks that were streamed.
pub(super) fn streamed(component: Component, streamed: &Streamed, seconds: f64) -> String {
    let passes = match streamed.passes {
        1 => "1 pass".to_owned(),
        passes => format!("{passes} passes"),
    };
    let mut line = format!(
        "Streamed the {component}: {} in {passes}, {:.2} GB/s",
        format_bytes(streamed.bytes_read),
        streamed.bytes_read as f64 / 1e9 / seconds.max(1e-9)
    );
    if streamed.bytes_from_cache > 0 {
        let cached = format_bytes(streamed.bytes_from_cache);
        line.push_str(&format!(", {cached} from host memory"));
    }
    let each = streamed.stall_seconds / (streamed.passes as f64).max(1.0);
    line.push_str(&format!(
        ", waited {:.2} s ({each:.2} s a pass)",
        streamed.stall_seconds
    ));
    line
}

/// The figures of a load, for `--verbose`.
pub(super) fn figures(report: &LoadReport) -> String {
    // Of a mapping the bytes come later, as they are used.
    let mut line = match report.mapped_bytes {
        0 => format!(
            "{:.2} GB/s {}",
            report.bytes_per_second() / 1e9,
            report.way()
        ),
        mapped => format!("{} used in place in the file", format_bytes(mapped)),
    };
    let known = [
        (", peak host memory", report.peak_anonymous_bytes),
        (", device memory in use", report.device_used_after),
    ];
    for (name, bytes) in known {
        if let Some(bytes) = bytes {
            line.push_str(&format!("{name} {}", format_bytes(bytes)));
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use backends::DeviceMemory;
    use engine::plan::Budget;
    use loader::Component;

    use super::{load_message, memory};

    #[test]
    fn a_load_is_told_by_where_the_model_goes() {
        let message = |host| load_message(Component::Transformer, host);
        assert_eq!(message(false), "Loading transformer to VRAM...");
        assert_eq!(message(true), "Loading the transformer");
    }

    #[test]
    fn memory_is_told_beside_the_limit_or_the_total() {
        let mib = 1 << 20;
        let figures = DeviceMemory {
            free: 11_000 * mib,
            total: 32_000 * mib,
        };
        let budget = |limit| Budget {
            limit,
            used_before: 1_000 * mib,
        };
        assert_eq!(
            memory("VRAM", budget(Some(29_000_000_000)), figures),
            "VRAM: 19.53 GiB / 27.01 GiB limit"
        );
        assert_eq!(
            memory("Final VRAM", budget(None), figures),
            "Final VRAM: 19.53 GiB / 31.25 GiB total"
        );
    }
}
