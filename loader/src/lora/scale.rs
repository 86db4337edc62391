//! What a low-rank product is scaled by: alpha over the rank.
//!
//! An alpha tensor beside the matrices counts in every dialect. Files that diffusers saved have
//! none, and may instead tell in their header how PEFT would scale them.

use safetensors::Dtype;
use serde_json::{Map, Value};

use super::error::LoraError;
use crate::convert::to_f32;
use crate::text::Excerpt;

/// Where diffusers keeps PEFT's settings, as JSON.
const METADATA: &str = "lora_adapter_metadata";

/// A scalar of any number type; `None` for bytes that are not one number.
pub(super) fn scalar(dtype: Dtype, bytes: &[u8]) -> Option<f64> {
    Some(match dtype {
        Dtype::F64 => f64::from_le_bytes(bytes.try_into().ok()?),
        Dtype::I64 => i64::from_le_bytes(bytes.try_into().ok()?) as f64,
        Dtype::U64 => u64::from_le_bytes(bytes.try_into().ok()?) as f64,
        Dtype::I32 => i32::from_le_bytes(bytes.try_into().ok()?).into(),
        Dtype::U32 => u32::from_le_bytes(bytes.try_into().ok()?).into(),
        Dtype::I16 => i16::from_le_bytes(bytes.try_into().ok()?).into(),
        Dtype::U16 => u16::from_le_bytes(bytes.try_into().ok()?).into(),
        Dtype::I8 => i8::from_le_bytes(bytes.try_into().ok()?).into(),
        Dtype::U8 => u8::from_le_bytes(bytes.try_into().ok()?).into(),
        other => match to_f32(other, bytes)?.as_slice() {
            [value] => f64::from(*value),
            _ => return None,
        },
    })
}

/// PEFT's settings for the transformer, as far as they scale.
#[derive(Debug, Default)]
pub(super) struct Settings {
    fields: Map<String, Value>,
}

impl Settings {
    /// From a header's metadata.
    ///
    /// # Errors
    /// [`LoraError::Metadata`] for a text that is no JSON object.
    pub(super) fn of(metadata: Option<&String>) -> Result<Self, LoraError> {
        let Some(text) = metadata else {
            return Ok(Self::default());
        };
        let fields = serde_json::from_str(text).map_err(|error| LoraError::Metadata {
            message: Excerpt::new(&error.to_string()),
        })?;
        Ok(Self { fields })
    }

    /// The settings in a file's metadata.
    pub(super) const fn key() -> &'static str {
        METADATA
    }

    /// What a layer's product of a rank is scaled by where it has no alpha of its own.
    pub(super) fn scale(&self, layer: &str, rank: usize) -> f64 {
        let alpha = self.by_layer("alpha_pattern", layer);
        let alpha = alpha.or_else(|| self.field("lora_alpha")?.as_f64());
        let Some(alpha) = alpha.filter(|alpha| alpha.is_finite()) else {
            return 1.0;
        };
        let rank = rank as f64;
        match self.field("use_rslora").and_then(Value::as_bool) {
            Some(true) => alpha / rank.sqrt(),
            _ => alpha / rank,
        }
    }

    fn field(&self, name: &str) -> Option<&Value> {
        let fields = &self.fields;
        let found = fields.get(&format!("transformer.{name}"));
        found.or_else(|| fields.get(name))
    }

    /// A layer's entry in a table by ends of names.
    fn by_layer(&self, table: &str, layer: &str) -> Option<f64> {
        let table = self.field(table)?.as_object()?;
        let (_, value) = table.iter().find(|(end, _)| {
            let before = layer.strip_suffix(end.as_str());
            before.is_some_and(|before| before.is_empty() || before.ends_with('.'))
        })?;
        value.as_f64()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn alpha_is_read_in_any_dtype() {
        let bf16 = half::bf16::from_f32(16.0).to_le_bytes();
        let f16 = half::f16::from_f32(16.0).to_le_bytes();
        assert_eq!(scalar(Dtype::BF16, &bf16), Some(16.0));
        assert_eq!(scalar(Dtype::F16, &f16), Some(16.0));
        assert_eq!(scalar(Dtype::F32, &16f32.to_le_bytes()), Some(16.0));
        assert_eq!(scalar(Dtype::F64, &16f64.to_le_bytes()), Some(16.0));
        assert_eq!(scalar(Dtype::I64, &16i64.to_le_bytes()), Some(16.0));
        assert_eq!(scalar(Dtype::I32, &16i32.to_le_bytes()), Some(16.0));
        assert_eq!(scalar(Dtype::U8, &[16]), Some(16.0));
        assert_eq!(scalar(Dtype::F32, &[0; 8]), None);
        assert_eq!(scalar(Dtype::I64, &[]), None);
        assert_eq!(scalar(Dtype::BOOL, &[1]), None);
    }

    fn settings(text: &str) -> Settings {
        Settings::of(Some(&text.to_owned())).expect("settings")
    }

    #[test]
    fn without_settings_the_scale_is_one() {
        let none = Settings::of(None).expect("none");
        assert_eq!(none.scale("img_in", 8), 1.0);
        assert_eq!(settings("{}").scale("img_in", 8), 1.0);
        assert!(Settings::of(Some(&"[1]".to_owned())).is_err());
    }

    #[test]
    fn settings_of_peft_scale_as_peft_does() {
        let plain = settings(r#"{"transformer.lora_alpha": 4, "transformer.r": 8}"#);
        assert_eq!(plain.scale("transformer_blocks.0.attn.to_q", 8), 0.5);
        let pattern = settings(
            r#"{"transformer.lora_alpha": 4, "transformer.alpha_pattern": {"attn.to_q": 16}}"#,
        );
        assert_eq!(pattern.scale("transformer_blocks.0.attn.to_q", 8), 2.0);
        assert_eq!(pattern.scale("transformer_blocks.0.attn.to_k", 8), 0.5);
        assert_eq!(pattern.scale("transformer_blocks.0.xattn.to_q", 8), 0.5);
        let root = settings(r#"{"transformer.lora_alpha": 4, "transformer.use_rslora": true}"#);
        assert_eq!(root.scale("img_in", 16), 1.0);
    }
}
