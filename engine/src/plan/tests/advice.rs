//! The advice where something does not fit.

use super::*;

#[test]
fn the_largest_sizes_fit_and_the_next_ones_do_not() {
    let total = total_for(1024, 512);
    let plan = Plan::new(&subject(), work(2048, 1024), setting(total));
    let error = plan.check().map_err(|error| error.to_string());
    let error = error.err().unwrap_or_default();
    let found = sizes(&plan);
    assert_eq!(found.len(), 2, "{error}");
    assert!(found[0].0 == found[0].1 && found[1].0 / 32 * 16 == found[1].1);
    for (&(width, height), square) in found.iter().zip([true, false]) {
        assert!(
            error.contains(&format!("{width}x{height} is the largest")),
            "{error}"
        );
        let at = |more| {
            let width = width + more;
            let height = if square { width } else { width / 32 * 16 };
            Plan::new(&subject(), work(width, height), setting(total)).fits
        };
        assert!(at(0) && !at(16), "{width}x{height}");
    }
}

#[test]
fn no_size_is_advised_where_the_weights_alone_are_too_large() {
    let plan = Plan::new(&subject(), work(1024, 1024), setting(12 * GIB));
    assert!(!plan.fits);
    assert_eq!(remedies(&plan), []);
    let error = plan.check().err().map(|error| error.to_string());
    let error = error.unwrap_or_default();
    assert!(error.contains("transformer"), "{error}");
    let peak = crate::bytes::format_bytes(phase(&plan, PhaseName::Denoise).peak_bytes);
    assert!(
        error.contains(&format!("device with {peak} free")),
        "{error}"
    );
}

#[test]
fn what_helps_one_phase_is_not_advised_where_nothing_helps_another() {
    // The text encoder alone could go to the processor.
    let plan = Plan::new(&subject(), work(1024, 1024), setting(6 * GIB));
    assert!(phase(&plan, PhaseName::Encode).too_large());
    assert_eq!(plan.beyond_help.last(), Some(&PhaseName::Denoise));
    assert!(plan.helpful().is_empty());
    let error = plan.check().err().map(|error| error.to_string());
    let error = error.unwrap_or_default();
    assert!(error.contains("it takes a device with"), "{error}");
    assert!(!error.contains("on the processor"), "{error}");
}

#[test]
fn a_text_encoder_that_does_not_fit_can_go_to_the_processor() {
    let mut subject = subject();
    subject.transformer.bytes = fp8(GIB);
    let plan = Plan::new(&subject, work(512, 512), setting(7 * GIB));
    let encode = |advice: &Advice| advice.phases == [PhaseName::Encode];
    assert!(plan.advice.iter().all(encode), "{:?}", plan.advice);
    let offered = remedies(&plan).contains(&Remedy::TextEncoderOnCpu);
    assert_eq!(offered, backends::BackendKind::Flex.compiled_in());
    let split = Setting {
        encoder_place: Place::Processor,
        host_available: Some(0),
        ..setting(7 * GIB)
    };
    let plan = Plan::new(&subject, work(512, 512), split);
    assert!(plan.fits);
    // Less host memory than that is told and is no refusal: weights are mapped.
    let encode = phase(&plan, PhaseName::Encode);
    assert_eq!(encode.verdict, Verdict::OverHostMemory);
    assert_eq!(encode.mapped_bytes, 8 * GIB);
    assert_eq!(encode.peak_bytes, encode.working_bytes);
}

#[test]
fn dense_files_are_to_be_replaced_only_where_that_is_enough() {
    let of = |total| Plan::new(&dense_subject(), work(1024, 1024), setting(total));
    let fp8 = Remedy::Fp8Checkpoint {
        weight_bytes: 19 * GIB,
        model: loader::Component::Transformer,
        instead_of: 38 * GIB,
    };
    assert!(remedies(&of(24 * GIB)).contains(&fp8));
    assert!(!remedies(&of(18 * GIB)).contains(&fp8));
    assert!(of(80 * GIB).fits);
}

#[test]
fn a_dense_file_and_a_large_image_are_told_of_both() {
    let total = total_for(1024, 1024);
    let plan = Plan::new(&dense_subject(), work(4096, 4096), setting(total));
    let (width, height) = plan
        .advice
        .iter()
        .find_map(|advice| match advice.remedy {
            Remedy::Fp8CheckpointAndSize { width, height, .. }
                if advice.phases.contains(&PhaseName::Denoise) =>
            {
                Some((width, height))
            }
            _ => None,
        })
        .unwrap_or_default();
    assert!(width >= 1024, "{:?}", plan.advice);
    let fits = |width, height| Plan::new(&subject(), work(width, height), setting(total)).fits;
    assert!(fits(width, height) && !fits(width + 16, height + 16));
}

