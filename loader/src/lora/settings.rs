//! PEFT's settings, as far as they scale the products: in the header of a file that diffusers
//! saved, or in the `adapter_config.json` that PEFT itself puts beside its file.

use super::error::{LoraError, SettingsPlace};
use super::field::Field;
use super::pattern::{BadPattern, Patterns};
use crate::text::Excerpt;

/// The key under which diffusers keeps PEFT's settings, as JSON.
pub(super) const METADATA: &str = "lora_adapter_metadata";

/// The prefix that diffusers puts before the transformer's settings.
const COMPONENT: &str = "transformer.";

/// PEFT's alpha where its settings name none.
const DEFAULT_ALPHA: f64 = 8.0;

/// Settings of methods that are not plain LoRA.
const METHODS: [&str; 3] = ["use_dora", "use_qalora", "use_bdlora"];

/// Initialisations that change the model's own weights, so that the matrices alone are not the
/// whole difference.
const CHANGES_THE_BASE: [&str; 5] = ["pissa", "olora", "corda", "loftq", "lora_ga"];

/// The settings.
#[derive(Debug)]
pub(super) struct Settings {
    place: SettingsPlace,
    alpha: f64,
    rank: Option<f64>,
    alphas: Patterns,
    ranks: Patterns,
    root: bool,
}

impl Settings {
    /// Reads those in a file's header; none where it has none of the transformer's scale.
    ///
    /// # Errors
    /// The fault.
    pub(super) fn in_header(text: &str) -> Result<Option<Self>, LoraError> {
        let place = SettingsPlace::Header;
        let fields = object(place, text)?;
        let prefixed = fields.iter().any(|(name, _)| name.starts_with(COMPONENT));
        let fields = fields.into_iter().filter_map(|(name, value)| {
            if prefixed {
                let name = name.strip_prefix(COMPONENT)?;
                return Some((name.to_owned(), value));
            }
            // A model's own `save_lora_adapter` names no component.
            (!name.contains('.')).then_some((name, value))
        });
        Self::read(place, fields.collect())
    }

    /// Reads an `adapter_config.json`; none where it does not tell the scale.
    ///
    /// # Errors
    /// The fault.
    pub(super) fn in_config(text: &str) -> Result<Option<Self>, LoraError> {
        let place = SettingsPlace::Config;
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        Self::read(place, object(place, text)?)
    }

    fn read(place: SettingsPlace, fields: Vec<(String, Field)>) -> Result<Option<Self>, LoraError> {
        let reader = Reader { place, fields };
        reader.check_method()?;
        let alpha = match reader.get("lora_alpha") {
            Some(field) => Some(reader.number("lora_alpha", field)?),
            None => None,
        };
        let rank = match reader.get("r") {
            None | Some(Field::Null) => None,
            Some(field) => Some(reader.number("r", field)?),
        };
        let alphas = reader.table("alpha_pattern")?;
        if alpha.is_none() && rank.is_none() && alphas.is_none() {
            return Ok(None);
        }
        Ok(Some(Self {
            place,
            alpha: alpha.unwrap_or(DEFAULT_ALPHA),
            rank,
            alphas: alphas.unwrap_or_default(),
            ranks: reader.table("rank_pattern")?.unwrap_or_default(),
            root: reader.flag("use_rslora")?,
        }))
    }

    /// The place of the settings.
    pub(super) const fn place(&self) -> SettingsPlace {
        self.place
    }

    /// The alpha of a layer, by its names.
    ///
    /// # Errors
    /// [`LoraError::Pattern`].
    pub(super) fn alpha(&self, names: &[&str]) -> Result<f64, LoraError> {
        let found = self.alphas.get(names);
        let found = found.map_err(|bad| pattern(self.place, "alpha_pattern", &bad))?;
        Ok(found.unwrap_or(self.alpha))
    }

    /// The rank that a layer should have, where that is told.
    ///
    /// # Errors
    /// [`LoraError::Pattern`].
    pub(super) fn rank(&self, names: &[&str]) -> Result<Option<f64>, LoraError> {
        let found = self.ranks.get(names);
        let found = found.map_err(|bad| pattern(self.place, "rank_pattern", &bad))?;
        Ok(found.or(self.rank))
    }

    /// The factor for a product with this alpha and rank.
    pub(super) fn scale(&self, alpha: f64, rank: usize) -> f64 {
        let rank = rank as f64;
        alpha / if self.root { rank.sqrt() } else { rank }
    }
}

/// Settings field by field.
struct Reader {
    place: SettingsPlace,
    fields: Vec<(String, Field)>,
}

