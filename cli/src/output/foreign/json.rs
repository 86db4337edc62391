//! Recipes that are one JSON object: those of InvokeAI, Fooocus, SwarmUI, NovelAI, mflux and Draw
//! Things.

use engine::request::Sampling;
use serde_json::{Map, Value};

use super::graph::Graph;
use super::{Foreign, comfyui, sampler, size};
use crate::output::texts::Texts;

type Object = Map<String, Value>;

/// What a program calls its settings; names are compared in small letters and without what stands
/// between words.
struct Names {
    program: &'static str,
    prompt: &'static [&'static str],
    negative: &'static [&'static str],
    scale: &'static [&'static str],
    model: &'static [&'static str],
    strength: &'static [&'static str],
    /// Those that do not change the image, or tell what another one tells as well.
    tell_nothing: &'static [&'static str],
}

const INVOKEAI: Names = Names {
    program: "InvokeAI",
    prompt: &["positiveprompt", "prompt"],
    negative: &["negativeprompt"],
    scale: &["cfgscale"],
    model: &["model", "modelweights"],
    strength: &["strength"],
    tell_nothing: &[
        "appversion",
        "generationmode",
        "vae",
        "type",
        "qwenvlencoder",
        "randdevice",
        "imagestoragelocation",
    ],
};
const FOOOCUS: Names = Names {
    program: "Fooocus",
    prompt: &["prompt"],
    negative: &["negativeprompt"],
    scale: &["guidancescale"],
    model: &["basemodel", "model"],
    strength: &[],
    tell_nothing: &[
        "version",
        "metadatascheme",
        "createdby",
        "basemodelhash",
        "vae",
        "fullprompt",
        "fullnegativeprompt",
    ],
};
const SWARMUI: Names = Names {
    program: "SwarmUI",
    prompt: &["prompt"],
    negative: &["negativeprompt"],
    scale: &["cfgscale"],
    model: &["model"],
    strength: &["initimagecreativity"],
    tell_nothing: &[
        "swarmversion",
        "aspectratio",
        "images",
        "date",
        "generationtime",
        "preptime",
        "gentime",
        "nopreviews",
        "wildcardseed",
        "imageformat",
        "personalnote",
        "vae",
        "qwenmodel",
        "originalprompt",
        "originalnegativeprompt",
        "usedwildcards",
        "automaticvae",
        "resolution",
    ],
};
const NOVELAI: Names = Names {
    program: "NovelAI",
    prompt: &["prompt"],
    negative: &["uc", "negativeprompt"],
    scale: &["scale"],
    model: &["model", "source"],
    strength: &["strength"],
    tell_nothing: &[
        "signedhash",
        "requesttype",
        "nsamples",
        "v4prompt",
        "v4negativeprompt",
        "version",
        "legacyv3extend",
    ],
};
const MFLUX: Names = Names {
    program: "mflux",
    prompt: &["prompt"],
    negative: &["negativeprompt"],
    scale: &["guidance"],
    model: &["model", "basemodel"],
    strength: &["imagestrength"],
    tell_nothing: &[
        "mfluxversion",
        "precision",
        "quantize",
        "generationtimeseconds",
        "generationtime",
        "createdat",
        "basemodel",
        "metadataschemaversion",
    ],
};
const DRAW_THINGS: Names = Names {
    program: "Draw Things",
    prompt: &["c"],
    negative: &["uc"],
    scale: &["scale"],
    model: &["model"],
    strength: &["strength"],
    tell_nothing: &["v2", "profile"],
};

/// The recipe in the texts that only one program writes.
///
/// # Errors
/// What the file holds, for one that is not read.
pub(super) fn of_texts(texts: &Texts) -> Result<Option<Foreign>, String> {
    if let Some(text) = texts.get("invokeai_metadata") {
        return match object(text) {
            Some(object) => INVOKEAI.read(&object).map(Some),
            None => Err(not_read("InvokeAI")),
        };
    }
    if let Some(text) = texts.get("sd-metadata") {
        let whole = object(text).ok_or_else(|| not_read("InvokeAI"))?;
        let mut image = match whole.get("image") {
            Some(Value::Object(image)) => image.clone(),
            _ => return Err(not_read("InvokeAI")),
        };
        if let Some(model) = whole.get("model_weights") {
            image.insert("model".to_owned(), model.clone());
        }
        return INVOKEAI.read(&image).map(Some);
    }
    if texts.get("dream").is_some() {
        return Err(not_read("InvokeAI (the text Dream)"));
    }
    let software = texts.get("software").unwrap_or_default();
    let comment = texts.get("comment").and_then(object);
    match comment {
        Some(comment) if software.to_lowercase().contains("novelai") => {
            NOVELAI.read(&comment).map(Some)
        }
        None if software.to_lowercase().contains("novelai") => Err(not_read("NovelAI")),
        Some(comment) if FOOOCUS.is_told_by(&comment) => FOOOCUS.read(&comment).map(Some),
        _ => Ok(None),
    }
}

