//! The modulations of timesteps: the same whatever they are computed with, and all that are asked
//! for.

use std::cell::RefCell;
use std::convert::Infallible;

use backends::{Fp8Format, PackedFormat, WeightFormat};
use benches::randomize;
use burn::tensor::{FloatDType, Tensor};
use model::latents::TokenGrid;
use model::pipeline::{self, Denoising, Observer, PipelineError};
use model::sampler::{Sampler, SamplerKind};
use model::scheduler::{Schedule, timestep};
use model::transformer::{BlockModulation, Modulations, TIMESTEPS_AT_ONCE};
use model::{BlockSource, Builder, Resident, SchedulerConfig, Transformer, TransformerConfig};
use tests::{Models, Trace, cases};

use crate::resident::modulations;
use crate::{Flex, deep, recorded};

const DTYPES: [FloatDType; 2] = [FloatDType::F32, FloatDType::BF16];

/// The modulations of a timestep, bit by bit.
fn bits(table: &Modulations<Flex>, timestep: f32) -> Vec<u8> {
    let found = table.find(timestep).expect("the timestep");
    found.to_vector().into_data().bytes.to_vec()
}

/// Asks for a timestep alone, with some others, and among many, in different places of a group.
fn independent_of_the_rest(name: &str, transformer: &Transformer<Flex>) {
    let many: Vec<f32> = (0..2 * TIMESTEPS_AT_ONCE + 3)
        .map(|i| 1.0 - i as f32 / 40.0)
        .collect();
    for dtype in DTYPES {
        let all = modulations(transformer, &many, dtype);
        let expected: Vec<Vec<u8>> = many.iter().map(|&t| bits(&all, t)).collect();
        for pair in expected.windows(2) {
            assert!(pair[0] != pair[1], "{name}: timesteps do not matter");
        }
        for (i, &timestep) in many.iter().enumerate().step_by(3) {
            let next = many[(i + 1) % many.len()];
            let mut backwards = many.clone();
            backwards.reverse();
            for with in [vec![timestep], vec![next, timestep], backwards] {
                let table = modulations(transformer, &with, dtype);
                let same = bits(&table, timestep) == expected[i];
                assert!(same, "{name}, {dtype:?}: {timestep} of {}", with.len());
            }
        }
    }
}

#[test]
fn a_timestep_is_the_same_whatever_else_is_computed() {
    // Every way to store the weights, with and without LoRAs, in the small models of the cases.
    for case in cases() {
        let transformer = Models::<Flex>::new(&case, Default::default()).transformer();
        independent_of_the_rest(&case.name, &transformer);
    }
}

#[test]
fn a_timestep_is_the_same_at_the_model_s_own_width() {
    let config = TransformerConfig {
        num_layers: 1,
        ..TransformerConfig::published()
    };
    let fp8 = WeightFormat::Packed(PackedFormat::Fp8(Fp8Format::E4M3));
    for format in [fp8, WeightFormat::Dense] {
        let device = Default::default();
        let formats = |_: &str| format;
        let transformer =
            Transformer::<Flex>::uninitialized(&config, &Builder::new(&device, &formats));
        let transformer = randomize::<Flex, _>(transformer);
        let name = format!("{format:?}");
        let dtype = FloatDType::BF16;
        let many: Vec<f32> = (0..11).map(|i| 1.0 - i as f32 / 16.0).collect();
        let all = modulations(&transformer, &many, dtype);
        for &timestep in &many[..2] {
            let alone = modulations(&transformer, &[timestep], dtype);
            let same = bits(&alone, timestep) == bits(&all, timestep);
            assert!(same, "{name}: {timestep}");
        }
        assert!(bits(&all, many[0]) != bits(&all, many[1]), "{name}");
    }
}

