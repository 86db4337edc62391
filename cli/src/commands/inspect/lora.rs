//! The description of a LoRA, as text.

use std::fmt::Write as _;

use engine::bytes::format_bytes;
use loader::lora::LoraSummary;

use super::line;
use crate::console;

/// Writes it down.
pub(super) fn text(text: &mut String, summary: &LoraSummary) {
    let _ = writeln!(text, "{}", console::printable(&summary.source));
    line(text, "component", "LoRA for the transformer");
    line(
        text,
        "tensors",
        &format!(
            "{} tensors, {}",
            summary.tensors,
            format_bytes(summary.bytes)
        ),
    );
    for (dtype, share) in &summary.dtypes {
        let value = format!("{} tensors, {}", share.tensors, format_bytes(share.bytes));
        line(text, &format!("  {dtype}"), &value);
    }
    line(text, "targets", &summary.targets.to_string());
    for (layer, count) in &summary.layers {
        let _ = writeln!(text, "    {layer:<43} {count}");
    }
    let ranks = summary.ranks.iter();
    let ranks: Vec<String> = match summary.ranks.len() {
        1 => ranks.map(|(rank, _)| rank.to_string()).collect(),
        _ => ranks
            .map(|(rank, count)| format!("{rank} ({count} targets)"))
            .collect(),
    };
    line(text, "rank", &ranks.join(", "));
    let alpha = match summary.alpha {
        None => "none".to_owned(),
        Some(alpha) if alpha.layers == summary.targets => range([alpha.least, alpha.most]),
        Some(alpha) => format!(
            "{} ({} targets)",
            range([alpha.least, alpha.most]),
            alpha.layers
        ),
    };
    line(text, "alpha", &alpha);
    line(text, "scale", &range(summary.scale));
    for note in &summary.notes {
        line(text, "note", note);
    }
}

/// One number, or the smallest and the largest.
fn range([least, most]: [f64; 2]) -> String {
    if least == most {
        least.to_string()
    } else {
        format!("{least} to {most}")
    }
}