/// The recipe that a text holds, if it is a JSON object.
///
/// # Errors
/// What the file holds, for an object of no program that is known.
pub(super) fn identify(text: &str) -> Result<Option<Foreign>, String> {
    let Some(object) = object(text) else {
        return Ok(None);
    };
    // Some nodes of ComfyUI put its two texts into one.
    let graph = match object.get("prompt") {
        Some(Value::String(text)) => Graph::parse(text),
        Some(value @ Value::Object(_)) => Graph::of(value.clone()),
        _ => None,
    };
    if let Some(graph) = graph.or_else(|| Graph::parse(text)) {
        return comfyui::read(&graph).map(Some);
    }
    if let Some(Value::Object(params)) = object.get("sui_image_params") {
        return SWARMUI.read(params).map(Some);
    }
    let has = |name: &str| object.contains_key(name);
    let names = if has("mflux_version") {
        MFLUX
    } else if has("c") && (has("uc") || has("scale")) {
        DRAW_THINGS
    } else if has("app_version") || has("positive_prompt") {
        INVOKEAI
    } else if FOOOCUS.is_told_by(&object) {
        FOOOCUS
    } else {
        let keys: Vec<&str> = object.keys().take(3).map(String::as_str).collect();
        return Err(format!(
            "holds a recipe of a program that is not known (JSON with {}), which is not read",
            keys.join(", ")
        ));
    };
    names.read(&object).map(Some)
}

fn not_read(program: &str) -> String {
    format!("holds a recipe of {program}, which is not read")
}

fn object(text: &str) -> Option<Object> {
    let text = super::graph::without_nan(text.trim());
    serde_json::from_str(&text).ok()
}

/// A name in small letters, without what stands between its words.
fn plain(name: &str) -> String {
    let letters = name.chars().filter(|c| c.is_ascii_alphanumeric());
    letters.map(|c| c.to_ascii_lowercase()).collect()
}

impl Names {
    /// Whether an object has the names that only Fooocus has.
    fn is_told_by(&self, object: &Object) -> bool {
        let names: Vec<String> = object.keys().map(|name| plain(name)).collect();
        let has = |name: &str| names.iter().any(|known| known == name);
        let version = object.get("version").or(object.get("Version"));
        let version = version.and_then(Value::as_str).unwrap_or_default();
        version.contains(self.program)
            || (has("prompt") && has("guidancescale") && (has("basemodel") || has("performance")))
    }

    fn read(&self, object: &Object) -> Result<Foreign, String> {
        let mut found = Foreign {
            program: self.program.to_owned(),
            ..Foreign::default()
        };
        let mut prompt = None;
        for (name, value) in object {
            let name_here = plain(name);
            let is_of = |names: &[&str]| names.contains(&name_here.as_str());
            if is_of(self.prompt) {
                prompt = prompt.or(text(value));
            } else if is_of(self.negative) {
                found.negative_prompt = text(value);
            } else if is_of(self.model) {
                // The first of its names counts, wherever it stands.
            } else if is_of(self.scale) {
                found.cfg_scale = number(value).filter(|scale| scale.is_finite());
                leave_unless(&mut found.not_taken, found.cfg_scale.is_some(), name, value);
            } else if is_of(self.strength) {
                self.take_strength(&mut found, name, value);
            } else if !is_of(self.tell_nothing) {
                take(&mut found, &name_here, name, value);
            }
        }
        found.model = self.model.iter().find_map(|wanted| {
            let mut fields = object.iter();
            let (_, value) = fields.find(|(name, _)| plain(name) == *wanted)?;
            model(value).filter(|model| model != "None")
        });
        found.prompt = prompt.ok_or_else(|| {
            format!(
                "holds a recipe of {}, in which no prompt is found",
                self.program
            )
        })?;
        // An empty one is none where a program writes it always.
        found.negative_prompt = found.negative_prompt.filter(|text| !text.is_empty());
        Ok(found)
    }

    /// Takes how much of an image is changed, which says nothing where there is none.
    fn take_strength(&self, found: &mut Foreign, name: &str, value: &Value) {
        found.strength = number(value).filter(|part| *part > 0.0 && *part < 1.0);
        if let Some(strength) = found.strength {
            found.leave(
                name,
                &format!("{strength} (unless there is an --init-image)"),
            );
        }
    }
}