#[test]
fn a_vector_holds_all_of_a_timestep() {
    for (case, trace) in deep("transformer") {
        let device = Default::default();
        let transformer = Models::<Flex>::new(&case, device).transformer();
        let blocks = transformer.transformer_blocks.len();
        let computed = modulations(&transformer, &[0.9, 0.7], FloatDType::F32);
        assert_eq!(computed.rows(), TIMESTEPS_AT_ONCE);
        let vector = computed.find(0.7).expect("the timestep").to_vector();
        let read = Modulations::from_vector(0.7, blocks, vector.clone()).expect("a vector");
        assert_eq!(read.rows(), 1);
        assert!(read.find(0.9).is_none());

        let mut both = modulations(&transformer, &[0.9], FloatDType::F32);
        both.append(read);
        assert!(bits(&both, 0.7) == bits(&computed, 0.7), "{}", case.name);
        assert!(bits(&both, 0.9) == bits(&computed, 0.9), "{}", case.name);
        // What it does to a pass is the same, too.
        let grid = TokenGrid::of_image(case.width, case.height);
        let prompts = vec![recorded::<Flex, 3>(&trace, "prompt_embeds", &device)];
        let prompts = transformer.prompts(prompts, grid, Default::default());
        let noise: Tensor<Flex, 4> = recorded::<Flex, 5>(&trace, "noise", &device).squeeze_dim(1);
        let pass = |table: &Modulations<Flex>| {
            let (timestep, latents) = (table.find(0.7).expect("one"), noise.clone());
            let latents = model::latents::pack(latents);
            transformer
                .forward(latents, &prompts, timestep, FloatDType::F32, &|| false)
                .expect("not cancelled")
                .into_data()
        };
        assert_eq!(pass(&both), pass(&computed), "{}", case.name);

        // A vector of another model's size is none.
        let [elements] = vector.dims();
        let short = vector.narrow(0, 0, elements - 1);
        assert!(Modulations::from_vector(0.7, blocks, short).is_none());
    }
}

#[test]
fn samplers_ask_for_the_timesteps_of_their_schedule_and_no_others() {
    let config = SchedulerConfig::default();
    let kinds = [
        "dynamic",
        "dynamic-beta",
        "dynamic-karras",
        "dynamic-exponential",
        "shift=3.1",
        "simple",
        "beta",
        "sigmas=1,0.9,0.4,0.05",
    ];
    let mut schedules = Vec::new();
    for steps in [2, 4, 9, 50] {
        for kind in kinds {
            let kind = kind.parse().expect("a schedule");
            // Not every kind takes every number of steps.
            for part in [1.0, 0.6, 0.25] {
                schedules.extend(Schedule::tail_of_kind(&kind, &config, steps, 4096, part));
            }
        }
    }
    assert!(schedules.len() > 40, "{}", schedules.len());
    for (schedule, sampler) in schedules
        .iter()
        .flat_map(|schedule| SamplerKind::ALL.map(|sampler| (schedule, sampler)))
    {
        for start in [0, 1, schedule.steps() - 1] {
            let mut asked = Vec::new();
            let mut latents = Tensor::<Flex, 3>::ones([1, 1, 1], &Default::default());
            let mut solver = Sampler::new(sampler);
            for step in start..schedule.steps() {
                let mut velocity = |latents: Tensor<Flex, 3>, sigma| {
                    asked.push(timestep(sigma));
                    Ok::<_, Infallible>(latents * 0.5)
                };
                let interval = schedule.interval(step);
                latents = match solver.step(latents, interval, &mut velocity) {
                    Ok(latents) => latents,
                };
            }
            asked.dedup();
            assert_eq!(asked, schedule.timesteps(start), "{sampler:?}");
        }
    }
}

