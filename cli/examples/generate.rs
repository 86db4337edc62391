//! The crates as a library: a prompt becomes an image on whatever device there is.
//!
//! ```sh
//! cargo run --release -p cli --example generate -- MODELS "a red fox" fox.png
//! ```

use std::error::Error;
use std::path::{Path, PathBuf};

use backends::{ModelBackend, OnBackend};
use burn::module::Module;
use burn::tensor::FloatDType;
use loader::{Component, FoundCheckpoint, ModelFiles, Weights};
use model::guidance::{Guidance, GuidanceRule};
use model::latents::TokenGrid;
use model::pipeline::{self, Denoising};
use model::scheduler::Schedule;
use model::vae::Tiling;
use model::{Builder, ConfigError, SchedulerConfig, TextEncoder, Tokenizer};
use model::{TextEncoderConfig, Transformer, TransformerConfig, VaeConfig, VaeDecoder};
use serde_json::Value;

type Failure = Box<dyn Error + Send + Sync>;
type Shapes<'a> = dyn Fn(&str) -> Option<Vec<usize>> + 'a;

/// What to draw, with which models.
pub(crate) struct DrawnImage {
    /// A ComfyUI `models` tree or a diffusers folder.
    pub(crate) models: PathBuf,
    /// What the image shows.
    pub(crate) prompt: String,
    /// Pixels along each side.
    pub(crate) side: usize,
    /// Denoising steps.
    pub(crate) steps: usize,
    /// Seed of the noise.
    pub(crate) seed: u64,
}

impl OnBackend for DrawnImage {
    /// The pixels, f32 `[3, side, side]` in [-1, 1].
    type Output = Result<Vec<f32>, Failure>;

    /// One model is in memory at a time: each is dropped before the next one is loaded.
    fn run<B: ModelBackend>(self, device: B::Device) -> Self::Output {
        let files = ModelFiles::discover(&self.models)?;
        let dtype = FloatDType::F32;

        let tokenizer = Tokenizer::open(&files.tokenizer.ok_or("no tokenizer")?)?;
        let encoder: TextEncoder<B> = load(
            (files.text_encoder, Component::TextEncoder),
            |config, shapes| TextEncoderConfig::resolve(config, shapes),
            TextEncoder::uninitialized,
            &device,
        )?;
        let encode = |prompt: &str| -> Result<_, Failure> {
            let tokens = tokenizer.encode_prompt(prompt)?;
            Ok(pipeline::encode_prompt(
                &encoder,
                &tokens,
                dtype,
                &device,
                &(),
            )?)
        };
        let (prompt, negative) = (encode(&self.prompt)?, encode(" ")?);
        drop(encoder);

        let transformer: Transformer<B> = load(
            (files.transformer, Component::Transformer),
            |config, shapes| TransformerConfig::resolve(config, shapes),
            Transformer::uninitialized,
            &device,
        )?;
        let grid = TokenGrid::of_image(self.side, self.side);
        let schedule = Schedule::new(&SchedulerConfig::default(), self.steps, grid.tokens())?;
        let noise = pipeline::noise_of_seed(self.seed, 16, grid, &device);
        let mut work = Denoising::new(prompt, noise, grid, &schedule);
        work.guidance = Some(Guidance {
            embeds: negative,
            scale: 4.0,
            rule: GuidanceRule::Renormalised,
        });
        let latents = pipeline::denoise(&transformer, work, &mut ())?;
        drop(transformer);

        let vae: VaeDecoder<B> = load(
            (files.vae, Component::Vae),
            |config, shapes| VaeConfig::resolve(config, shapes),
            VaeDecoder::uninitialized,
            &device,
        )?;
        let pixels = pipeline::decode(&vae, latents, grid, Tiling::Whole, &())?;
        Ok(pixels.into_data().iter::<f32>().collect())
    }
}

/// A model from its file: its sizes by `resolve`, an empty module of these by `build`, and the
/// file's tensors into it.
fn load<B: ModelBackend, C, M: Module<B>>(
    (found, component): (Option<FoundCheckpoint>, Component),
    resolve: impl Fn(Option<&Value>, &Shapes<'_>) -> Result<C, ConfigError>,
    build: impl Fn(&C, &Builder<'_, B>) -> M,
    device: &B::Device,
) -> Result<M, Failure> {
    let weights = Weights::of(found.ok_or("a model's file is missing")?.open()?, component)?;
    let shapes = |name: &str| weights.shape(name).map(<[usize]>::to_vec);
    let config = resolve(weights.config(), &shapes)?;
    let formats = |name: &str| weights.format(name);
    let module = Builder::build(device, &formats, |root| build(&config, root));
    Ok(loader::load(module, &weights, device, &mut ())?.0)
}

/// Draws an image and writes it as a PNG.
///
/// # Errors
/// Whatever stands in the way.
pub(crate) fn draw(image: DrawnImage, output: &Path) -> Result<(), Failure> {
    let side = image.side;
    let device = backends::choose("auto", None)?;
    let planes = backends::dispatch(&device, image)??;
    let level = |value: f32| ((value * 0.5 + 0.5) * 255.0).round_ties_even() as u8;
    let pixels: Vec<u8> = (0..side * side)
        .flat_map(|pixel| [0, 1, 2].map(|plane| level(planes[plane * side * side + pixel])))
        .collect();
    let file = std::fs::File::create(output)?;
    let mut encoder = png::Encoder::new(file, side as u32, side as u32);
    encoder.set_color(png::ColorType::Rgb);
    encoder.write_header()?.write_image_data(&pixels)?;
    Ok(())
}

#[allow(dead_code)] // A test calls `draw` alone.
fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [models, prompt, output] = arguments.as_slice() else {
        return Err("usage: generate MODELS PROMPT FILE.png".into());
    };
    let image = DrawnImage {
        models: models.into(),
        prompt: prompt.clone(),
        side: 1328,
        steps: 50,
        seed: 1,
    };
    draw(image, Path::new(output))
}
