//! The members of the Qwen-Image family: everything that tells one from another and stands in none
//! of its files.
//!
//! The sizes of a model's layers are not here: they are read from its files (see
//! [`config`](crate::config)). The names of published files are the table of the crate that
//! downloads them.

use crate::config::{SchedulerConfig, TimeShift};
use crate::latents::PIXELS_PER_TOKEN;

/// A member: the defaults with which its images are made if neither the user nor a file says
/// otherwise, and its prompt template.
#[derive(Clone, Debug, PartialEq)]
pub struct Family {
    /// The sizes that the model was published for. The first is the default.
    pub sizes: &'static [ImageSize],
    /// Both sides of an image are multiples of this number of pixels.
    pub side_multiple: u32,
    /// Denoising steps.
    pub steps: usize,
    /// The scale of guidance by the negative prompt; 1 is no guidance.
    pub cfg_scale: f64,
    /// The negative prompt of guidance.
    pub negative_prompt: &'static str,
    /// The conversation that a prompt becomes a part of.
    pub template: PromptTemplate,
    /// The constants of the noise schedule.
    pub scheduler: SchedulerConfig,
    /// The shift of ComfyUI's workflows (node ModelSamplingAuraFlow).
    pub comfyui_shift: f64,
    /// The adapters that draw in few steps.
    pub lightning: Lightning,
}

/// A size that a model was published for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ImageSize {
    /// The ratio of width to height, such as `16:9`.
    pub ratio: &'static str,
    /// Pixels across.
    pub width: u32,
    /// Pixels down.
    pub height: u32,
}

/// The text around a prompt, and how much of its tokens the transformer gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PromptTemplate {
    /// The text before the prompt. The embeddings of its tokens are dropped.
    pub prefix: &'static str,
    /// The text after the prompt.
    pub suffix: &'static str,
    /// The most tokens of prompt and suffix that are encoded; a longer text is cut at its end.
    pub max_tokens: usize,
    /// The most embeddings that the transformer gets.
    pub max_sequence_length: usize,
}

/// The Lightning adapters: LoRAs that were distilled for a small number of steps.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Lightning {
    /// The numbers of steps for which there are adapters.
    pub steps: &'static [usize],
    /// The guidance scale that they were made for.
    pub cfg_scale: f64,
    /// The shift of the noise schedule that they were made for, the same for images of every
    /// size.
    pub shift: f64,
    /// The shift of ComfyUI's workflows with them.
    pub comfyui_shift: f64,
}

impl Family {
    /// The size of an image where nothing names another.
    pub const fn default_size(&self) -> ImageSize {
        self.sizes[0]
    }
}

impl ImageSize {
    const fn new(ratio: &'static str, width: u32, height: u32) -> Self {
        Self {
            ratio,
            width,
            height,
        }
    }

    /// The number of pixels.
    pub const fn pixels(&self) -> u64 {
        self.width as u64 * self.height as u64
    }
}

/// Qwen-Image, and Qwen-Image-2512, which has other weights and nothing else.
pub const QWEN_IMAGE: Family = Family {
    sizes: &[
        ImageSize::new("1:1", 1328, 1328),
        ImageSize::new("16:9", 1664, 928),
        ImageSize::new("9:16", 928, 1664),
        ImageSize::new("4:3", 1472, 1104),
        ImageSize::new("3:4", 1104, 1472),
        ImageSize::new("3:2", 1584, 1056),
        ImageSize::new("2:3", 1056, 1584),
    ],
    side_multiple: PIXELS_PER_TOKEN as u32,
    steps: 50,
    cfg_scale: 4.0,
    negative_prompt: " ",
    template: PromptTemplate {
        prefix: "<|im_start|>system\nDescribe the image by detailing the color, \
            shape, size, texture, quantity, text, spatial relationships of the objects and \
            background:<|im_end|>\n<|im_start|>user\n",
        suffix: "<|im_end|>\n<|im_start|>assistant\n",
        max_tokens: 1024,
        max_sequence_length: 512,
    },
    scheduler: SchedulerConfig {
        base_shift: 0.5,
        max_shift: 0.9,
        base_image_seq_len: 256.0,
        max_image_seq_len: 8192.0,
        shift_terminal: Some(0.02),
        use_dynamic_shifting: true,
        shift: 1.0,
        time_shift_type: TimeShift::Exponential,
    },
    comfyui_shift: 3.1,
    lightning: Lightning {
        steps: &[4, 8],
        cfg_scale: 1.0,
        shift: 3.0,
        comfyui_shift: 3.0,
    },
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_size_is_whole_tokens_and_no_larger_than_the_default() {
        let family = QWEN_IMAGE;
        for size in family.sizes {
            for side in [size.width, size.height] {
                assert!(side.is_multiple_of(family.side_multiple), "{size:?}");
            }
            let (across, down) = size.ratio.split_once(':').expect("a ratio");
            let ratio =
                across.parse::<f64>().expect("a number") / down.parse::<f64>().expect("a number");
            let actual = f64::from(size.width) / f64::from(size.height);
            assert!((actual / ratio - 1.0).abs() < 0.01, "{size:?}");
            assert!(size.pixels() <= family.default_size().pixels(), "{size:?}");
        }
    }
}
