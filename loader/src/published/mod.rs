//! The published checkpoints' headers: every key, dtype and shape, without the weights.
//!
//! [`Published`] names the files and lists their tensors. [`write()`] makes a file of any list of
//! tensors, at its full size: with holes for weights, which takes no disk, or with random
//! weights, which a device has to read and compute with as if they were the trained ones.
//!
//! Each line of a list is `DTYPE SHAPE PATTERN`; a pattern stands for the keys of all its layers.

mod fault;
mod fill;
mod layout;
mod pattern;
mod space;
mod values;
mod write;

#[cfg(test)]
mod tests;

use std::path::PathBuf;

pub use fault::{WriteError, WriteFault};
pub use layout::Layout;
pub use space::check_space;
pub use write::{Filling, Overwrite, write};

use crate::component::Component;
use crate::element::ElementType;

/// A tensor without its elements.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TensorSpec {
    /// Its name in the file.
    pub key: String,
    /// Type of its elements.
    pub dtype: ElementType,
    /// Its dimensions, outermost first; empty for a scalar.
    pub shape: Vec<usize>,
}

/// A checkpoint file as it can be downloaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Published {
    /// ComfyUI's plain FP8 transformer: 60 layers, every tensor E4M3.
    Transformer,
    /// ComfyUI's scaled FP8 text encoder: Qwen2.5-VL 7B, vision tower included.
    TextEncoder,
    /// ComfyUI's BF16 VAE, in the names of Wan.
    Vae,
    /// The same VAE in the names of diffusers.
    DiffusersVae,
}

impl Published {
    /// The files that make up a ComfyUI `models` tree, in the order in which they are used.
    pub const COMFYUI: [Self; 3] = [Self::TextEncoder, Self::Transformer, Self::Vae];

    /// The model that the file is of.
    pub const fn component(self) -> Component {
        match self {
            Self::Transformer => Component::Transformer,
            Self::TextEncoder => Component::TextEncoder,
            Self::Vae | Self::DiffusersVae => Component::Vae,
        }
    }

    /// The name under which it is published.
    pub const fn file_name(self) -> &'static str {
        match self {
            Self::Transformer => "qwen_image_fp8_e4m3fn.safetensors",
            Self::TextEncoder => "qwen_2.5_vl_7b_fp8_scaled.safetensors",
            Self::Vae => "qwen_image_vae.safetensors",
            Self::DiffusersVae => "diffusion_pytorch_model.safetensors",
        }
    }

    /// Its path below a ComfyUI `models` folder, file name included.
    pub fn path_in_tree(self) -> PathBuf {
        let folder = match self.component() {
            Component::Transformer => "diffusion_models",
            Component::TextEncoder => "text_encoders",
            Component::Vae => "vae",
        };
        [folder, self.file_name()].into_iter().collect()
    }

    /// Its tensors, in no order that means anything; [`Layout`] orders them.
    pub fn tensors(self) -> Vec<TensorSpec> {
        let list = match self {
            Self::Transformer => include_str!("lists/qwen_image_fp8_e4m3fn.txt"),
            Self::TextEncoder => include_str!("lists/qwen_2.5_vl_7b_fp8_scaled.txt"),
            Self::Vae => include_str!("lists/qwen_image_vae.txt"),
            Self::DiffusersVae => include_str!("lists/diffusers_vae.txt"),
        };
        // The lists are part of the program.
        pattern::tensors(list).expect("a list of tensors")
    }

    /// Its header, and where each tensor lies.
    pub fn layout(self) -> Layout {
        Layout::new(self.tensors()).expect("keys that differ")
    }
}
