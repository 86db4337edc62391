//! The results of ComfyUI with the same models.

use burn::tensor::{FloatDType, Tensor};
use model::Tokenizer;
use model::guidance::{Guidance, GuidanceRule};
use model::init_image::{InitImage, LatentMask};
use model::latents::{TokenGrid, unpack};
use model::pipeline::{Denoising, Observer, decode, encode_image, encode_prompt, noise_of_seed};
use model::sampler::SamplerKind;
use model::scheduler::{Schedule, ScheduleKind};
use model::tokenizer::PromptStyle;
use model::transformer::{RopeCentring, image_angles};
use model::{SchedulerConfig, vae::Tiling};
use serde::Deserialize;
use tests::{FINAL_TOLERANCE, Models, TOLERANCE, Trace, cases, fixture};

use crate::resident::denoise;
use crate::tokenizer::real_tokenizer;
use crate::{Flex, compare, recorded};

#[derive(Deserialize)]
struct Prompt {
    prompt: String,
    ids: Vec<u32>,
    drop: usize,
}

fn prompts_have_the_ids_of(file: &str, tokenizer: &Tokenizer) {
    let text = std::fs::read(fixture(file)).expect("a fixture");
    let rows: Vec<Prompt> = serde_json::from_slice(&text).expect("rows of the fixture");
    assert!(rows.len() >= 10);
    let mut longest = 0;
    for row in rows {
        let tokens = tokenizer.encode_prompt_in(PromptStyle::ComfyUi, &row.prompt);
        let tokens = tokens.expect("tokens");
        assert_eq!(tokens.ids, row.ids, "{:?}", row.prompt);
        assert_eq!(tokens.prefix, row.drop, "{:?}", row.prompt);
        assert_eq!(
            tokens.prefix + tokens.kept,
            row.ids.len(),
            "{:?}",
            row.prompt
        );
        longest = longest.max(tokens.kept);
    }
    assert!(
        longest > 1024,
        "no prompt is long enough to be cut: {longest}"
    );
}

#[test]
fn prompts_have_the_ids_of_comfyui() {
    let tokenizer = Tokenizer::open(&fixture("comfyui/tokenizer")).expect("a tokenizer");
    prompts_have_the_ids_of("preset_comfyui.json", &tokenizer);
}

#[test]
fn prompts_of_the_real_tokenizer_have_the_ids_of_comfyui() {
    if let Some(tokenizer) = real_tokenizer() {
        prompts_have_the_ids_of("preset_comfyui_real.json", &tokenizer);
    }
}

/// Compares the latents after each step with those whose names begin with a prefix.
struct Comparing<'a>(&'a Trace, String);

impl Observer<Flex> for Comparing<'_> {
    fn latents(&mut self, step: usize, latents: &Tensor<Flex, 3>) {
        let name = format!("{}latents.step{step}", self.1);
        compare("comfyui", self.0, &name, latents.clone(), FINAL_TOLERANCE);
    }
}

#[test]
fn an_image_is_that_of_comfyui() {
    let trace = Trace::open("preset_comfyui.safetensors");
    let case = cases().into_iter().find(|case| case.name == "odd_grid");
    let case = case.expect("the case with an odd grid");
    let device = Default::default();
    let models = Models::<Flex>::new(&case, device);
    let encoder = models.text_encoder();
    let tokenizer = models.tokenizer();
    let embed = |prompt: &str, name: &str| {
        let tokens = tokenizer.encode_prompt_in(PromptStyle::ComfyUi, prompt);
        let tokens = tokens.expect("tokens");
        let embeds = encode_prompt(&encoder, &tokens, FloatDType::F32, &device, &());
        let embeds = embeds.expect("embeddings");
        compare("comfyui", &trace, name, embeds.clone(), TOLERANCE);
        embeds
    };
    let prompt = "<|im_start|>system\nPaint.<|im_end|>\n<|im_start|>user\nA (red) fox<|im_end|>\n";
    let schedule = Schedule::of_kind(
        &"simple".parse::<ScheduleKind>().expect("a schedule"),
        &SchedulerConfig::default(),
        4,
        0,
    );
    let schedule = schedule.expect("a schedule");
    let grid = TokenGrid::of_image(80, 48);
    let noise = recorded::<Flex, 5>(&trace, "noise", &device).squeeze_dim(1);
    let work = Denoising {
        guidance: Some(Guidance {
            embeds: embed("", "negative_prompt_embeds"),
            scale: 2.5,
            rule: GuidanceRule::Plain,
        }),
        centring: RopeCentring::ComfyUi,
        ..Denoising::new(embed(prompt, "prompt_embeds"), noise, grid, &schedule)
    };
    let transformer = models.transformer();
    let latents = denoise(
        &transformer,
        work.clone(),
        &mut Comparing(&trace, String::new()),
    );
    let latents = latents.expect("latents");
    let image = decode(&models.vae(), latents.clone(), grid, Tiling::Whole, &());
    compare(
        "comfyui",
        &trace,
        "image",
        image.expect("an image"),
        FINAL_TOLERANCE,
    );

    // Each difference from diffusers must matter, or the comparison above says nothing of it.
    let centred = Denoising {
        centring: RopeCentring::Diffusers,
        ..work.clone()
    };
    let renormalised = Denoising {
        guidance: work.guidance.clone().map(|guidance| Guidance {
            rule: GuidanceRule::Renormalised,
            ..guidance
        }),
        ..work
    };
    for (what, other) in [("centring", centred), ("guidance", renormalised)] {
        let other = denoise(&transformer, other, &mut ()).expect("latents");
        let apart = (other - latents.clone()).abs().max().into_scalar();
        assert!(apart > 1e-2, "{what}: {apart:e}");
    }
}