impl Reader {
    fn get(&self, name: &str) -> Option<&Field> {
        let mut fields = self.fields.iter();
        fields.find_map(|(found, field)| (found == name).then_some(field))
    }

    fn bad(&self, message: &str) -> LoraError {
        LoraError::Settings {
            place: self.place,
            message: Excerpt::new(message),
        }
    }

    fn number(&self, name: &str, field: &Field) -> Result<f64, LoraError> {
        match field {
            Field::Number(value) if value.is_finite() => Ok(*value),
            _ => Err(self.bad(&format!("{name} is not a number"))),
        }
    }

    /// A flag, which is off where it is not there.
    fn flag(&self, name: &str) -> Result<bool, LoraError> {
        match self.get(name) {
            None | Some(Field::Null) => Ok(false),
            Some(Field::Bool(value)) => Ok(*value),
            Some(Field::Number(value)) if [0.0, 1.0].contains(value) => Ok(*value == 1.0),
            Some(_) => Err(self.bad(&format!("{name} is neither true nor false"))),
        }
    }

    /// A table of numbers by layer; none where there is no entry.
    fn table(&self, name: &'static str) -> Result<Option<Patterns>, LoraError> {
        let entries = match self.get(name) {
            None | Some(Field::Null) => return Ok(None),
            Some(Field::Object(entries)) => entries,
            Some(_) => return Err(self.bad(&format!("{name} is no object"))),
        };
        let entries = entries.iter().map(|(key, value)| {
            let what = format!("{name} of {key}");
            Ok((key.clone(), self.number(&what, value)?))
        });
        let entries = entries.collect::<Result<Vec<_>, LoraError>>()?;
        if entries.is_empty() {
            return Ok(None);
        }
        let patterns = Patterns::new(entries);
        patterns
            .map(Some)
            .map_err(|bad| pattern(self.place, name, &bad))
    }

    /// Refuses what is no plain LoRA by its settings.
    fn check_method(&self) -> Result<(), LoraError> {
        let refuse = |setting: String| {
            Err(LoraError::Setting {
                place: self.place,
                setting: Excerpt::new(&setting),
            })
        };
        for name in METHODS {
            let off = [Field::Null, Field::Bool(false), Field::Number(0.0)];
            if self.get(name).is_some_and(|field| !off.contains(field)) {
                return refuse(name.to_owned());
            }
        }
        if let Some(Field::Text(start)) = self.get("init_lora_weights")
            && CHANGES_THE_BASE.iter().any(|kind| start.starts_with(kind))
        {
            return refuse(format!("init_lora_weights {start}"));
        }
        Ok(())
    }
}

fn object(place: SettingsPlace, text: &str) -> Result<Vec<(String, Field)>, LoraError> {
    let bad = |message: &str| LoraError::Settings {
        place,
        message: Excerpt::new(message),
    };
    match serde_json::from_str(text).map_err(|error| bad(&error.to_string()))? {
        Field::Object(fields) => Ok(fields),
        _ => Err(bad("it is no JSON object")),
    }
}