#[test]
fn tiles_are_advised_where_they_help_and_taken_where_they_may_be() {
    let mut subject = subject();
    subject.text_encoder.bytes = fp8(GIB);
    subject.transformer.bytes = fp8(GIB);
    // Enough for the transformer at this size, but not for the whole image's decoder.
    let ample = Plan::new(&subject, work(1024, 1024), setting(80 * GIB));
    let total = phase(&ample, PhaseName::Decode).peak_bytes - 1;
    let plan = Plan::new(&subject, work(1024, 1024), setting(total));
    assert!(remedies(&plan).contains(&Remedy::VaeTiling));
    let auto = Setting {
        vae_tiling: VaeTiling::Auto,
        ..setting(total)
    };
    let plan = Plan::new(&subject, work(1024, 1024), auto);
    assert!(plan.fits && phase(&plan, PhaseName::Decode).tiling != Tiling::Whole);
}

#[test]
fn an_image_to_start_from_is_a_phase_that_tiles_like_decoding() {
    let mut subject = subject();
    subject.text_encoder.bytes = fp8(GIB);
    subject.transformer.bytes = fp8(GIB);
    subject.vae_encoder = Some(fp8(GIB / 4));
    let ample = Plan::new(&subject, work(1024, 1024), setting(80 * GIB));
    let names: Vec<PhaseName> = ample.phases.iter().map(|phase| phase.phase).collect();
    assert_eq!(names, PhaseName::ALL);
    let encode = phase(&ample, PhaseName::EncodeImage);
    assert_eq!(encode.tiling, Tiling::Whole);
    let total = encode.peak_bytes - 1;
    let whole = Plan::new(&subject, work(1024, 1024), setting(total));
    assert!(phase(&whole, PhaseName::EncodeImage).too_large());
    assert!(whole.check_phase(PhaseName::EncodeImage).is_err());
    let auto = Setting {
        vae_tiling: VaeTiling::Auto,
        ..setting(total)
    };
    let tiled = Plan::new(&subject, work(1024, 1024), auto);
    let encode = phase(&tiled, PhaseName::EncodeImage);
    assert!(!encode.too_large() && encode.tiling != Tiling::Whole);
    // Without one there is no such phase, and nothing to refuse.
    subject.vae_encoder = None;
    let without = Plan::new(&subject, work(1024, 1024), setting(total));
    assert!(without.phase(PhaseName::EncodeImage).is_none());
    assert!(without.check_phase(PhaseName::EncodeImage).is_ok());
}

#[test]
fn a_limit_that_is_too_low_is_told_with_the_one_that_is_enough() {
    let limited = |limit, free| Setting {
        device: Some(
            DeviceMemory {
                free,
                total: 48 * GIB,
            }
            .into(),
        ),
        budget: Budget {
            limit: Some(limit),
            used_before: 0,
        },
        ..setting(0)
    };
    // This process holds 1 GiB, which counts.
    let plan = Plan::new(&subject(), work(1024, 1024), limited(16 * GIB, 47 * GIB));
    let enough = plan.advice.iter().find_map(|advice| match advice.remedy {
        Remedy::Limit { bytes } => Some(bytes),
        _ => None,
    });
    let enough = enough.unwrap_or(0);
    assert!(enough > 20 * GIB, "{:?}", plan.advice);
    let fits = |limit| Plan::new(&subject(), work(1024, 1024), limited(limit, 47 * GIB)).fits;
    assert!(fits(enough) && !fits(enough - GIB / 50));
    // A larger limit is no help where the device has no more.
    let plan = Plan::new(&subject(), work(1024, 1024), limited(8 * GIB, 10 * GIB));
    let limits = |advice: &Advice| matches!(advice.remedy, Remedy::Limit { .. });
    assert!(!plan.advice.iter().any(limits), "{:?}", plan.advice);
}

#[test]
fn other_programs_are_named_where_they_are_what_is_in_the_way() {
    let of = |total| {
        let setting = Setting {
            device: Some(
                DeviceMemory {
                    free: total - 10 * GIB,
                    total,
                }
                .into(),
            ),
            budget: Budget {
                limit: None,
                used_before: 10 * GIB,
            },
            ..setting(0)
        };
        Plan::new(&subject(), work(1024, 1024), setting)
    };
    let others = |advice: &Advice| matches!(advice.remedy, Remedy::FreeDevice { .. });
    assert!(of(24 * GIB).advice.iter().any(others));
    assert!(!of(18 * GIB).advice.iter().any(others));
}