/// Takes a setting that every program calls so, or leaves it.
fn take(found: &mut Foreign, name_here: &str, name: &str, value: &Value) {
    let whole = || number(value).filter(|number| number.fract() == 0.0);
    let taken = match name_here {
        "steps" => set(&mut found.steps, whole().map(|number| number as i64)),
        "seed" => set(&mut found.seed, seed(value)),
        "width" => set(&mut found.width, whole().map(|number| number as i64)),
        "height" => set(&mut found.height, whole().map(|number| number as i64)),
        "size" | "resolution" => match text(value).as_deref().and_then(size) {
            Some((width, height)) => {
                (found.width, found.height) = (Some(width), Some(height));
                true
            }
            None => false,
        },
        "sampler" | "comfyuisampler" | "scheduler" if text(value).is_some() => {
            match text(value).as_deref().and_then(sampler) {
                Some(sampler) => {
                    found.sampling = Some(Sampling {
                        sampler,
                        ..Sampling::default()
                    });
                    true
                }
                None => false,
            }
        }
        _ => false,
    };
    leave_unless(&mut found.not_taken, taken, name, value);
}

fn set<T>(place: &mut Option<T>, value: Option<T>) -> bool {
    let is_there = value.is_some();
    *place = value;
    is_there
}

/// Names a setting that was not taken, unless it asks for nothing.
fn leave_unless(not_taken: &mut Vec<String>, taken: bool, name: &str, value: &Value) {
    let asks_nothing = match value {
        Value::Null | Value::Bool(false) => true,
        Value::Bool(true) => false,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => matches!(text.to_lowercase().as_str(), "" | "none" | "false" | "0"),
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
    };
    if taken || asks_nothing {
        return;
    }
    let value = match value {
        Value::String(text) => text.clone(),
        value => value.to_string(),
    };
    not_taken.push(format!("{name}: {}", super::shown(&value)));
}

/// A text; of a list of prompts with weights (InvokeAI's old form) the only one.
fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Array(items) => match items.as_slice() {
            [Value::Object(only)] => only.get("prompt").and_then(text),
            [only @ Value::String(_)] => text(only),
            _ => None,
        },
        _ => None,
    }
}

/// A number, also one that is written as text.
fn number(value: &Value) -> Option<f64> {
    match value {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    }
}

fn seed(value: &Value) -> Option<i128> {
    match value {
        Value::Number(number) => number
            .as_u64()
            .map(i128::from)
            .or(number.as_i64().map(i128::from)),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    }
}

