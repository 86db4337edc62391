//! Schedules and samplers, against diffusers' schedulers on the same noise levels.

use std::convert::Infallible;

use burn::tensor::{Tensor, TensorData};
use model::guidance::{Guidance, GuidanceRule};
use model::latents::TokenGrid;
use model::pipeline::{Branch, Denoising, Observer, PipelineError};
use model::sampler::{Sampler, SamplerKind};
use model::scheduler::{Schedule, ScheduleKind};
use model::{FolderScheduler, SchedulerConfig};
use serde::Deserialize;
use tests::{Case, FINAL_TOLERANCE, Models, TOLERANCE, Trace, cases, check, fixture};

use crate::resident::denoise;
use crate::{Flex, compare, recorded};

/// The names of the samplers in the fixtures.
const NAMES: [(SamplerKind, &str); 4] = [
    (SamplerKind::Euler, "euler"),
    (SamplerKind::Heun, "heun"),
    (SamplerKind::DpmPp2m, "dpmpp2m"),
    (SamplerKind::UniPc, "unipc"),
];

fn rows<T: for<'de> Deserialize<'de>>(file: &str) -> Vec<T> {
    let text = std::fs::read(fixture(file)).expect("a fixture");
    let rows: Vec<T> = serde_json::from_slice(&text).expect("rows of the fixture");
    assert!(rows.len() >= 10, "{file} has {} rows", rows.len());
    rows
}

#[derive(Deserialize)]
struct FolderLevels {
    config: serde_json::Value,
    steps: usize,
    width: usize,
    height: usize,
    sigmas: Vec<f32>,
}

#[test]
fn a_folders_scheduler_has_the_levels_that_the_reference_makes_of_it() {
    for row in rows::<FolderLevels>("scheduler_folders.json") {
        let what = row.config.to_string();
        let folder = FolderScheduler::resolve(&row.config, None).expect("a scheduler");
        let expected = match row.config["_class_name"].as_str() {
            Some("UniPCMultistepScheduler") => SamplerKind::UniPc,
            _ => SamplerKind::Euler,
        };
        assert_eq!(folder.sampler, Ok(expected), "{what}");
        let kind = folder.schedule.expect("levels");
        let tokens = TokenGrid::of_image(row.width, row.height).tokens();
        let schedule = Schedule::of_kind(&kind, &folder.constants, row.steps, tokens);
        let schedule = schedule.expect("a schedule");
        assert_eq!(schedule.sigmas().len(), row.sigmas.len(), "{what}");
        for (found, expected) in schedule.sigmas().iter().zip(&row.sigmas) {
            // The reference's UniPC begins a millionth below 1, and so does the sampler here.
            let distance = (found - expected).abs();
            assert!(distance < 2e-6, "{what}: {found} != {expected}");
        }
    }
}

#[derive(Deserialize)]
struct Levels {
    schedule: String,
    steps: usize,
    width: usize,
    height: usize,
    sigmas: Vec<f32>,
}

#[test]
fn schedules_of_all_kinds_are_those_of_the_reference() {
    for row in rows::<Levels>("schedules.json") {
        let what = format!("{}, {} steps", row.schedule, row.steps);
        let kind: ScheduleKind = row.schedule.parse().expect("a schedule's name");
        let tokens = TokenGrid::of_image(row.width, row.height).tokens();
        let schedule = Schedule::of_kind(&kind, &SchedulerConfig::default(), row.steps, tokens);
        let schedule = schedule.expect("a schedule");
        let shape = vec![row.sigmas.len()];
        let found = schedule.sigmas();
        check(&what, &[found.len()], found, (shape, row.sigmas), 1e-6);
    }
}

#[derive(Deserialize)]
struct Steps {
    sampler: String,
    sigmas: Vec<f32>,
    start: Vec<f32>,
    latents: Vec<Vec<f32>>,
}

/// The velocity that the fixtures were made with.
fn known_velocity(x: Tensor<Flex, 3>, sigma: f32) -> Result<Tensor<Flex, 3>, Infallible> {
    let before = Tensor::cat(
        vec![x.clone().narrow(2, 3, 1), x.clone().narrow(2, 0, 3)],
        2,
    );
    let bent = (x.clone() * 3.0 + 2.0 * sigma).sin();
    Ok(bent + before * (0.5 * sigma) - x * 0.3)
}

