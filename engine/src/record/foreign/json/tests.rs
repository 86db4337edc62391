use serde_json::json;

use super::{identify, of_texts};
use crate::record::foreign::Foreign;
use crate::record::texts::Texts;

fn texts(list: &[(&str, &str)]) -> Texts {
    let mut texts = Texts::default();
    for (keyword, text) in list {
        texts.add(keyword, (*text).to_owned());
    }
    texts
}

/// Checks the settings that every recipe below has.
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
    assert_eq!(
        found.left(ToString::to_string).as_deref(),
        left,
        "{program}"
    );
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
    assert_eq!(
        strange.left(ToString::to_string).as_deref(),
        Some("seed: x, steps: 2.5")
    );
}