fn model(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Object(fields) => ["name", "model_name", "key"]
            .iter()
            .find_map(|name| fields.get(*name)?.as_str())
            .map(str::to_owned),
        _ => None,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::json;

    use super::{identify, of_texts};
    use crate::output::foreign::Foreign;
    use crate::output::texts::Texts;

    fn texts(list: &[(&str, &str)]) -> Texts {
        let mut texts = Texts::default();
        for (keyword, text) in list {
            texts.add(keyword, (*text).to_owned());
        }
        texts
    }

    /// What every recipe below says.
    #[track_caller]
    fn check(found: &Foreign, program: &str, left: Option<&str>) {
        assert_eq!(found.program, program);
        assert_eq!(found.prompt, "a fox, 狐", "{program}");
        assert_eq!(
            found.negative_prompt.as_deref(),
            Some("blurry"),
            "{program}"
        );
        assert_eq!(
            (found.width, found.height),
            (Some(64), Some(32)),
            "{program}"
        );
        assert_eq!((found.steps, found.seed), (Some(3), Some(7)), "{program}");
        assert_eq!(found.cfg_scale, Some(2.5), "{program}");
        assert_eq!(found.left().as_deref(), left, "{program}");
    }

    #[test]
    fn programs_are_told_by_their_texts() {
        let invoke = json!({
            "app_version": "6.0", "generation_mode": "txt2img", "positive_prompt": "a fox, 狐",
            "negative_prompt": "blurry", "width": 64, "height": 32, "steps": 3, "seed": 7,
            "cfg_scale": 2.5, "scheduler": "euler_a", "model": {"name": "SDXL"},
            "loras": [{"weight": 0.5}], "clip_skip": 0
        });
        let found = of_texts(&texts(&[("invokeai_metadata", &invoke.to_string())]));
        let found = found.unwrap().unwrap();
        check(
            &found,
            "InvokeAI",
            Some("loras: [{\"weight\":0.5}], scheduler: euler_a"),
        );
        assert_eq!(found.model.as_deref(), Some("SDXL"));

        let old = json!({
            "model_weights": "v1-5", "app_version": "2.3", "image": {
                "prompt": [{"prompt": "a fox, 狐", "weight": 1}], "negative_prompt": "blurry",
                "width": 64, "height": 32, "steps": 3, "seed": 7, "cfg_scale": 2.5,
                "sampler": "k_lms", "type": "txt2img"
            }
        });
        let found = of_texts(&texts(&[("sd-metadata", &old.to_string())]));
        check(&found.unwrap().unwrap(), "InvokeAI", Some("sampler: k_lms"));

        let novel = json!({
            "prompt": "a fox, 狐", "uc": "blurry", "width": 64, "height": 32, "steps": 3,
            "seed": 7, "scale": 2.5, "sampler": "k_euler", "noise_schedule": "karras",
            "n_samples": 1, "cfg_rescale": 0.0
        });
        let novel = [("Software", "NovelAI"), ("Comment", &novel.to_string())];
        let found = of_texts(&texts(&novel)).unwrap().unwrap();
        check(
            &found,
            "NovelAI",
            Some("noise_schedule: karras, sampler: k_euler"),
        );
        let unread = of_texts(&texts(&[("Dream", "\"a fox\" -s 3")])).unwrap_err();
        assert!(
            unread.contains("InvokeAI") && unread.contains("not read"),
            "{unread}"
        );
        let unread = of_texts(&texts(&[("Software", "NovelAI")])).unwrap_err();
        assert!(unread.contains("NovelAI"), "{unread}");
        assert_eq!(of_texts(&texts(&[("Comment", "a fox")])), Ok(None));
    }

    #[test]
    fn objects_are_told_by_their_names() {
        let swarm = json!({"sui_image_params": {
            "prompt": "a fox, 狐", "negativeprompt": "blurry", "width": 64, "height": 32,
            "steps": 3, "seed": 7, "cfgscale": 2.5, "sampler": "euler", "scheduler": "simple",
            "model": "qwen", "swarm_version": "0.9", "nopreviews": true
        }});
        let found = identify(&swarm.to_string()).unwrap().unwrap();
        check(&found, "SwarmUI", Some("scheduler: simple"));
        assert!(found.sampling.is_some());

        let fooocus = json!({
            "prompt": "a fox, 狐", "negative_prompt": "blurry", "resolution": "(64, 32)",
            "steps": 3, "seed": "7", "guidance_scale": 2.5, "base_model": "j.safetensors",
            "styles": "['Fooocus V2']", "sampler": "dpmpp_2m_sde_gpu", "scheduler": "karras",
            "refiner_model": "None", "version": "Fooocus v2.5.0", "full_prompt": ["a", "b"]
        });
        let found = identify(&fooocus.to_string()).unwrap().unwrap();
        let left = "sampler: dpmpp_2m_sde_gpu, scheduler: karras, styles: ['Fooocus V2']";
        check(&found, "Fooocus", Some(left));
        let labels = json!({
            "Prompt": "a fox, 狐", "Negative Prompt": "blurry", "Resolution": "(64, 32)",
            "Steps": 3, "Seed": 7, "Guidance Scale": 2.5, "Base Model": "j"
        });
        check(
            &identify(&labels.to_string()).unwrap().unwrap(),
            "Fooocus",
            None,
        );

        let mflux = json!({
            "mflux_version": "0.10", "model": "Qwen/Qwen-Image", "base_model": "None",
            "prompt": "a fox, 狐", "negative_prompt": "blurry", "width": 64, "height": 32,
            "steps": 3, "seed": 7, "guidance": 2.5, "quantize": 8, "lora_paths": ["x"],
            "image_strength": null
        });
        let found = identify(&mflux.to_string()).unwrap().unwrap();
        check(&found, "mflux", Some("lora_paths: [\"x\"]"));
        assert_eq!(found.model.as_deref(), Some("Qwen/Qwen-Image"));

        let draw = json!({
            "c": "a fox, 狐", "uc": "blurry", "size": "64x32", "steps": 3, "seed": 7,
            "scale": 2.5, "sampler": "Euler a", "strength": 1, "model": "m", "v2": {"a": 1}
        });
        check(
            &identify(&draw.to_string()).unwrap().unwrap(),
            "Draw Things",
            Some("sampler: Euler a"),
        );
    }

    #[test]
    fn what_is_not_known_is_said() {
        let unknown = identify("{\"x\": 1, \"y\": 2}").unwrap_err();
        assert!(
            unknown.contains("x, y") && unknown.contains("not read"),
            "{unknown}"
        );
        let empty = identify("{\"mflux_version\": \"1\"}").unwrap_err();
        assert!(
            empty.contains("mflux") && empty.contains("no prompt"),
            "{empty}"
        );
        assert_eq!(identify("a fox\nSteps: 2"), Ok(None));
        let strange = json!({"mflux_version": "1", "prompt": "a", "seed": "x", "steps": 2.5});
        let strange = identify(&strange.to_string()).unwrap().unwrap();
        assert_eq!(strange.left().as_deref(), Some("seed: x, steps: 2.5"));
    }
}
