//! Noise, schedules and codes.

use backends::Fp8Format;
use model::SchedulerConfig;
use model::latents::TokenGrid;
use model::noise::{NoiseGenerator, torch_randn};
use model::scheduler::Schedule;
use serde::Deserialize;
use tests::{Trace, check, fixture};

/// The error of the reference's fast logarithm and sine.
const NOISE_TOLERANCE: f32 = 2e-6;

#[test]
fn noise_is_torch_randn() {
    let trace = Trace::open("noise.safetensors");
    let mut draws = 0;
    for name in trace.names() {
        let (seed, shape) = name.split_once('/').expect("SEED/SHAPE");
        if shape.starts_with("stream") {
            continue;
        }
        let seed = seed.parse().expect("a seed");
        let (shape, expected) = trace.f32(&name);
        let found = torch_randn(seed, expected.len());
        check(
            &name,
            &shape,
            &found,
            (shape.clone(), expected),
            NOISE_TOLERANCE,
        );
        draws += 1;
    }
    assert!(draws >= 20, "{draws} draws");
}

#[test]
fn a_generator_goes_on_from_draw_to_draw() {
    let trace = Trace::open("noise.safetensors");
    for seed in [0u64, 42, (1 << 32) + 42, 123_456_789] {
        let mut generator = NoiseGenerator::new(seed);
        for i in 0.. {
            let name = format!("{seed}/stream/{i}");
            if !trace.has(&name) {
                assert!(i >= 8, "{name} is missing");
                break;
            }
            let (shape, expected) = trace.f32(&name);
            let found = generator.draw(expected.len());
            check(
                &name,
                &shape,
                &found,
                (shape.clone(), expected),
                NOISE_TOLERANCE,
            );
        }
    }
}

#[derive(Deserialize)]
struct Sigmas {
    width: usize,
    height: usize,
    steps: usize,
    sigmas: Vec<f32>,
}

#[test]
fn schedules_are_those_of_the_reference() {
    let text = std::fs::read(fixture("sigmas.json")).expect("sigmas.json");
    let rows: Vec<Sigmas> = serde_json::from_slice(&text).expect("sigmas.json");
    assert!(rows.len() >= 4);
    for row in rows {
        let tokens = TokenGrid::of_image(row.width, row.height).tokens();
        let schedule = Schedule::new(&SchedulerConfig::default(), row.steps, tokens);
        let schedule = schedule.expect("a schedule");
        let what = format!("{}x{}, {} steps", row.width, row.height, row.steps);
        let shape = vec![row.sigmas.len()];
        check(
            &what,
            &[schedule.sigmas().len()],
            schedule.sigmas(),
            (shape, row.sigmas),
            1e-6,
        );
    }
}

#[test]
fn fp8_codes_are_those_of_the_reference() {
    let text = std::fs::read(fixture("codes.json")).expect("codes.json");
    let codes: serde_json::Value = serde_json::from_slice(&text).expect("codes.json");
    for (name, format) in [
        ("float8_e4m3fn", Fp8Format::E4M3),
        ("float8_e5m2", Fp8Format::E5M2),
    ] {
        let values = codes[name].as_array().expect("an array");
        assert_eq!(values.len(), 256);
        for (code, value) in values.iter().enumerate() {
            let found = format.decode(code as u8);
            let expected = match value.as_str() {
                Some(text) => text.parse().expect("a special value"),
                None => value.as_f64().expect("a number") as f32,
            };
            assert!(
                found == expected || (found.is_nan() && expected.is_nan()),
                "{name} {code:#04x}: {found} != {expected}"
            );
        }
    }
}
