//! What is recorded of an image: how it was made, and from which files.

mod used_lora;

pub use used_lora::UsedLora;
