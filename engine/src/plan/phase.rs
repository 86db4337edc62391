//! The memory that one phase needs, and whether it fits.

use backends::Numerics;
use loader::{Component, LoadMethod};
use model::VaeConfig;
use model::memory::{self, DenoisingSizes};
use model::vae::Tiling;
use serde::{Serialize, Serializer};

use super::blocks::{Blocks, ModulationBytes};
use super::flops::pass_flops;
use super::setting::{Place, Setting};
use super::streaming::{Candidate, Streaming, slots};
use super::subject::{ModelBytes, Subject};
use super::tiling::tiling;
use super::work::Work;

/// A phase that has a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum PhaseName {
    /// Text to embeddings.
    Encode,
    /// The image to start from to latents, where there is one.
    EncodeImage,
    /// Noise to latents.
    Denoise,
    /// Latents to pixels.
    Decode,
}

impl PhaseName {
    /// The phases in their order.
    pub const ALL: [Self; 4] = [Self::Encode, Self::EncodeImage, Self::Denoise, Self::Decode];

    /// The phase's name in tables and reports.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Encode => "encode",
            Self::EncodeImage => "encode_image",
            Self::Denoise => "denoise",
            Self::Decode => "decode",
        }
    }

    fn place(self, setting: &Setting) -> Place {
        match self {
            Self::Encode => setting.encoder_place,
            Self::EncodeImage | Self::Denoise | Self::Decode => setting.place,
        }
    }
}

/// The answer to whether a phase fits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// The phase fits.
    Fits,
    /// The phase does not fit.
    TooLarge,
    /// The processor's memory that is free is less; the system will swap or refuse.
    OverHostMemory,
    /// Nothing tells how much memory there is.
    Unknown,
}

/// A phase's figures, in bytes.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct PhasePlan {
    /// Which phase.
    pub phase: PhaseName,
    /// The phase's model.
    pub model: Component,
    /// The place where it runs.
    pub place: Place,
    /// Tensors that are loaded.
    pub tensors: usize,
    /// Their bytes in the file.
    pub file_bytes: u64,
    /// Weights that are read once, before the first step, and do not stay in memory: those that
    /// modulate a transformer's blocks. The other figures of weights in memory are without them.
    pub read_once_bytes: u64,
    /// Weights that are FP8 in memory, with their scales, those that are streamed included.
    pub fp8_bytes: u64,
    /// The other weights in memory, those that are streamed included.
    pub other_bytes: u64,
    /// The LoRAs among the other weights.
    pub adapter_bytes: u64,
    /// Weights that are used where they lie in the file's mapping and take no memory of their
    /// own.
    pub mapped_bytes: u64,
    /// Activations and scratch at the peak, estimated.
    pub working_bytes: u64,
    /// The modulations among them, which stay with the weights from job to job.
    #[serde(skip)]
    pub modulation_bytes: u64,
    /// Weights that are not mapped, or what streaming holds of them, and working memory.
    pub peak_bytes: u64,
    /// The memory that may be taken, where that is known.
    pub available_bytes: Option<u64>,
    /// How the VAE goes through the image; whole in the other phases.
    #[serde(rename = "tile_side", serialize_with = "tile_side")]
    pub tiling: Tiling,
    /// What is streamed, where not all fits: in as little memory as it takes, if even that does
    /// not.
    pub streaming: Option<Streaming>,
    /// Prompts that go through the text encoder together: all there are where its layers are
    /// streamed, as far as they fit, and else one.
    #[serde(skip)]
    pub prompts_at_once: usize,
    /// The answer to whether it fits.
    pub verdict: Verdict,
}

impl PhasePlan {
    /// Tells whether it is known not to fit.
    pub fn too_large(&self) -> bool {
        self.verdict == Verdict::TooLarge
    }

    /// The bytes that its weights take in memory, less those that stay in their file's mapping.
    pub fn weight_bytes(&self) -> u64 {
        self.peak_bytes - self.working_bytes
    }

