//! Requests as checked values: a front end reads flags, JSON or a form into them.

mod compute;
mod image_input;
mod image_request;
mod image_size;
mod limits;
mod lora;
mod lora_tag;
mod sampling;
mod seed;
mod sources;

pub use compute::{BackendName, ComputeConfig, DtypeChoice, StreamChoice, VaeTiling};
pub use image_input::ImageInput;
pub use image_request::Request;
pub use image_size::{ImageSize, MAX_SIDE, SIDE_MULTIPLE};
pub use limits::{MAX_LORA_WEIGHT, STEPS};
pub use lora::{LightningSteps, LoraConfig, NamedLoras, RecordedLoras};
pub use lora_tag::{LoraTag, take_out};
pub use sampling::{Asked, Preset, SamplerName, Sampling};
pub use seed::random_seed;
pub use sources::ModelSources;
