//! Latents that wait on disk until their image is written.

use std::collections::HashSet;

use backends::DeviceChoice;
use burn::tensor::TensorData;
use sha2::{Digest, Sha256};

use super::Session;
use super::job::{ImageJob, Job};
use super::run::Run;
use crate::cache;
use crate::events::Note;
use crate::kept_latents::KeptLatents;

/// The latents of a job on disk.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    store: Option<KeptLatents>,
    /// The key of each image.
    keys: Vec<String>,
    own: HashSet<String>,
    /// The latents that an earlier run has left.
    found: Vec<Option<TensorData>>,
    /// True if it was told that they cannot be kept.
    told: bool,
}

impl Waiting {
    /// Looks what an earlier run has left for this job.
    pub(super) fn of(session: &Session, job: &Job, device: &DeviceChoice) -> Self {
        let folder = session.kept.latents.as_deref();
        let keys = || -> Option<Vec<String>> {
            let keys = job.images().iter();
            keys.map(|image| key(job, image, device)).collect()
        };
        let keyed = folder.and_then(|folder| Some((folder, keys()?)));
        let Some((folder, keys)) = keyed else {
            return Self {
                found: job.images().iter().map(|_| None).collect(),
                ..Self::default()
            };
        };
        let store = KeptLatents::open(folder);
        let channels = session.models.transformer.config.in_channels;
        let look_up = |(image, key): (&ImageJob, &String)| {
            store.get(key, [1, image.settled.grid().tokens(), channels])
        };
        let found: Vec<_> = job.images().iter().zip(&keys).map(look_up).collect();
        Self {
            store: Some(store),
            own: keys.iter().cloned().collect(),
            keys,
            found,
            told: false,
        }
    }

    /// The images whose latents an earlier run has left, counted from 0.
    pub(super) fn found(&self) -> Vec<usize> {
        let found = self.found.iter().enumerate();
        found
            .filter_map(|(index, latents)| latents.as_ref().map(|_| index))
            .collect()
    }

    /// Tells whether nothing is left to be denoised.
    pub(super) fn complete(&self) -> bool {
        self.found.iter().all(Option::is_some)
    }

    /// Takes what an earlier run has left of an image counted from 0.
    pub(super) fn take(&mut self, index: usize) -> Option<TensorData> {
        self.found.get_mut(index)?.take()
    }

    /// Forgets the latents of an image that is written.
    pub(super) fn written(&self, index: usize) {
        if let (Some(store), Some(key)) = (&self.store, self.keys.get(index)) {
            store.remove(key);
        }
    }
}

impl Run<'_> {
    /// Keeps the latents of an image until it is written.
    pub(super) fn keep_latents(&mut self, index: usize, latents: &TensorData) {
        let waiting = &self.waiting;
        let (Some(store), Some(key)) = (&waiting.store, waiting.keys.get(index)) else {
            return;
        };
        if let Err(error) = store.put(key, latents, &waiting.own)
            && self.job.images().len() > 1
            && !waiting.told
        {
            let note = Note::LatentsNotKept {
                folder: store.folder().to_owned(),
                error: error.kind(),
            };
            self.waiting.told = true;
            self.note(note);
        }
    }
}

/// Hashes what tells an image's latents from all others: its recipe, what the recipe leaves to
/// files that it does not name, the kind of device, and this build of the program.
fn key(job: &Job, image: &ImageJob, device: &DeviceChoice) -> Option<String> {
    let settled = &image.settled;
    let mut hash = Sha256::new();
    cache::add_build(&mut hash).ok()?;
    let mut add = |bytes: &[u8]| {
        hash.update((bytes.len() as u64).to_le_bytes());
        hash.update(bytes);
    };
    add(settled.recipe.digest().ok()?.as_bytes());
    add(device.kind.name().as_bytes());
    let texts = [Some(image.prompt), image.negative];
    for text in texts.into_iter().flatten() {
        let text = job.texts.get(text)?;
        let ids = text.ids.iter().flat_map(|id| id.to_le_bytes());
        add(&ids.collect::<Vec<u8>>());
    }
    let sigmas = settled.schedule.sigmas().iter();
    add(&sigmas
        .flat_map(|sigma| sigma.to_le_bytes())
        .collect::<Vec<u8>>());
    let noise = settled.noise.iter().flatten();
    add(&noise
        .flat_map(|value| value.to_le_bytes())
        .collect::<Vec<u8>>());
    Some(format!("{:x}", hash.finalize()))
}