#[test]
fn samplers_step_as_those_of_the_reference() {
    let shape = [1, 2, 4];
    for row in rows::<Steps>("samplers.json") {
        let (kind, name) = NAMES
            .into_iter()
            .find(|(_, name)| *name == row.sampler)
            .expect("a sampler");
        let schedule = Schedule::from_sigmas(row.sigmas.clone()).expect("levels");
        assert_eq!(schedule.steps(), row.latents.len());
        let mut sampler = Sampler::<Flex>::new(kind);
        let start = TensorData::new(row.start, shape);
        let mut latents = Tensor::<Flex, 3>::from_data(start, &Default::default());
        let mut calls = 0;
        for (step, expected) in row.latents.into_iter().enumerate() {
            let mut velocity = |x, sigma| {
                calls += 1;
                known_velocity(x, sigma)
            };
            let Ok(next) = sampler.step(latents, schedule.interval(step), &mut velocity);
            latents = next;
            let found: Vec<f32> = latents.clone().into_data().iter().collect();
            let what = format!("{name} on {:?}, step {step}", row.sigmas);
            check(&what, &shape, &found, (shape.to_vec(), expected), TOLERANCE);
        }
        assert_eq!(calls, kind.model_calls(schedule.steps()), "{name}");
    }
}

/// Compares the latents after each step, and counts what it sees.
#[derive(Default)]
struct Comparing {
    sampler: &'static str,
    predictions: Vec<(usize, Branch)>,
    steps: usize,
    /// Ends the run after this many steps.
    end: Option<usize>,
}

impl Observer<Flex> for Comparing {
    fn prediction(&mut self, step: usize, branch: Branch, _: &Tensor<Flex, 3>) {
        self.predictions.push((step, branch));
    }

    fn latents(&mut self, step: usize, latents: &Tensor<Flex, 3>) {
        let name = format!("{}/latents.step{step}", self.sampler);
        let trace = Trace::open("samplers.safetensors");
        let tensor = latents.clone();
        compare(self.sampler, &trace, &name, tensor, FINAL_TOLERANCE);
        self.steps += 1;
    }

    fn cancelled(&self) -> bool {
        self.end.is_some_and(|end| self.steps >= end)
    }
}

fn odd_grid() -> Case {
    let found = cases().into_iter().find(|case| case.name == "odd_grid");
    found.expect("the case with an odd grid")
}