fn pattern(place: SettingsPlace, table: &'static str, bad: &BadPattern) -> LoraError {
    LoraError::Pattern {
        place,
        table,
        key: Excerpt::new(&bad.key),
        reason: bad.reason.clone(),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const TO_Q: &str = "transformer_blocks.0.attn.to_q";

    fn header(text: &str) -> Settings {
        Settings::in_header(text).unwrap().unwrap()
    }

    fn scale(settings: &Settings, layer: &str, rank: usize) -> f64 {
        settings.scale(settings.alpha(&[layer]).unwrap(), rank)
    }

    fn refusal(text: &str) -> String {
        let refused = Settings::in_header(text).unwrap_err().to_string();
        assert!(!refused.contains('\n'), "{refused}");
        refused
    }

    #[test]
    fn settings_without_a_scale_are_none() {
        for text in [
            "{}",
            r#"{"transformer.target_modules": ["to_q"]}"#,
            r#"{"text_encoder.lora_alpha": 4, "text_encoder.r": 8}"#,
            r#"{"transformer.alpha_pattern": {}}"#,
        ] {
            assert!(Settings::in_header(text).unwrap().is_none(), "{text}");
        }
    }

    #[test]
    fn settings_scale_as_peft_does() {
        let plain = header(r#"{"transformer.lora_alpha": 4, "transformer.r": 8}"#);
        assert_eq!(scale(&plain, TO_Q, 8), 0.5);
        assert_eq!(plain.rank(&[TO_Q]).unwrap(), Some(8.0));
        let fraction = header(r#"{"transformer.lora_alpha": 2.5, "transformer.r": 5}"#);
        assert_eq!(scale(&fraction, TO_Q, 5), 0.5);
        // PEFT's own alpha.
        let silent = header(r#"{"transformer.r": 4}"#);
        assert_eq!(scale(&silent, TO_Q, 4), 2.0);
        let root = header(r#"{"transformer.lora_alpha": 4, "transformer.use_rslora": true}"#);
        assert_eq!(scale(&root, TO_Q, 16), 1.0);
        assert_eq!(root.rank(&[TO_Q]).unwrap(), None);
        // As a model's `save_lora_adapter` writes them.
        let bare = header(r#"{"lora_alpha": 4, "r": 8, "alpha_pattern": {"to_q": 16}}"#);
        assert_eq!(scale(&bare, TO_Q, 8), 2.0);
        assert_eq!(scale(&bare, "img_in", 8), 0.5);
    }

    #[test]
    fn settings_of_other_components_do_not_count() {
        let both = header(
            r#"{"text_encoder.lora_alpha": 64, "lora_alpha": 32, "transformer.lora_alpha": 4,
                "text_encoder.alpha_pattern": {"to_q": 64}}"#,
        );
        assert_eq!(scale(&both, TO_Q, 4), 1.0);
    }

    #[test]
    fn patterns_count_by_layer_in_their_order() {
        let pattern = header(
            r#"{"transformer.r": 4, "transformer.lora_alpha": 4,
                "transformer.rank_pattern": {"^transformer_blocks.0.attn.to_q": 2},
                "transformer.alpha_pattern": {"^transformer_blocks.0.attn.to_q": 2,
                                              ".*\\.1\\..*(to_k|to_v)": 8}}"#,
        );
        let alpha = |layer: &str| pattern.alpha(&[layer]).unwrap();
        assert_eq!(alpha(TO_Q), 2.0);
        assert_eq!(pattern.rank(&[TO_Q]).unwrap(), Some(2.0));
        for layer in ["to_k", "to_v"] {
            assert_eq!(alpha(&format!("transformer_blocks.1.attn.{layer}")), 8.0);
            assert_eq!(alpha(&format!("transformer_blocks.0.attn.{layer}")), 4.0);
        }
        assert_eq!(alpha("transformer_blocks.1.attn.to_q"), 4.0);
        let order = header(r#"{"alpha_pattern": {"to_q": 1, "attn.to_q": 2}}"#);
        assert_eq!(order.alpha(&[TO_Q]).unwrap(), 1.0);
        let order = header(r#"{"alpha_pattern": {"attn.to_q": 2, "to_q": 1}}"#);
        assert_eq!(order.alpha(&[TO_Q]).unwrap(), 2.0);
    }

    #[test]
    fn what_cannot_be_followed_is_refused_by_name() {
        for (text, part) in [
            ("[1]", "no JSON object"),
            ("{", "cannot be read: EOF"),
            (
                r#"{"transformer.lora_alpha": "4"}"#,
                "lora_alpha is not a number",
            ),
            (
                r#"{"transformer.lora_alpha": null}"#,
                "lora_alpha is not a number",
            ),
            (r#"{"lora_alpha": NaN}"#, "cannot be read"),
            (
                r#"{"r": 4, "alpha_pattern": [1]}"#,
                "alpha_pattern is no object",
            ),
            (
                r#"{"r": 4, "rank_pattern": 3}"#,
                "rank_pattern is no object",
            ),
            (
                r#"{"alpha_pattern": {"to_q": "x"}}"#,
                "alpha_pattern of to_q is not a number",
            ),
            (
                r#"{"alpha_pattern": {"to_(q": 1}}"#,
                "alpha_pattern `to_(q`: it is no regular expression",
            ),
            (
                r#"{"r": 4, "rank_pattern": {"(?x:to_q)": 1}}"#,
                "rank_pattern `(?x:to_q)`",
            ),
            (r#"{"r": 4, "use_rslora": "yes"}"#, "use_rslora is neither"),
            (r#"{"use_dora": true}"#, "use_dora"),
            (
                r#"{"transformer.init_lora_weights": "pissa_niter_4"}"#,
                "init_lora_weights pissa_niter_4",
            ),
        ] {
            let refused = refusal(text);
            assert!(refused.starts_with("lora_adapter_metadata in its header"));
            assert!(refused.contains(part), "{refused}");
        }
        let gaussian = r#"{"r": 4, "use_dora": false, "init_lora_weights": "gaussian"}"#;
        assert!(Settings::in_header(gaussian).is_ok());
        let config = Settings::in_config("\u{feff}{\"r\": \"x\"}").unwrap_err();
        let config = config.to_string();
        assert!(
            config.starts_with("adapter_config.json beside it"),
            "{config}"
        );
    }
}
