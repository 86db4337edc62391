//! Latents that wait on disk until their image is written.

use std::collections::HashSet;

use backends::DeviceChoice;
use burn::tensor::TensorData;
use engine::kept_latents::KeptLatents;
use engine::prompt_cache;
use sha2::{Digest, Sha256};

use super::image_job::ImageJob;
use super::job::Job;

/// Those of a run.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    store: Option<KeptLatents>,
    /// Of each image to be made.
    keys: Vec<String>,
    own: HashSet<String>,
    /// What an earlier run has left.
    found: Vec<Option<TensorData>>,
    /// Whether it was told that they cannot be kept.
    told: bool,
}

impl Waiting {
    /// Looks what an earlier run has left for this one, and tells of it.
    pub(super) fn of(job: &Job<'_>, device: &DeviceChoice) -> Self {
        let folder = job.config.latents.as_deref();
        // The built-in model takes no time.
        let folder = folder.filter(|_| !job.config.sources.is_demo());
        let keys = || -> Option<Vec<String>> {
            let keys = job.images.iter();
            keys.map(|image| key(job, image, device)).collect()
        };
        let keyed = folder.and_then(|folder| Some((folder, keys()?)));
        let Some((folder, keys)) = keyed else {
            return Self {
                found: job.images.iter().map(|_| None).collect(),
                ..Self::default()
            };
        };
        let store = KeptLatents::open(folder);
        let channels = job.models.transformer.config.in_channels;
        let look_up = |(image, key): (&ImageJob, &String)| {
            store.get(key, [1, image.grid().tokens(), channels])
        };
        let found: Vec<_> = job.images.iter().zip(&keys).map(look_up).collect();
        let count = found.iter().flatten().count();
        if count > 0 {
            job.console.note(&format!(
                "{count} of {} images were denoised by an earlier run, and are only decoded",
                job.total
            ));
        }
        Self {
            store: Some(store),
            own: keys.iter().cloned().collect(),
            keys,
            found,
            told: false,
        }
    }

    /// Whether nothing is left to be denoised.
    pub(super) fn complete(&self) -> bool {
        self.found.iter().all(Option::is_some)
    }

    /// Whether an earlier run has left the latents of an image counted from 0.
    pub(super) fn holds(&self, index: usize) -> bool {
        self.found.get(index).is_some_and(Option::is_some)
    }

    /// What an earlier run has left of an image counted from 0.
    pub(super) fn take(&mut self, index: usize) -> Option<TensorData> {
        self.found.get_mut(index)?.take()
    }

    /// Keeps the latents of an image until it is written.
    pub(super) fn keep(&mut self, job: &Job<'_>, index: usize, latents: &TensorData) {
        let (Some(store), Some(key)) = (&self.store, self.keys.get(index)) else {
            return;
        };
        if let Err(error) = store.put(key, latents, &self.own)
            && job.images.len() > 1
            && !self.told
        {
            self.told = true;
            job.console.note(&format!(
                "note: latents cannot be kept in {} ({}): what is not decoded is lost if the \
                 process is killed",
                store.folder().display(),
                error.kind()
            ));
        }
    }

    /// Forgets the latents of an image that is written.
    pub(super) fn written(&self, index: usize) {
        if let (Some(store), Some(key)) = (&self.store, self.keys.get(index)) {
            store.remove(key);
        }
    }
}

/// What tells an image's latents from all others: its recipe, what the recipe leaves to files that
/// it does not name, the kind of device, and this build of the program.
fn key(job: &Job<'_>, image: &ImageJob, device: &DeviceChoice) -> Option<String> {
    let mut hash = Sha256::new();
    prompt_cache::add_build(&mut hash).ok()?;
    let mut add = |bytes: &[u8]| {
        hash.update((bytes.len() as u64).to_le_bytes());
        hash.update(bytes);
    };
    add(image.recipe.digest().ok()?.as_bytes());
    add(device.kind.name().as_bytes());
    let texts = [Some(image.prompt), image.negative];
    for text in texts.into_iter().flatten() {
        let text = job.texts.get(text)?;
        let ids = text.ids.iter().flat_map(|id| id.to_le_bytes());
        add(&ids.collect::<Vec<u8>>());
    }
    let sigmas = image.schedule.sigmas().iter();
    add(&sigmas
        .flat_map(|sigma| sigma.to_le_bytes())
        .collect::<Vec<u8>>());
    let noise = image.noise.iter().flatten();
    add(&noise
        .flat_map(|value| value.to_le_bytes())
        .collect::<Vec<u8>>());
    Some(format!("{:x}", hash.finalize()))
}