#[test]
fn an_image_that_starts_from_another_is_that_of_comfyui() {
    let trace = Trace::open("preset_comfyui_starts.safetensors");
    let image_trace = Trace::open("image_traces/img2img.safetensors");
    let case = cases().into_iter().find(|case| case.name == "odd_grid");
    let case = case.expect("a case with these models");
    let device = Default::default();
    let models = Models::<Flex>::new(&case, device);
    let (encoder, tokenizer) = (models.text_encoder(), models.tokenizer());
    let embed = |prompt: &str| {
        let tokens = tokenizer.encode_prompt_in(PromptStyle::ComfyUi, prompt);
        let tokens = tokens.expect("tokens");
        let embeds = encode_prompt(&encoder, &tokens, FloatDType::F32, &device, &());
        embeds.expect("embeddings")
    };
    let (prompt, negative) = (embed("A (red) fox"), embed(""));
    let grid = TokenGrid::of_image(48, 32);
    // The same image as that case's.
    let pixels = recorded::<Flex, 4>(&image_trace, "pixels", &device);
    let posterior = encode_image(&models.vae_encoder(), pixels, Tiling::Whole, &());
    let posterior = posterior.expect("a posterior");
    let clean = InitImage::new(posterior.mode(), noise_of_seed(8, 16, grid, &device));
    compare("comfyui", &trace, "image_latents", clean.clean(), TOLERANCE);
    compare("comfyui", &trace, "noise", clean.noise(), 2e-6);
    let (transformer, vae) = (models.transformer(), models.vae());

    for (name, part, masked, sampler) in [
        ("img2img", 0.5, false, SamplerKind::Euler),
        ("uneven", 0.6, false, SamplerKind::Euler),
        ("inpaint", 0.5, true, SamplerKind::Euler),
        ("inpaint_heun", 0.7, true, SamplerKind::Heun),
    ] {
        let of = |what: &str| format!("{name}/{what}");
        let kind = "simple".parse::<ScheduleKind>().expect("a schedule");
        let config = SchedulerConfig::default();
        let schedule = Schedule::tail_of_kind(&kind, &config, 4, grid.tokens(), part);
        let schedule = schedule.expect("a schedule");
        assert_eq!(schedule.steps(), 4, "{name}");
        assert_eq!(schedule.sigmas(), trace.f32(&of("sigmas")).1, "{name}");
        let mut start = clean.clone();
        if masked {
            let (shape, greys) = trace.u8(&of("greys"));
            let mask = LatentMask::soft(&greys, [shape[1], shape[0]], grid);
            start = start.masked(mask.tensor(&device));
            let mask = start.mask().expect("a mask");
            compare("comfyui", &trace, &of("mask"), mask, 1e-6);
        }
        let noised = start.at(schedule.sigmas()[0]);
        compare(
            "comfyui",
            &trace,
            &of("latents.start"),
            noised.clone(),
            TOLERANCE,
        );
        let work = Denoising {
            guidance: Some(Guidance {
                embeds: negative.clone(),
                scale: 2.5,
                rule: GuidanceRule::Plain,
            }),
            centring: RopeCentring::ComfyUi,
            sampler,
            steering: start.steering(),
            ..Denoising::new(prompt.clone(), unpack(noised, grid), grid, &schedule)
        };
        let latents = denoise(&transformer, work, &mut Comparing(&trace, of("")));
        let image = decode(&vae, latents.expect("latents"), grid, Tiling::Whole, &());
        let image = image.expect("an image");
        compare("comfyui", &trace, &of("image"), image, FINAL_TOLERANCE);
    }
}

#[test]
fn even_grids_lie_where_diffusers_has_them() {
    let axes = [16, 56, 56];
    for (height, width, same) in [(4, 6, true), (64, 64, true), (83, 82, false), (2, 3, false)] {
        let grid = TokenGrid { height, width };
        let [diffusers, comfyui] = [RopeCentring::Diffusers, RopeCentring::ComfyUi]
            .map(|centring| image_angles(grid, axes, centring));
        assert_eq!(diffusers == comfyui, same, "{height} rows, {width} columns");
    }
}
