//! Why an image cannot be made again from its record alone.

/// Why an image cannot be made again from its record alone.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Incomplete {
    /// Another program has written the file anew and left the recipe out.
    #[error(
        "another program has written it without its recipe, and what is left, `{}: {value}`, does \
         not tell enough",
        setting.key()
    )]
    Lost {
        /// The setting that has to be given.
        setting: LostSetting,
        /// The rest of the value.
        value: String,
    },
    /// The image started from the noise in this file.
    #[error("it was made from the noise in {0}")]
    Noise(String),
    /// The image started from another image.
    #[error("it was made from the image {image}")]
    InitImage {
        /// Name of that image's file.
        image: String,
        /// Name of the mask's file, if there was one.
        mask: Option<String>,
    },
    /// The image was made with another model.
    #[error("it was made with the model {recorded}, and the one found is {here}")]
    OtherModel {
        /// Name of the model that it was made with.
        recorded: String,
        /// Name of the model at hand.
        here: String,
    },
}

/// A setting of which the `parameters` text alone does not tell enough.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LostSetting {
    /// The LoRAs' files.
    Loras,
    /// The Lightning LoRA's file.
    Lightning,
    /// The file of the image that it started from.
    InitImage,
    /// The mask's file.
    Mask,
    /// The mask that was cropped to.
    MaskCrop,
    /// The file of the noise.
    Noise,
    /// The strength, with the image that it is about.
    Strength,
    /// The FP8 arithmetic.
    Fp8Compute,
}

impl LostSetting {
    /// All of them, in the order in which they are looked for.
    pub const ALL: [Self; 8] = [
        Self::Loras,
        Self::Lightning,
        Self::InitImage,
        Self::Mask,
        Self::MaskCrop,
        Self::Noise,
        Self::Strength,
        Self::Fp8Compute,
    ];

    /// The setting's name in the `parameters` text.
    pub const fn key(self) -> &'static str {
        match self {
            Self::Loras => "Lora",
            Self::Lightning => "Lightning",
            Self::InitImage => "Init image",
            Self::Mask => "Mask",
            Self::MaskCrop => "Masked area padding",
            Self::Noise => "Noise",
            Self::Strength => "Denoising strength",
            Self::Fp8Compute => "FP8 compute",
        }
    }
}