/// Runs the tiny transformer through the fixture's levels.
fn through_the_transformer(
    kind: SamplerKind,
    change: impl FnOnce(&mut Denoising<'_, Flex>),
    observer: &mut Comparing,
) -> Result<Tensor<Flex, 3>, PipelineError> {
    let case = odd_grid();
    let device = Default::default();
    let trace = Trace::open(&case.trace);
    let sigmas = Trace::open("samplers.safetensors").f32("sigmas").1;
    let schedule = Schedule::from_sigmas(sigmas).expect("levels");
    let noise: Tensor<Flex, 4> = recorded::<Flex, 5>(&trace, "noise", &device).squeeze_dim(1);
    let grid = TokenGrid::of_image(case.width, case.height);
    let mut work = Denoising {
        guidance: Some(Guidance {
            embeds: recorded(&trace, "negative_prompt_embeds", &device),
            scale: case.cfg,
            rule: GuidanceRule::Renormalised,
        }),
        sampler: kind,
        ..Denoising::new(
            recorded(&trace, "prompt_embeds", &device),
            noise,
            grid,
            &schedule,
        )
    };
    change(&mut work);
    denoise(
        &Models::<Flex>::new(&case, device).transformer(),
        work,
        observer,
    )
}

#[test]
fn samplers_take_the_transformer_where_the_reference_does() {
    let mut arrived: Vec<Tensor<Flex, 3>> = Vec::new();
    for (kind, sampler) in NAMES {
        let mut comparing = Comparing {
            sampler,
            ..Comparing::default()
        };
        let latents = through_the_transformer(kind, |_| (), &mut comparing).expect("latents");
        // One in place of another must be noticed.
        for other in &arrived {
            let apart = (other.clone() - latents.clone()).abs().max().into_scalar();
            assert!(apart > 1e-3, "{sampler}: {apart:e}");
        }
        arrived.push(latents);
        // The first prediction of each step is shown, also where a step has two.
        let shown = (0..5).flat_map(|step| {
            [Branch::Conditional, Branch::Unconditional].map(|branch| (step, branch))
        });
        assert_eq!(
            comparing.predictions,
            shown.collect::<Vec<_>>(),
            "{sampler}"
        );
        assert_eq!(comparing.steps, 5, "{sampler}");
    }
}

#[test]
fn every_sampler_ends_when_it_is_told_to() {
    for (kind, sampler) in NAMES {
        for end in [0, 2] {
            let mut comparing = Comparing {
                sampler,
                end: Some(end),
                ..Comparing::default()
            };
            let ended = through_the_transformer(kind, |_| (), &mut comparing);
            assert!(matches!(ended, Err(PipelineError::Cancelled)), "{sampler}");
            assert_eq!(comparing.steps, end, "{sampler}");
        }
    }
}

#[test]
fn every_sampler_finds_numbers_that_are_not_finite() {
    for (kind, sampler) in NAMES {
        let broken = |work: &mut Denoising<'_, Flex>| {
            work.latents = work.latents.clone() * f32::INFINITY;
        };
        let mut comparing = Comparing::default();
        let ended = through_the_transformer(kind, broken, &mut comparing);
        let told = matches!(ended, Err(PipelineError::NotFinite { step: 1 }));
        assert!(told, "{sampler}");
    }
}

/// The latents that a run starts with late, and what was seen between its steps.
#[test]
fn a_run_can_start_late_and_be_changed_between_steps() {
    let trace = Trace::open("samplers.safetensors");
    let (shape, values) = trace.f32("euler/latents.step2");
    let grid = TokenGrid {
        height: 3,
        width: 5,
    };
    let tokens = Tensor::<Flex, 3>::from_data(TensorData::new(values, shape), &Default::default());
    let late = model::latents::unpack(tokens, grid);
    let seen = std::sync::Mutex::new(Vec::new());
    let change = |latents: Tensor<Flex, 3>, sigma: f32| {
        seen.lock().expect("the list").push(sigma);
        latents + 1.0
    };
    struct Last(Vec<(usize, Tensor<Flex, 3>)>);
    impl Observer<Flex> for Last {
        fn latents(&mut self, step: usize, latents: &Tensor<Flex, 3>) {
            self.0.push((step, latents.clone()));
        }
    }
    let case = odd_grid();
    let device = Default::default();
    let base = Trace::open(&case.trace);
    let sigmas = trace.f32("sigmas").1;
    let schedule = Schedule::from_sigmas(sigmas.clone()).expect("levels");
    let work = |after_step| Denoising {
        guidance: Some(Guidance {
            embeds: recorded(&base, "negative_prompt_embeds", &device),
            scale: case.cfg,
            rule: GuidanceRule::Renormalised,
        }),
        start: 3,
        after_step,
        ..Denoising::new(
            recorded(&base, "prompt_embeds", &device),
            late.clone(),
            grid,
            &schedule,
        )
    };
    let transformer = Models::<Flex>::new(&case, device).transformer();
    let mut steps = Last(Vec::new());
    let latents = denoise(&transformer, work(None), &mut steps).expect("latents");
    assert_eq!(
        steps.0.iter().map(|(step, _)| *step).collect::<Vec<_>>(),
        [0, 1]
    );
    compare(
        "late",
        &trace,
        "euler/latents.step4",
        latents,
        FINAL_TOLERANCE,
    );

    let mut changed = Last(Vec::new());
    denoise(&transformer, work(Some(&change)), &mut changed).expect("latents");
    assert_eq!(*seen.lock().expect("the list"), sigmas[4..]);
    let difference = changed.0[0].1.clone() - steps.0[0].1.clone();
    for value in difference.into_data().iter::<f32>() {
        assert!((value - 1.0).abs() < 1e-5, "{value}");
    }
}
