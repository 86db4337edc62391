//! Events that a session tells its caller.

use backends::DeviceMemory;
use loader::{Component, LoadReport};

use super::{Note, Status};
use crate::error::Error;
use crate::image::RgbImage;
use crate::plan::Budget;
use crate::record::Recipe;
use crate::record::report::Streamed;

/// Work that takes a while.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activity {
    /// A model is loaded. [`Event::Bytes`] tells how far it is.
    Load {
        /// The model.
        component: Component,
        /// True if it stays in host memory.
        host_memory: bool,
    },
    /// LoRAs are loaded. [`Event::Bytes`] tells how far they are.
    LoadLoras {
        /// True if they stay in host memory.
        host_memory: bool,
    },
    /// Prompts become embeddings.
    EncodePrompts,
    /// An image to start from becomes latents.
    EncodeImage,
    /// Noise becomes latents. [`Event::Step`] tells how far it is.
    Denoise {
        /// The image, counted from 0 within the job.
        index: usize,
        /// The steps that are run.
        steps: usize,
    },
    /// Latents become pixels.
    Decode {
        /// The image, counted from 0 within the job.
        index: usize,
    },
}

/// When device memory was measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MemoryWhen {
    /// Something was loaded.
    Loaded,
    /// The work is done.
    Done,
}

/// The values of a tensor in host memory.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Values<'a> {
    /// Floating-point numbers.
    F32(&'a [f32]),
    /// Whole numbers.
    I64(&'a [i64]),
}

/// Something that happens in a session.
#[derive(Debug)]
pub enum Event<'a> {
    /// The user should know this.
    Note(Note),
    /// How the work goes.
    Status(Status),
    /// Latents of these images, counted from 0, are kept from an earlier run and are no work.
    Denoised(Vec<usize>),
    /// Work begins.
    Begin(Activity),
    /// So many bytes are loaded.
    Bytes {
        /// Bytes that are loaded.
        done: u64,
        /// Bytes that will be.
        total: u64,
    },
    /// So many steps of an image are done.
    Step {
        /// The image, counted from 0 within the job.
        index: usize,
        /// Steps that are done.
        done: usize,
    },
    /// The work that began last has ended, whether it came to its end or not.
    End,
    /// A model was loaded.
    Loaded {
        /// The model.
        component: Component,
        /// The model's name: its file's without the ending.
        name: &'a str,
        /// Figures.
        report: &'a LoadReport,
    },
    /// A LoRA was loaded.
    LoadedLora {
        /// The name of its file without the ending.
        name: String,
        /// Layers that it changes.
        targets: usize,
        /// The smallest and the largest rank.
        ranks: (usize, usize),
        /// The factor of its change.
        weight: f64,
        /// Bytes that it takes.
        bytes: u64,
        /// True if it stays in host memory.
        host_memory: bool,
    },
    /// The last LoRA was loaded.
    LoadedLoras(&'a LoadReport),
    /// A phase has computed with blocks that were streamed.
    Streamed {
        /// The model whose blocks they are.
        component: Component,
        /// Figures.
        streamed: &'a Streamed,
        /// Seconds that the phase took.
        seconds: f64,
    },
    /// How much device memory is in use.
    Memory {
        /// When it was measured.
        when: MemoryWhen,
        /// The driver's figures.
        memory: DeviceMemory,
        /// The memory that this process may use.
        budget: Budget,
    },
    /// The latents of an image are there, and kept on disk if the session keeps them.
    Kept {
        /// The image, counted from 0 within the job.
        index: usize,
    },
    /// A preview of an image, an eighth of its size.
    Preview {
        /// The image, counted from 0 within the job.
        index: usize,
        /// The preview.
        image: RgbImage,
    },
    /// An intermediate result, for a comparison with another program.
    Tensor {
        /// The tensor's name.
        name: &'a str,
        /// The tensor's shape.
        shape: &'a [usize],
        /// The tensor's values.
        values: Values<'a>,
    },
}

/// An image that is done.
#[derive(Debug, Clone, PartialEq)]
pub struct Drawn {
    /// The image's place in the job, counted from 0.
    pub index: usize,
    /// The pixels.
    pub image: RgbImage,
    /// How it can be made again.
    pub recipe: Recipe,
}

/// Takes what a session tells and what it makes.
pub trait Observer: Send {
    /// Takes an event.
    fn event(&mut self, event: Event<'_>) {
        let _ = event;
    }

    /// Takes an image as soon as it is done.
    ///
    /// # Errors
    /// Whatever keeps the image from where it should go; it ends the call.
    fn image(&mut self, drawn: Drawn) -> Result<(), Error>;

    /// Tells whether [`Event::Tensor`] is wanted, which takes time and host memory.
    fn wants_tensors(&self) -> bool {
        false
    }

    /// Tells whether there are any previews in this call.
    fn wants_previews(&self) -> bool {
        false
    }

    /// Tells whether a preview is wanted after a step of an image, both counted from 0.
    fn wants_preview(&self, index: usize, step: usize) -> bool {
        let _ = (index, step);
        false
    }
}

/// Keeps all images, and listens to nothing else.
#[derive(Debug, Default)]
pub struct Collected(pub Vec<Drawn>);

impl Observer for Collected {
    fn image(&mut self, drawn: Drawn) -> Result<(), Error> {
        self.0.push(drawn);
        Ok(())
    }
}
