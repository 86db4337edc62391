//! One of the models of a checkpoint that holds several, as ComfyUI saves them in one file.

use serde_json::Value;

use super::Checkpoint;
use crate::component::Component;

/// Fields of a config by which it is known whose it is.
const TELLING_FIELDS: [(Component, &[&str]); 3] = [
    (
        Component::Transformer,
        &["joint_attention_dim", "axes_dims_rope", "num_layers"],
    ),
    (
        Component::TextEncoder,
        &["text_config", "num_hidden_layers", "num_key_value_heads"],
    ),
    (Component::Vae, &["z_dim", "base_dim", "latents_mean"]),
];

impl Checkpoint {
    /// The tensors of one model of several: those after `prefix` that are not after one of the
    /// `others`, which stand before the other models' keys. What the files say about all models
    /// together counts only as far as it is about this one.
    pub(crate) fn part(&self, component: Component, prefix: &str, others: &[String]) -> Self {
        let elsewhere: Vec<String> = others
            .iter()
            .filter(|other| other.len() > prefix.len())
            .cloned()
            .collect();
        let is_other = |key: &str| elsewhere.iter().any(|other| key.starts_with(other));
        let entries: Vec<_> = self
            .entries
            .iter()
            .filter(|entry| entry.tensor.key.starts_with(prefix) && !is_other(&entry.tensor.key))
            .cloned()
            .collect();
        let by_key = entries.iter().enumerate();
        let by_key = by_key.map(|(i, entry)| (entry.tensor.key.clone(), i));
        Self {
            source: self.source.clone(),
            files: self.files.clone(),
            by_key: by_key.collect(),
            config: self
                .config
                .as_ref()
                .and_then(|config| config_of(component, config)),
            tensors_in_files: self.tensors_in_files,
            entries,
            elsewhere,
        }
    }

    /// Tells whether a layer's name is one of another model in the files.
    pub(crate) fn is_elsewhere(&self, name: &str) -> bool {
        let mut elsewhere = self.elsewhere.iter();
        elsewhere.any(|prefix| name.starts_with(prefix.as_str()))
    }
}

/// The part of a config of several models that is about one of them: the object of its name, or
/// else the whole, if it has fields that are this model's alone.
fn config_of(component: Component, config: &Value) -> Option<Value> {
    let names: &[&str] = match component {
        Component::Transformer => &["transformer", "diffusion_model", "unet"],
        Component::TextEncoder => &["text_encoder", "text_encoders", "language_model"],
        Component::Vae => &["vae"],
    };
    let mut own = names.iter().filter_map(|name| config.get(name));
    if let Some(own) = own.find(|own| own.is_object()) {
        return Some(own.clone());
    }
    let told = |of: Component| {
        let fields = TELLING_FIELDS
            .iter()
            .find(|(component, _)| *component == of);
        fields.is_some_and(|(_, fields)| fields.iter().any(|field| config.get(field).is_some()))
    };
    told(component).then(|| config.clone())
}
