//! The plan as text.

use std::fmt::Write as _;

use engine::bytes::format_bytes;
use engine::plan::{
    Chosen, PhaseName, PhasePlan, Place, Plan, RUNTIME_ALLOWANCE, Setting, Verdict, Work, Written,
};
use loader::LoadMethod;
use model::vae::Tiling;

use super::remedy::{other_device, remedy};
use super::streaming::streaming;

/// Columns, and whether their values are figures, which stand to the right.
const COLUMNS: [(&str, bool); 9] = [
    ("phase", false),
    ("model", false),
    ("tensors", true),
    ("file", true),
    ("FP8 weights", true),
    ("other weights", true),
    ("working", true),
    ("peak", true),
    ("verdict", false),
];

/// Lines about the work and the memory, a row a phase, and what would help.
pub(crate) fn table(plan: &Plan) -> String {
    let mut text = String::new();
    heading(&mut text, &plan.work);
    memory(&mut text, &plan.setting);
    text.push('\n');
    rows(&mut text, &plan.phases);
    text.push('\n');
    notes(&mut text, plan);
    let all = |verdict| plan.phases.iter().all(|phase| phase.verdict == verdict);
    let any = |verdict| plan.phases.iter().any(|phase| phase.verdict == verdict);
    let peak = plan.device_peak();
    let too_large = format!(
        "It does not fit: it takes {} of device memory.",
        format_bytes(peak)
    );
    let verdict = if !plan.fits {
        &too_large
    } else if any(Verdict::OverHostMemory) {
        "The processor's part takes more memory than there is now."
    } else if plan.phases.iter().any(|phase| phase.streaming.is_some()) {
        "It fits: what does not stay in memory is read as it is needed."
    } else if any(Verdict::Unknown) {
        "Nothing tells how much memory the device has."
    } else if all(Verdict::Fits) && plan.setting.place == Place::Processor {
        match plan.setting.weights {
            LoadMethod::InPlace => "It fits: weights are read from their files as they are used.",
            LoadMethod::Read => "It fits, with the weights read into memory.",
        }
    } else {
        "It fits."
    };
    line(&mut text, verdict);
    for advice in plan.helpful() {
        let phases: Vec<&str> = advice.phases.iter().map(|phase| phase.as_str()).collect();
        line(
            &mut text,
            &format!(
                "  {} would fit: {}",
                phases.join(" and "),
                remedy(&advice.remedy)
            ),
        );
    }
    if !plan.beyond_help.is_empty() {
        let phases: Vec<&str> = plan.beyond_help.iter().map(|name| name.as_str()).collect();
        let phases = phases.join(" and ");
        line(
            &mut text,
            &format!(
                "  nothing makes {phases} fit: {}",
                other_device(plan.device_peak())
            ),
        );
    }
    text
}

fn line(text: &mut String, line: &str) {
    text.push_str(line);
    text.push('\n');
}

fn heading(text: &mut String, work: &Work) {
    let predictions = if work.guided {
        "two predictions a step, made together"
    } else {
        "one prediction a step"
    };
    line(
        text,
        &format!(
            "Image: {}x{}, {} image and {} text tokens, {predictions}",
            work.width,
            work.height,
            work.image_tokens(),
            work.text_tokens
        ),
    );
    if work.images > 1 {
        line(
            text,
            &format!(
                "Images: {}, made one after the other, so that they take the memory of one",
                work.images
            ),
        );
    }
}

fn memory(text: &mut String, setting: &Setting) {
    if let Some(Chosen { backend, index }) = setting.chosen {
        line(text, &format!("Device: {backend} {index}"));
    }
    match (setting.place, setting.device) {
        (Place::Processor, _) => {}
        (Place::Device, None) => line(text, "Device memory: its driver does not tell"),
        (Place::Device, Some(memory)) if setting.chosen.is_none() => line(
            text,
            &format!(
                "Device memory: {} assumed, of which {} are for the driver's context and kernels",
                format_bytes(memory.total),
                format_bytes(RUNTIME_ALLOWANCE.min(memory.total))
            ),
        ),
        (Place::Device, Some(memory)) => line(
            text,
            &format!(
                "Device memory: {} free of {}",
                format_bytes(memory.free),
                format_bytes(memory.total)
            ),
        ),
    }
    if setting.place == Place::Device {
        let limit = setting.budget.limit.map_or_else(
            || "none".to_owned(),
            |limit| format!("{} ({})", format_bytes(limit), setting.limit_name),
        );
        line(text, &format!("Limit: {limit}"));
        if let Some(available) = setting.available(Place::Device) {
            line(text, &format!("May be used: {}", format_bytes(available)));
        }
    }
    if setting.place == Place::Processor || setting.encoder_place == Place::Processor {
        let available = setting.host_available.map_or_else(
            || "not known".to_owned(),
            |available| format!("{} available", format_bytes(available)),
        );
        line(text, &format!("Host memory: {available}"));
    }
}

