//! The pipelines that begin with an image, case by case.

use burn::tensor::Tensor;
use model::SchedulerConfig;
use model::guidance::{Guidance, GuidanceRule};
use model::init_image::{InitImage, LatentMask, first_step};
use model::latents::{TokenGrid, pack, unpack};
use model::pipeline::{Branch, Denoising, Observer, decode, encode_image};
use model::scheduler::Schedule;
use model::vae::Tiling;
use tests::{Case, FINAL_TOLERANCE, ImageCase, Models, TOLERANCE, Trace, image_cases};

use crate::resident::denoise;
use crate::{Flex, compare, recorded};

/// Compares what it sees with what was recorded.
struct Comparing<'a> {
    case: &'a Case,
    trace: &'a Trace,
    seen: usize,
}

impl Comparing<'_> {
    fn compare(&mut self, name: &str, tensor: &Tensor<Flex, 3>, tolerance: f32) {
        compare(&self.case.name, self.trace, name, tensor.clone(), tolerance);
        self.seen += 1;
    }
}

impl Observer<Flex> for Comparing<'_> {
    fn prediction(&mut self, step: usize, branch: Branch, prediction: &Tensor<Flex, 3>) {
        let name = match branch {
            Branch::Conditional => "step0.cond",
            Branch::Unconditional => "step0.uncond",
        };
        if step == 0 {
            self.compare(name, prediction, TOLERANCE);
        }
    }

    fn latents(&mut self, step: usize, latents: &Tensor<Flex, 3>) {
        self.compare(&format!("latents.step{step}"), latents, FINAL_TOLERANCE);
    }
}

#[test]
fn every_case_is_that_of_the_reference() {
    let (mut whole, mut masked) = (0, 0);
    for image_case in image_cases() {
        let ImageCase { case, strength, .. } = &image_case;
        let name = case.name.as_str();
        let trace = Trace::open(&case.trace);
        let device = Default::default();
        let models = Models::<Flex>::new(case, device);
        let grid = TokenGrid::of_image(case.width, case.height);

        let pixels = recorded::<Flex, 4>(&trace, "pixels", &device);
        let posterior = encode_image(&models.vae_encoder(), pixels, Tiling::Whole, &());
        let mut start = InitImage::of_seed(&posterior.expect("a posterior"), case.seed);
        let clean = unpack(start.clean(), grid);
        compare(name, &trace, "image_latents", clean, TOLERANCE);
        let noise = unpack(start.noise(), grid).unsqueeze_dim::<5>(1);
        compare(name, &trace, "noise", noise, 2e-6);
        if image_case.mask().is_some() {
            let packed = recorded::<Flex, 3>(&trace, "mask", &device);
            // Every channel has the same mask.
            start = start.masked(unpack(packed, grid).narrow(1, 0, 1));
            masked += 1;
        } else {
            whole += 1;
        }

        let schedule = Schedule::new(&SchedulerConfig::default(), case.steps, grid.tokens());
        let schedule = schedule.expect("a schedule");
        let first = first_step(case.steps, *strength).expect("a step");
        assert_eq!([first as i64], *trace.i64("start"), "{name}");
        let noised = start.at(schedule.sigmas()[first]);
        compare(name, &trace, "latents.start", noised.clone(), TOLERANCE);

        let mut comparing = Comparing {
            case,
            trace: &trace,
            seen: 0,
        };
        let guidance = case.guided().then(|| Guidance {
            embeds: recorded(&trace, "negative_prompt_embeds", &device),
            scale: case.cfg,
            rule: GuidanceRule::Renormalised,
        });
        let expected = case.steps - first + 1 + usize::from(guidance.is_some());
        let put_back = |latents, sigma| start.put_back(latents, sigma);
        let embeds = recorded(&trace, "prompt_embeds", &device);
        let work = Denoising {
            guidance,
            start: first,
            after_step: Some(&put_back),
            ..Denoising::new(embeds, unpack(noised, grid), grid, &schedule)
        };
        let latents = denoise(&models.transformer(), work, &mut comparing).expect("latents");
        assert_eq!(comparing.seen, expected, "{name}");
        comparing.compare("latents.final", &latents, FINAL_TOLERANCE);

        let image = decode(&models.vae(), latents, grid, Tiling::Whole, &()).expect("an image");
        compare(name, &trace, "image", image, FINAL_TOLERANCE);
        println!("{name}: equal");
    }
    assert!(whole >= 4 && masked >= 3);
}

#[test]
fn a_mask_is_packed_as_the_reference_packs_it() {
    for image_case in image_cases() {
        let case = &image_case.case;
        if image_case.mask().is_none() {
            continue;
        }
        let trace = Trace::open(&case.trace);
        let device = Default::default();
        let grid = TokenGrid::of_image(case.width, case.height);
        let packed = recorded::<Flex, 3>(&trace, "mask", &device);
        let latent = unpack(packed.clone(), grid).narrow(1, 0, 1);
        // Greys of which every latent pixel has 8 x 8.
        let [_, _, height, width] = latent.dims();
        let values: Vec<f32> = latent.into_data().iter::<f32>().collect();
        let greys: Vec<u8> = (0..height * 8)
            .flat_map(|y| (0..width * 8).map(move |x| (y / 8, x / 8)))
            .map(|(y, x)| 255 * values[y * width + x] as u8)
            .collect();
        assert!(greys.contains(&0) && greys.contains(&255));
        let mask = LatentMask::binary(&greys, grid).tensor::<Flex>(&device);
        let mask = mask.repeat(&[1, 16, 1, 1]);
        compare(&case.name, &trace, "mask", pack(mask), 0.0);
    }
}
