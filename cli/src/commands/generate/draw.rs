//! The phases after encoding: noise becomes latents, and these become images.

use backends::{ModelBackend, OnBackend};
use burn::tensor::{DType, Tensor, TensorData};
use model::guidance::{Guidance, GuidanceRule};
use model::pipeline::{self, Denoising};

use super::encode::Embeds;
use super::observer::{Interruptible, StepObserver, record, to_host};
use super::run::Run;
use crate::console;
use crate::error::CliError;
use crate::interrupt;
use crate::output::atomic_file;
use crate::output::image::RgbImage;
use crate::output::report::ImageRecord;
use crate::plan::PhaseName;
use crate::survey;

/// Denoises and decodes all images, with one model in memory at a time.
pub(super) struct Draw<'r, 'a> {
    /// The run.
    pub(super) run: &'r mut Run<'a>,
    /// What guides the images.
    pub(super) embeds: Embeds,
}

impl OnBackend for Draw<'_, '_> {
    type Output = Result<(), CliError>;

    fn run<B: ModelBackend>(self, device: B::Device) -> Self::Output {
        let Self { run, embeds } = self;
        let latents = denoise::<B>(run, embeds, &device)?;
        decode::<B>(run, latents, &device)?;
        run.tell_memory::<B>("Final VRAM", &device);
        Ok(())
    }
}

/// The latents of every image. They wait in host memory, so that a batch of any length leaves the
/// device's to the models.
fn denoise<B: ModelBackend>(
    run: &mut Run<'_>,
    embeds: Embeds,
    device: &B::Device,
) -> Result<Vec<TensorData>, CliError> {
    let job = run.job;
    let transformer = survey::transformer::<B>(&job.models, device);
    let weights = &job.models.transformer.weights;
    let loaded = run.load(PhaseName::Denoise, transformer, weights, device)?;

    let computing = run.compute::<B>(device);
    let on_device = |data| Tensor::<B, 3>::from_data(data, (device, DType::F32));
    let prompt = on_device(embeds.prompt);
    let negative = embeds.negative.map(on_device);
    let count = job.targets.len();
    let mut all = Vec::with_capacity(count);
    for image in 0..count {
        let noise = noise::<B>(run, image, device)?;
        let message = match count {
            1 => "Denoising".to_owned(),
            _ => format!("Denoising image {} of {count}", image + 1),
        };
        let mut observer = StepObserver {
            progress: run.progress.steps(&message, job.schedule.steps()),
            trace: run.trace.as_mut(),
            failed: None,
        };
        let work = Denoising {
            guidance: negative.clone().map(|embeds| Guidance {
                embeds,
                scale: job.config.cfg_scale,
                rule: GuidanceRule::Renormalised,
            }),
            dtype: run.setting.dtype,
            ..Denoising::new(prompt.clone(), noise, job.grid(), &job.schedule)
        };
        let latents = B::in_exact_memory(device, || {
            pipeline::denoise(&loaded.module, work, &mut observer)
        });
        if let Some(error) = observer.failed {
            return Err(error);
        }
        let latents = latents?;
        let shape = latents.dims();
        let values = to_host(latents)?;
        if let Some(trace) = &mut run.trace {
            trace.add_f32("latents.final", &shape, &values);
        }
        all.push(TensorData::new(values, shape));
    }
    drop((prompt, negative));
    run.computed(computing, &loaded.planned);
    run.unload::<B, _>(loaded, device)?;
    Ok(all)
}

fn noise<B: ModelBackend>(
    run: &mut Run<'_>,
    image: usize,
    device: &B::Device,
) -> Result<Tensor<B, 4>, CliError> {
    let job = run.job;
    let channels = job.models.vae.config.z_dim;
    let noise = match &job.noise {
        Some(values) => {
            let data = TensorData::new(values.clone(), job.grid().latent_shape(channels));
            Tensor::from_data(data, (device, DType::F32))
        }
        None => pipeline::noise_of_seed(job.seed_of(image), channels, job.grid(), device),
    };
    if let Some(trace) = &mut run.trace {
        record(trace, "noise", noise.clone().unsqueeze_dim::<5>(1))?;
        let sigmas = job.schedule.sigmas();
        trace.add_f32("sigmas", &[sigmas.len()], sigmas);
    }
    Ok(noise)
}

/// Writes every image and prints its path.
fn decode<B: ModelBackend>(
    run: &mut Run<'_>,
    latents: Vec<TensorData>,
    device: &B::Device,
) -> Result<(), CliError> {
    let job = run.job;
    let vae = survey::vae_decoder::<B>(&job.models, device);
    let weights = &job.models.vae.weights;
    let loaded = run.load(PhaseName::Decode, vae, weights, device)?;

    let computing = run.compute::<B>(device);
    for (image, (latents, target)) in latents.into_iter().zip(&job.targets).enumerate() {
        let busy = run.progress.busy("Decoding the image");
        let latents = Tensor::<B, 3>::from_data(latents, (device, DType::F32));
        let tiling = loaded.planned.tiling;
        let pixels = B::in_exact_memory(device, || {
            pipeline::decode(&loaded.module, latents, job.grid(), tiling, &Interruptible)
        })?;
        let planes = to_host(pixels)?;
        drop(busy);
        if let Some(trace) = &mut run.trace {
            let shape = [1, 3, job.height as usize, job.width as usize];
            trace.add_f32("image", &shape, &planes);
        }
        let png = RgbImage::from_planes(&planes, job.width, job.height)?
            .to_png(&job.parameters(image))?;
        interrupt::check()?;
        let path = atomic_file::write_target(target, &png)?;
        console::stdout(&format!("{}\n", path.display()))?;
        run.images.push(ImageRecord {
            path,
            seed: job.noise.is_none().then(|| job.seed_of(image)),
        });
    }
    run.computed(computing, &loaded.planned);
    run.unload::<B, _>(loaded, device)
}