#[test]
fn a_timestep_that_was_not_computed_is_an_error() {
    let (case, trace) = deep("transformer").remove(0);
    let device = Default::default();
    let transformer = Models::<Flex>::new(&case, device).transformer();
    let grid = TokenGrid::of_image(case.width, case.height);
    let schedule = Schedule::new(&SchedulerConfig::default(), 2, grid.tokens());
    let schedule = schedule.expect("two steps");
    let noise: Tensor<Flex, 4> = recorded::<Flex, 5>(&trace, "noise", &device).squeeze_dim(1);
    let work = Denoising::new(
        recorded(&trace, "prompt_embeds", &device),
        noise,
        grid,
        &schedule,
    );
    let table = modulations(&transformer, &schedule.timesteps(1), FloatDType::F32);
    let mut blocks = Resident(&transformer.transformer_blocks);
    let denoised = pipeline::denoise(&transformer, &mut blocks, &table, work, &mut ());
    let first = schedule.timesteps(0)[0];
    assert!(matches!(denoised, Err(PipelineError::TimestepMissing(missing)) if missing == first));
}

/// Lends layers until one cannot be had, and notes what was asked for.
struct Failing<'a> {
    layers: &'a [BlockModulation<Flex>],
    asked: Vec<usize>,
    fails_at: usize,
}

impl BlockSource<BlockModulation<Flex>> for Failing<'_> {
    type Error = std::io::Error;

    fn count(&self) -> usize {
        self.layers.len()
    }

    fn with_block<T>(
        &mut self,
        index: usize,
        work: impl FnOnce(&BlockModulation<Flex>) -> T,
    ) -> Result<T, std::io::Error> {
        self.asked.push(index);
        match index == self.fails_at {
            true => Err(std::io::Error::other("gone")),
            false => Ok(work(&self.layers[index])),
        }
    }
}

/// Ends a phase when it is asked for the second time.
struct SecondTime(RefCell<usize>);

impl Observer<Flex> for SecondTime {
    fn cancelled(&self) -> bool {
        *self.0.borrow_mut() += 1;
        *self.0.borrow() == 2
    }
}

#[test]
fn layers_are_lent_once_each_and_their_errors_come_through() {
    let (case, _) = deep("transformer").remove(0);
    let device = Default::default();
    let transformer = Models::<Flex>::new(&case, device).transformer();
    let layers = transformer.block_modulations.as_slice();
    assert!(layers.len() > 1);
    let timesteps: Vec<f32> = (1..20).map(|i| i as f32 / 20.0).collect();
    let compute = |fails_at, observer: &dyn Observer<Flex>| {
        let mut source = Failing {
            layers,
            asked: Vec::new(),
            fails_at,
        };
        let dtype = FloatDType::F32;
        let table = pipeline::modulations(
            &transformer,
            &mut source,
            &timesteps,
            dtype,
            &device,
            observer,
        );
        (table, source.asked)
    };
    // Three groups of timesteps take one pass.
    let (table, asked) = compute(usize::MAX, &());
    let table = table.expect("modulations");
    let resident = modulations(&transformer, &timesteps, FloatDType::F32);
    assert!(bits(&table, 0.5) == bits(&resident, 0.5));
    assert_eq!(asked, (0..layers.len()).collect::<Vec<_>>());

    let (table, asked) = compute(1, &());
    assert!(
        matches!(&table, Err(PipelineError::Blocks(error)) if error.to_string() == "gone"),
        "{:?}",
        table.err()
    );
    assert_eq!(asked, [0, 1]);

    let (table, asked) = compute(usize::MAX, &SecondTime(RefCell::new(0)));
    assert!(matches!(table, Err(PipelineError::Cancelled)));
    assert_eq!(asked, [0]);
}

#[test]
fn the_first_timestep_of_every_case_is_that_of_its_first_prediction() {
    for case in cases() {
        let sigmas = Trace::open(&case.trace).f32("sigmas").1;
        let schedule = Schedule::from_sigmas(sigmas).expect("levels");
        assert_eq!(schedule.timesteps(0).len(), schedule.steps());
        assert_eq!(schedule.timesteps(0)[0], timestep(schedule.sigmas()[0]));
        assert!(schedule.timesteps(schedule.steps()).is_empty());
        assert!(schedule.timesteps(schedule.steps() + 1).is_empty());
    }
}
