//! Errors of a config.

/// Why the sizes of a model cannot be settled.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// The JSON is not a config of this model.
    #[error("{model}: the config cannot be read: {reason}")]
    Unreadable {
        /// Which model.
        model: &'static str,
        /// The JSON reader's message.
        reason: String,
    },
    /// The config says one thing and the tensors another.
    #[error(
        "{model}: the config says {field} = {configured}, but the tensors in the file show {inferred}: the config belongs to another file, or this one lacks tensors"
    )]
    Contradiction {
        /// Which model.
        model: &'static str,
        /// Which field of the config.
        field: &'static str,
        /// The config's value.
        configured: String,
        /// The value that the shapes show.
        inferred: String,
    },
    /// Neither the config nor the shapes tell.
    #[error(
        "{model}: {field} cannot be told from the file, which lacks tensors or a config: download it again, or put the model's config.json beside it, or its text into the file's metadata as \"config\""
    )]
    Unknown {
        /// Which model.
        model: &'static str,
        /// Which field of the config.
        field: &'static str,
    },
    /// A value that makes no model.
    #[error("{model}: {field} {rule}")]
    Invalid {
        /// Which model.
        model: &'static str,
        /// Which field of the config.
        field: &'static str,
        /// The rule that it breaks.
        rule: &'static str,
    },
    /// A relative of Qwen-Image that this program does not run.
    #[error("{model}: {feature} is set in the config: this variant of Qwen-Image is not supported")]
    Unsupported {
        /// Which model.
        model: &'static str,
        /// The config's field.
        feature: &'static str,
    },
    /// A field that asks for what is not computed here.
    #[error("{model}: {field} = {value} in the config is not supported: {why}")]
    Refused {
        /// Which model.
        model: &'static str,
        /// Which field of the config.
        field: &'static str,
        /// Its value.
        value: String,
        /// Why.
        why: &'static str,
    },
    /// Fewer layers than a published model of this width has, and no config that says so.
    #[error(
        "{model}: the file holds {found} of the {published} {what} that a model of its width has: it was cut short, download it again; if the model was made smaller, its config (in a diffusers folder config.json, in a single file \"config\" in its metadata) must say {field} = {found}"
    )]
    CutShort {
        /// Which model.
        model: &'static str,
        /// Its layers, in the plural.
        what: &'static str,
        /// The config's field that counts them.
        field: &'static str,
        /// In the file.
        found: usize,
        /// In the published model.
        published: usize,
    },
}
