//! Checkpoint files to Burn parameters.
//!
//! A path goes through these stages, each of which refuses what it does not understand:
//!
//! 1. [`container`]: one file, its header validated within bounds;
//! 2. [`checkpoint`]: a single file, or shards with their index, as one set of tensors;
//! 3. [`components`]: whether this is the transformer, the text encoder or the VAE;
//! 4. [`dialect`]: how FP8 weights and their scales are written;
//! 5. [`keymap`]: the names of the file as the canonical names of diffusers and transformers;
//! 6. [`Weights`]: all of that together, ready to size and build a module;
//! 7. [`load`]: fills the module, parameter by parameter, through Burn's `ModuleMapper`.
//!
//! A module comes with the name of the tensor for each of its parameters
//! ([`UnfilledModule`](backends::UnfilledModule)):
//!
//! ```no_run
//! use backends::{ParameterNames, TensorPart, UnfilledModule, weight::uninitialized_float};
//! use burn::module::{Module, Param};
//! use burn::tensor::{Tensor, backend::Backend};
//! use burn_flex::{Flex, FlexDevice};
//! use loader::{Component, LoadError, Weights};
//!
//! #[derive(Module, Debug)]
//! struct Norm<B: Backend> {
//!     gamma: Param<Tensor<B, 1>>,
//! }
//!
//! # fn main() -> Result<(), LoadError> {
//! let file = "qwen_image_fp8_e4m3fn.safetensors";
//! let weights = Weights::open(file.as_ref(), Component::Transformer)?;
//! let gamma = uninitialized_float([3584], &FlexDevice);
//! let mut names = ParameterNames::default();
//! names.note(gamma.id, "txt_norm.weight", TensorPart::Values);
//! let module = UnfilledModule { module: Norm::<Flex> { gamma }, names };
//! // Fails here: a module must have a parameter for every tensor of the file.
//! let (module, report) = loader::load(module, &weights, &FlexDevice, &mut ())?;
//! println!("{report}");
//! # let _ = module;
//! # Ok(())
//! # }
//! ```
//!
//! A LoRA is read by [`lora`], and goes beside the transformer's weights, not into them.
//!
//! Another format of files needs a module in [`container`], its types in [`ElementType`], its way
//! of scaling in [`dialect`] and, if its names are its own, a map in [`keymap`].
//!
//! Burn's own safetensors import is not used: it refuses FP8 and copies each tensor. Here a weight
//! on a CPU backend is the file mapping itself, and FP8 stays FP8.

pub mod checkpoint;
pub mod component;
pub mod container;
pub mod damage;
pub mod dialect;
pub mod element;
pub mod error;
pub mod keymap;
pub mod lora;
pub mod models_dir;
pub mod plan;
pub mod published;
pub mod read_rate;
pub mod read_through;
pub mod record;
pub mod report;
pub mod summary;
pub mod text;
pub mod watched;
pub mod weight_stream;
pub mod weights;

mod convert;
mod detect;
mod measurement;
mod progress;
mod resemblance;
mod rows;
mod scales;
mod source;
mod stream;

pub use checkpoint::{Checkpoint, FoundCheckpoint};
pub use component::{Component, ModelPart};
pub use container::safetensors::{Header, HeaderError};
pub use container::{Container, TensorEntry};
pub use damage::find_not_finite;
pub use detect::components;
pub use element::ElementType;
pub use error::LoadError;
pub use lora::{Adapters, Lora, load_adapters};
pub use models_dir::{FolderContents, ModelFiles};
pub use plan::{Footprint, GroupBytes, group_bytes};
pub use progress::LoadObserver;
pub use published::Published;
pub use read_rate::read_rate;
pub use read_through::{read_through, read_through_by};
pub use record::{Deferred, LoadMethod, check, load, load_by, load_deferring};
pub use report::{LoadReport, ReadMethod};
pub use resemblance::Resemblance;
pub use rows::read_rows;
pub use stream::Ring;
pub use summary::Summary;
pub use watched::WatchedFiles;
pub use weight_stream::{StreamFigures, StreamOptions, WeightStream};
pub use weights::Weights;

// The format is little-endian and tensors are used as they lie in the file.
const _: () = assert!(
    cfg!(target_endian = "little"),
    "big-endian machines are not supported"
);
