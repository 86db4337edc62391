//! The whole pipeline, case by case.

use burn::tensor::{FloatDType, Tensor};
use model::SchedulerConfig;
use model::guidance::{Guidance, GuidanceRule};
use model::latents::TokenGrid;
use model::pipeline::{
    Branch, Denoising, Observer, PipelineError, decode, encode_prompt, noise_of_seed,
};
use model::scheduler::Schedule;
use model::vae::Tiling;
use tests::{Case, FINAL_TOLERANCE, Models, TOLERANCE, Trace, cases, check};

use crate::resident::denoise;
use crate::{Flex, compare, recorded};

/// Compares what it sees with what was recorded.
struct Comparing<'a> {
    case: &'a Case,
    trace: &'a Trace,
    seen: usize,
}

impl Observer<Flex> for Comparing<'_> {
    fn prediction(&mut self, step: usize, branch: Branch, prediction: &Tensor<Flex, 3>) {
        if step > 0 {
            return;
        }
        let name = match branch {
            Branch::Conditional => "step0.cond",
            Branch::Unconditional => "step0.uncond",
        };
        compare(
            &self.case.name,
            self.trace,
            name,
            prediction.clone(),
            TOLERANCE,
        );
        self.seen += 1;
    }

    fn latents(&mut self, step: usize, latents: &Tensor<Flex, 3>) {
        let name = format!("latents.step{step}");
        compare(
            &self.case.name,
            self.trace,
            &name,
            latents.clone(),
            FINAL_TOLERANCE,
        );
        self.seen += 1;
    }
}

#[test]
fn every_case_is_that_of_the_reference() {
    for case in cases() {
        let trace = Trace::open(&case.trace);
        let device = Default::default();
        let models = Models::<Flex>::new(&case, device);
        let tokenizer = models.tokenizer();
        let encoder = models.text_encoder();
        let embed = |prompt: &str, name: &str| {
            let tokens = tokenizer.encode_prompt(prompt).expect("tokens");
            let embeds = encode_prompt(&encoder, &tokens, FloatDType::F32, &device, &());
            let embeds = embeds.expect("embeddings");
            compare(&case.name, &trace, name, embeds.clone(), TOLERANCE);
            embeds
        };
        let prompt_embeds = embed(&case.prompt, "prompt_embeds");
        let negative = case.negative.as_deref().filter(|_| case.guided());
        let guidance = negative.map(|prompt| Guidance {
            embeds: embed(prompt, "negative_prompt_embeds"),
            scale: case.cfg,
            rule: GuidanceRule::Renormalised,
        });

        let transformer = models.transformer();
        let grid = TokenGrid::of_image(case.width, case.height);
        let schedule = Schedule::new(&case.scheduler(), case.steps, grid.tokens());
        let schedule = schedule.expect("a schedule");
        let sigmas = schedule.sigmas();
        let recorded = trace.f32("sigmas");
        check(&case.name, &[sigmas.len()], sigmas, recorded, 1e-6);
        let noise = noise_of_seed::<Flex>(case.seed, 16, grid, &device);
        compare(
            &case.name,
            &trace,
            "noise",
            noise.clone().unsqueeze_dim::<5>(1),
            2e-6,
        );
        let mut comparing = Comparing {
            case: &case,
            trace: &trace,
            seen: 0,
        };
        let passes = 1 + usize::from(guidance.is_some());
        let work = Denoising {
            guidance,
            ..Denoising::new(prompt_embeds, noise, grid, &schedule)
        };
        let latents = denoise(&transformer, work, &mut comparing).expect("latents");
        assert_eq!(comparing.seen, passes + case.steps, "{}", case.name);
        compare(
            &case.name,
            &trace,
            "latents.final",
            latents.clone(),
            FINAL_TOLERANCE,
        );

        let image = decode(&models.vae(), latents, grid, Tiling::Whole, &()).expect("an image");
        compare(&case.name, &trace, "image", image, FINAL_TOLERANCE);
        println!("{}: equal", case.name);
    }
}

/// Ends the run at the first question.
struct Ending;

impl Observer<Flex> for Ending {
    fn cancelled(&self) -> bool {
        true
    }
}

#[test]
fn a_cancelled_run_says_so() {
    let case = cases().remove(0);
    let trace = Trace::open(&case.trace);
    let device = Default::default();
    let models = Models::<Flex>::new(&case, device);
    let tokens = models.tokenizer().encode_prompt("a cat").expect("tokens");
    let encoded = encode_prompt(
        &models.text_encoder(),
        &tokens,
        FloatDType::F32,
        &device,
        &Ending,
    );
    assert!(matches!(encoded, Err(PipelineError::Cancelled)));

    let work = work(&case, &trace, f32::NAN);
    let denoised = denoise(&models.transformer(), work.of(), &mut Ending);
    assert!(matches!(denoised, Err(PipelineError::Cancelled)));
}

#[test]
fn numbers_that_are_not_finite_are_an_error() {
    let case = cases().remove(0);
    let trace = Trace::open(&case.trace);
    let models = Models::<Flex>::new(&case, Default::default());
    let work = work(&case, &trace, f32::INFINITY);
    let denoised = denoise(&models.transformer(), work.of(), &mut ());
    assert!(matches!(
        denoised,
        Err(PipelineError::NotFinite { step: 1 })
    ));
}

/// A run on noise of one value.
struct Work {
    schedule: Schedule,
    prompt_embeds: Tensor<Flex, 3>,
    noise: Tensor<Flex, 4>,
    grid: TokenGrid,
}

fn work(case: &Case, trace: &Trace, noise: f32) -> Work {
    let device = Default::default();
    let grid = TokenGrid::of_image(case.width, case.height);
    Work {
        schedule: Schedule::new(&SchedulerConfig::default(), 2, grid.tokens()).expect("two steps"),
        prompt_embeds: recorded(trace, "prompt_embeds", &device),
        noise: Tensor::full(grid.latent_shape(16), noise, &device),
        grid,
    }
}

impl Work {
    fn of(&self) -> Denoising<'_, Flex> {
        let (embeds, noise) = (self.prompt_embeds.clone(), self.noise.clone());
        Denoising::new(embeds, noise, self.grid, &self.schedule)
    }
}