    /// The bytes that stay in memory with the model: its weights, and what was computed from them.
    pub fn kept_bytes(&self) -> u64 {
        self.weight_bytes() + self.modulation_bytes
    }

    fn new(phase: PhaseName, model: Model<'_>, setting: &Setting, working: u64) -> Self {
        let Model {
            component,
            bytes,
            blocks,
            compute_seconds,
        } = model;
        let place = phase.place(setting);
        let weights = bytes.loaded;
        let mapped = mapped(bytes, place, setting);
        let once = read_once(blocks, place, setting);
        let whole = weights.total() - mapped - once.total();
        let available = setting.available(place);
        let room = available.map(|available| available.saturating_sub(working));
        let short = room.filter(|room| setting.streams(place) && whole > *room);
        let streaming = short.and_then(|room| {
            let candidate = Candidate {
                blocks,
                weights: whole,
                place,
                one_pass: phase == PhaseName::Encode,
                compute_seconds,
            };
            candidate.streaming(room, setting)
        });
        let peak = streaming.map_or(whole, |streaming| streaming.held_bytes) + working;
        Self {
            phase,
            model: component,
            place,
            tensors: bytes.tensors,
            file_bytes: bytes.file,
            read_once_bytes: once.total(),
            fp8_bytes: weights.fp8 - once.fp8,
            other_bytes: weights.dense + weights.converted - once.dense,
            adapter_bytes: 0,
            mapped_bytes: mapped,
            working_bytes: working,
            modulation_bytes: 0,
            peak_bytes: peak,
            available_bytes: available,
            tiling: Tiling::Whole,
            streaming,
            prompts_at_once: 1,
            verdict: match (available, place) {
                (None, _) => Verdict::Unknown,
                (Some(available), _) if peak <= available => Verdict::Fits,
                (Some(_), Place::Device) => Verdict::TooLarge,
                (Some(_), Place::Processor) => Verdict::OverHostMemory,
            },
        }
    }
}

/// A model as a phase uses it.
#[derive(Clone, Copy)]
struct Model<'a> {
    component: Component,
    bytes: &'a ModelBytes,
    blocks: &'a Blocks,
    /// Seconds that a pass through its blocks computes, where they are known.
    compute_seconds: Option<f64>,
}

/// Image pixels along the side of the VAE's tiles; none where it works on the whole.
fn tile_side<S: Serializer>(tiling: &Tiling, serializer: S) -> Result<S::Ok, S::Error> {
    match tiling {
        Tiling::Whole => serializer.serialize_none(),
        Tiling::Tiles { side } => serializer.serialize_some(side),
    }
}

/// Bytes of weights that need no memory of their own in a place.
fn mapped(bytes: &ModelBytes, place: Place, setting: &Setting) -> u64 {
    match (place, setting.weights) {
        (Place::Processor, LoadMethod::InPlace) => bytes.loaded.fp8 + bytes.loaded.dense,
        (Place::Processor, LoadMethod::Read) | (Place::Device, _) => 0,
    }
}

/// Weights that are read once: all that modulate, where they would take memory of their own.
fn read_once(blocks: &Blocks, place: Place, setting: &Setting) -> ModulationBytes {
    match (place, setting.weights) {
        (Place::Processor, LoadMethod::InPlace) => ModulationBytes::default(),
        (Place::Processor, LoadMethod::Read) | (Place::Device, _) => blocks.modulations,
    }
}