fn rows(text: &mut String, phases: &[PhasePlan]) {
    let mut cells = vec![COLUMNS.map(|(name, _)| name.to_owned())];
    cells.extend(phases.iter().map(row));
    let widths: Vec<usize> = (0..COLUMNS.len())
        .map(|column| cells.iter().map(|row| row[column].len()).max().unwrap_or(0))
        .collect();
    for row in &cells {
        let mut written = String::new();
        for ((cell, &width), (_, figure)) in row.iter().zip(&widths).zip(COLUMNS) {
            let _ = if figure {
                write!(written, "{cell:>width$}  ")
            } else {
                write!(written, "{cell:<width$}  ")
            };
        }
        line(text, written.trim_end());
    }
}

fn row(phase: &PhasePlan) -> [String; COLUMNS.len()] {
    [
        phase.phase.as_str().to_owned(),
        phase.model.to_string(),
        phase.tensors.to_string(),
        format_bytes(phase.file_bytes),
        format_bytes(phase.fp8_bytes),
        format_bytes(phase.other_bytes),
        format_bytes(phase.working_bytes),
        format_bytes(phase.peak_bytes),
        verdict(phase),
    ]
}

fn verdict(phase: &PhasePlan) -> String {
    let over = phase
        .available_bytes
        .map_or(0, |available| phase.peak_bytes.saturating_sub(available));
    match (phase.verdict, phase.place) {
        (Verdict::Fits, _) if phase.streaming.is_some() => "fits, streamed".to_owned(),
        (Verdict::Fits, Place::Processor) => "fits on the processor".to_owned(),
        (Verdict::Fits, Place::Device) => "fits".to_owned(),
        (Verdict::TooLarge, _) => format!("does not fit: {} too much", format_bytes(over)),
        (Verdict::OverHostMemory, _) => {
            format!("{} more than is available", format_bytes(over))
        }
        (Verdict::Unknown, _) => "not known".to_owned(),
    }
}

fn notes(text: &mut String, plan: &Plan) {
    let mapped: u64 = plan.phases.iter().map(|phase| phase.mapped_bytes).sum();
    if mapped > 0 {
        line(
            text,
            &format!(
                "On the processor {} of weights stay in the files' mappings, which the system can \
                 drop and read again; the peak is without them.",
                format_bytes(mapped)
            ),
        );
    }
    let denoise = plan.phase(PhaseName::Denoise);
    let once = denoise.map_or(0, |phase| phase.read_once_bytes);
    if once > 0 {
        line(
            text,
            &format!(
                "{} of the transformer's weights depend on the timestep alone: they are read once, \
                 before the first step, and do not stay in memory.",
                format_bytes(once)
            ),
        );
    }
    let adapters = denoise.map_or(0, |phase| phase.adapter_bytes);
    if adapters > 0 {
        line(
            text,
            &format!(
                "Of the transformer's other weights, {} are LoRAs.",
                format_bytes(adapters)
            ),
        );
    }
    for told in plan.phases.iter().flat_map(|phase| streaming(plan, phase)) {
        line(text, &told);
    }
    for (name, done) in [
        (PhaseName::EncodeImage, "init image is encoded"),
        (PhaseName::Decode, "image is decoded"),
    ] {
        let tiling = plan.phase(name).map(|phase| phase.tiling);
        if let Some(Tiling::Tiles { side }) = tiling {
            line(text, &format!("The {done} in tiles of {side} pixels."));
        }
    }
    line(
        text,
        match plan.images_written {
            Written::AsTheyAreMade => {
                "The VAE stays beside the transformer, so that each image is written as it is \
                 made. Working memory is an estimate."
            }
            Written::AtTheEnd if plan.work.images > 1 => {
                "One model is in memory at a time: images are written at the end, and until then \
                 their latents wait on disk, for the next run if this one is killed. Working \
                 memory is an estimate."
            }
            Written::AtTheEnd => "One model is in memory at a time. Working memory is an estimate.",
        },
    );
}
