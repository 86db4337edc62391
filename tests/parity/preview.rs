//! Previews show the image to come.

use burn::tensor::{FloatDType, Tensor};
use model::latents::TokenGrid;
use model::pipeline::{Denoising, Observer, encode_prompt, noise_of_seed};
use model::preview::LatentRgb;
use model::scheduler::Schedule;
use model::{SchedulerConfig, VaeConfig};
use tests::{Models, cases, shapes};

use crate::Flex;
use crate::resident::denoise;

/// Image pixels along the side of a latent pixel.
const SCALE: usize = 8;

/// Keeps the last estimate, and how many came.
#[derive(Default)]
struct Keeping {
    count: usize,
    last: Vec<f32>,
}

impl Observer<Flex> for Keeping {
    fn estimates(&self, step: usize) -> bool {
        step % 2 == 1
    }

    fn estimate(&mut self, _: usize, latents: &Tensor<Flex, 3>) {
        self.count += 1;
        self.last = latents.to_data().iter::<f32>().collect();
    }
}

#[test]
fn the_last_preview_of_the_demo_model_is_the_image_at_an_eighth() {
    let cases = cases();
    let case = cases.iter().find(|case| case.name == "demo").expect("one");
    let device = Default::default();
    let models = Models::<Flex>::new(case, device);
    let tokens = models.tokenizer().encode_prompt(&case.prompt);
    let embeds = encode_prompt(
        &models.text_encoder(),
        &tokens.expect("tokens"),
        FloatDType::F32,
        &device,
        &(),
    );
    let grid = TokenGrid::of_image(case.width, case.height);
    // Few steps: what is compared is the end of this very run.
    let schedule = Schedule::new(&SchedulerConfig::default(), 4, grid.tokens());
    let schedule = schedule.expect("a schedule");
    let noise = noise_of_seed::<Flex>(case.seed, 16, grid, &device);
    let work = Denoising::new(embeds.expect("embeddings"), noise, grid, &schedule);
    let mut keeping = Keeping::default();
    let latents = denoise(&models.transformer(), work, &mut keeping).expect("latents");
    assert_eq!(keeping.count, 2);

    // The last step goes down to no noise, so that its estimate is its result.
    let finals: Vec<f32> = latents.to_data().iter::<f32>().collect();
    for (estimate, result) in keeping.last.iter().zip(&finals) {
        assert!((estimate - result).abs() < 1e-4, "{estimate} {result}");
    }

    let weights = loader::Weights::open(&case.vae(), loader::Component::Vae).expect("a VAE");
    let config = VaeConfig::resolve(weights.config(), &shapes(&weights)).expect("a VAE");
    let colours = LatentRgb::resolve(weights.config(), config.z_dim).expect("colours");
    let preview = colours.planes(&keeping.last, grid).expect("a preview");
    let image =
        model::pipeline::decode(&models.vae(), latents, grid, model::vae::Tiling::Whole, &());
    let image: Vec<f32> = image.expect("an image").to_data().iter::<f32>().collect();
    let small = shrink(&image, case.width, case.height);
    assert_eq!(preview.len(), small.len());
    let error = mean(preview.iter().zip(&small).map(|(a, b)| (a - b).powi(2)));
    let average = mean(small.iter().copied());
    let spread = mean(small.iter().map(|value| (value - average).powi(2)));
    assert!(error < 0.3 * spread, "{error} of {spread}");
}

/// The means of squares of [`SCALE`] pixels, of planes `[3, height, width]`.
fn shrink(planes: &[f32], width: usize, height: usize) -> Vec<f32> {
    let mut small = Vec::new();
    for plane in planes.chunks_exact(width * height) {
        for y in (0..height).step_by(SCALE) {
            for x in (0..width).step_by(SCALE) {
                let rows = (y..y + SCALE).map(|y| &plane[y * width + x..][..SCALE]);
                small.push(mean(rows.flatten().copied()));
            }
        }
    }
    small
}

fn mean(values: impl Iterator<Item = f32>) -> f32 {
    let (sum, count) = values.fold((0.0, 0.0_f32), |(sum, count), value| {
        (sum + value, count + 1.0)
    });
    sum / count.max(1.0)
}