/// Plans the phases, in their order.
pub(super) fn phases(subject: &Subject, work: &Work, setting: &Setting) -> Vec<PhasePlan> {
    let encoder = &subject.text_encoder;
    let encoding = |prompts| {
        let numerics = setting.numerics(setting.encoder_place);
        memory::text_encoder(&encoder.config, prompts, work.encoder_tokens, numerics)
    };
    let transformer = &subject.transformer;
    let numerics = Numerics {
        arithmetic: setting.arithmetic,
        ..setting.numerics(setting.place)
    };
    let rank = subject.adapters.rank;
    let sizes = DenoisingSizes {
        image_tokens: work.image_tokens(),
        text_lengths: &work.text_lengths(),
        timesteps: work.timesteps,
        rank,
    };
    let once = read_once(&transformer.blocks, setting.place, setting);
    let modulating = memory::modulations(&transformer.config, work.timesteps, rank, numerics)
        + slots(setting.place) * once.slot;
    let denoising = memory::transformer(&transformer.config, sizes, numerics).max(modulating);
    let adapter_bytes = subject.adapters.bytes(numerics);
    let adapted = transformer.bytes.with(&subject.adapters, adapter_bytes);
    let phase = |name, model: Model<'_>, working| PhasePlan::new(name, model, setting, working);
    let vae = &subject.vae;
    let vae_phase = |name, bytes: &ModelBytes, memory: VaeMemory, beside: Option<u64>| {
        let needs = |tiling| {
            let numerics = setting.numerics(setting.place);
            memory(&vae.config, work.width, work.height, tiling, numerics)
        };
        let weights = bytes.loaded.total() - mapped(bytes, setting.place, setting);
        let available = setting.available(setting.place);
        let spare = available.map(|available| available.saturating_sub(weights));
        let tiles = |spare| tiling(setting.vae_tiling, needs, spare);
        // Smaller tiles that leave the transformer where it is are better than images that wait.
        let room = spare
            .zip(beside)
            .and_then(|(spare, beside)| spare.checked_sub(beside));
        let tiling = room
            .map(|room| (tiles(Some(room)), room))
            .filter(|(tiling, room)| needs(*tiling) <= *room)
            .map_or_else(|| tiles(spare), |(tiling, _)| tiling);
        let tiling = match name {
            PhaseName::Decode => work.decoder_tiling.unwrap_or(tiling),
            _ => tiling,
        };
        let model = Model {
            component: Component::Vae,
            bytes,
            blocks: &vae.blocks,
            compute_seconds: None,
        };
        PhasePlan {
            tiling,
            ..phase(name, model, needs(tiling))
        }
    };
    let text_encoder = Model {
        component: Component::TextEncoder,
        bytes: &encoder.bytes,
        blocks: &encoder.blocks,
        compute_seconds: None,
    };
    let mut encode = phase(PhaseName::Encode, text_encoder, encoding(1));
    if encode.streaming.is_some() {
        // A pass over the layers costs as much for one prompt as for all.
        let several = (2..=work.texts).rev().map(|prompts| PhasePlan {
            prompts_at_once: prompts,
            ..phase(PhaseName::Encode, text_encoder, encoding(prompts))
        });
        let mut fitting = several.filter(|several| several.verdict == Verdict::Fits);
        encode = fitting.next().unwrap_or(encode);
    }
    let encode_image = subject
        .vae_encoder
        .as_ref()
        .map(|bytes| vae_phase(PhaseName::EncodeImage, bytes, memory::vae_encoder, None));
    let flops = pass_flops(
        &transformer.config,
        work.image_tokens(),
        &work.text_lengths(),
    );
    let model = Model {
        component: Component::Transformer,
        bytes: &adapted,
        blocks: &transformer.blocks,
        compute_seconds: setting.flops_per_second.map(|rate| flops / rate),
    };
    let denoise = PhasePlan {
        adapter_bytes,
        modulation_bytes: memory::modulation_table(&transformer.config, work.timesteps, numerics),
        ..phase(PhaseName::Denoise, model, denoising)
    };
    let wanted = work.images > 1 && setting.place == Place::Device && !setting.one_model;
    let beside = wanted.then_some(denoise.peak_bytes);
    let decode = vae_phase(PhaseName::Decode, &vae.bytes, memory::vae_decoder, beside);
    std::iter::once(encode)
        .chain(encode_image)
        .chain([denoise, decode])
        .collect()
}

/// The working memory of one half of the VAE.
type VaeMemory = fn(&VaeConfig, u32, u32, Tiling, Numerics) -> u64;
