use serde_json::{Value, json};

use super::read;
use crate::record::foreign::Foreign;
use crate::record::foreign::graph::Graph;
use crate::request::{Preset, SamplerName};

/// A graph as ComfyUI's template for Qwen-Image has it.
pub(crate) fn template() -> Value {
    json!({
        "3": {"class_type": "KSampler", "inputs": {
            "seed": 18446744073709551615_u64, "steps": 20, "cfg": 2.5, "sampler_name": "euler",
            "scheduler": "simple", "denoise": 1.0, "model": ["66", 0], "positive": ["6", 0],
            "negative": ["7", 0], "latent_image": ["58", 0]
        }, "_meta": {"title": "KSampler"}},
        "6": {"class_type": "CLIPTextEncode", "inputs": {"text": "a fox, 狐", "clip": ["38", 0]}},
        "7": {"class_type": "CLIPTextEncode", "inputs": {"text": "blurry", "clip": ["38", 0]}},
        "8": {"class_type": "VAEDecode", "inputs": {"samples": ["3", 0], "vae": ["39", 0]}},
        "37": {"class_type": "UNETLoader", "inputs": {
            "unet_name": "qwen/qwen_image_fp8_e4m3fn.safetensors", "weight_dtype": "default"
        }},
        "38": {"class_type": "CLIPLoader", "inputs": {
            "clip_name": "qwen_2.5_vl_7b_fp8_scaled.safetensors", "type": "qwen_image",
            "device": "default"
        }},
        "39": {"class_type": "VAELoader", "inputs": {"vae_name": "qwen_image_vae.safetensors"}},
        "58": {"class_type": "EmptySD3LatentImage", "inputs": {
            "width": 1328, "height": 1328, "batch_size": 1
        }},
        "60": {"class_type": "SaveImage", "inputs": {
            "filename_prefix": "ComfyUI", "images": ["8", 0]
        }},
        "66": {"class_type": "ModelSamplingAuraFlow", "inputs": {"shift": 3.1, "model": ["37", 0]}}
    })
}

/// The template with nodes put in, and inputs of its nodes replaced.
fn changed(nodes: Value, inputs: &[(&str, &str, Value)]) -> Result<Foreign, String> {
    let mut graph = template();
    for (id, node) in nodes.as_object().unwrap() {
        graph[id] = node.clone();
    }
    for (id, input, value) in inputs {
        graph[*id]["inputs"][*input] = value.clone();
    }
    read(&Graph::of(graph).unwrap())
}

#[test]
fn the_template_is_read() {
    let found = changed(json!({}), &[]).unwrap();
    assert_eq!(found.prompt, "a fox, 狐");
    assert_eq!(found.negative_prompt.as_deref(), Some("blurry"));
    assert_eq!((found.width, found.height), (Some(1328), Some(1328)));
    assert_eq!((found.steps, found.cfg_scale), (Some(20), Some(2.5)));
    assert_eq!(found.seed, Some(u64::MAX.into()));
    let sampling = found.sampling.clone().unwrap();
    assert_eq!(sampling.schedule.to_string(), "simple=3.1");
    assert_eq!(
        (sampling.sampler, sampling.preset),
        (SamplerName::Euler, Preset::ComfyUi)
    );
    assert_eq!(found.left(ToString::to_string), None);
    assert!(found.is_our_model && found.loras.is_empty());
    assert_eq!(found.program, "ComfyUI (a workflow)");
    assert!(found.is_of_model("qwen_image_fp8_e4m3fn"));
    assert!(!found.is_of_model("other"));
}

#[test]
fn loras_come_from_the_chain_of_the_model() {
    let lora = |name: &str, weight: f64, model: &str| {
        json!({"class_type": "LoraLoaderModelOnly", "inputs": {
            "lora_name": name, "strength_model": weight, "model": [model, 0]
        }})
    };
    let fast = "Qwen-Image-Lightning-4steps-V1.0.safetensors";
    let nodes = json!({
        "80": lora(&format!("qwen\\{fast}"), 1.0, "81"),
        "81": lora("art/style.safetensors", 0.5, "82"),
        "82": lora("off.safetensors", 0.0, "37")
    });
    let inputs = [
        ("66", "model", json!(["80", 0])),
        ("66", "shift", json!(3)),
        ("3", "steps", json!(4)),
        ("3", "cfg", json!(1)),
    ];
    let found = changed(nodes.clone(), &inputs).unwrap();
    let loras: Vec<_> = found
        .loras
        .iter()
        .map(|lora| (lora.file.as_str(), lora.weight))
        .collect();
    assert_eq!(loras, [("style.safetensors", 0.5), (fast, 1.0)]);
    assert_eq!(found.lightning, Some(4));
    assert_eq!(found.sampling.unwrap().schedule.to_string(), "simple=3");
    // Other steps than it was made for are as they are.
    let found = changed(nodes, &inputs[..1]).unwrap();
    assert_eq!((found.lightning, found.loras.len()), (None, 2));
}

#[test]
fn values_are_followed_and_what_does_nothing_is_passed_over() {
    let nodes = json!({
        "90": {"class_type": "PrimitiveStringMultiline", "inputs": {"value": "a cat"}},
        "91": {"class_type": "PrimitiveInt", "inputs": {"value": 9}},
        "92": {"class_type": "ConditioningZeroOut", "inputs": {"conditioning": ["6", 0]}},
        "93": {"class_type": "PreviewImage", "inputs": {"images": ["8", 0]}}
    });
    let inputs = [
        ("6", "text", json!(["90", 0])),
        ("3", "seed", json!(["91", 0])),
        ("3", "negative", json!(["92", 0])),
        ("3", "cfg", json!(1.0)),
    ];
    let found = changed(nodes, &inputs).unwrap();
    assert_eq!((found.prompt.as_str(), found.seed), ("a cat", Some(9)));
    let left = found.left(ToString::to_string);
    assert_eq!((found.negative_prompt.clone(), left), (None, None));
    let encode = json!({"6": {"class_type": "TextEncodeQwenImageEdit", "inputs": {
        "prompt": "a cat", "clip": ["38", 0]
    }}});
    assert_eq!(changed(encode, &[]).unwrap().prompt, "a cat");
}

#[test]
fn what_is_not_taken_is_named() {
    for (nodes, inputs, named) in [
        (
            json!({}),
            vec![("3", "sampler_name", json!("res_multistep"))],
            "sampler_name: \"res_multistep\"",
        ),
        (
            json!({}),
            vec![("3", "scheduler", json!("normal"))],
            "scheduler: \"normal\"",
        ),
        (
            json!({}),
            vec![("3", "sampler_name", json!("dpmpp_2m"))],
            "sampler_name: dpmpp_2m (drawn as diffusers has it)",
        ),
        (
            json!({}),
            vec![("3", "denoise", json!(0.5))],
            "denoise: 0.5",
        ),
        (json!({}), vec![("66", "shift", json!(-1))], "shift: -1"),
        (
            json!({}),
            vec![("58", "batch_size", json!(4))],
            "batch_size: 4 (the first image alone is drawn)",
        ),
        (
            json!({"70": {"class_type": "RandomInt", "inputs": {}}}),
            vec![("3", "seed", json!(["70", 0]))],
            "seed: from the node RandomInt",
        ),
        (
            json!({"70": {"class_type": "CFGNorm", "inputs": {"strength": 1, "model": ["66", 0]}}}),
            vec![("3", "model", json!(["70", 0]))],
            "node: CFGNorm",
        ),
        (
            json!({"70": {"class_type": "ConditioningZeroOut", "inputs": {"conditioning": ["6", 0]}}}),
            vec![("3", "negative", json!(["70", 0]))],
            "negative prompt: zeros (ConditioningZeroOut)",
        ),
        (
            json!({"70": {"class_type": "ImageScaleBy", "inputs": {"image": ["8", 0]}}}),
            vec![("60", "images", json!(["70", 0]))],
            "after the sampler: ImageScaleBy",
        ),
    ] {
        let found = changed(nodes, &inputs).unwrap();
        assert_eq!(found.left(ToString::to_string).as_deref(), Some(named));
        assert!(found.sampling.is_some(), "{named}");
    }
    let mut graph = template();
    graph["3"]["inputs"]["model"] = json!(["37", 0]);
    let found = read(&Graph::of(graph).unwrap()).unwrap();
    let schedule = found.sampling.unwrap().schedule.to_string();
    assert!(schedule.starts_with("simple=3.158"), "{schedule}");
}

#[test]
fn an_image_to_start_from_is_named() {
    let nodes = json!({
        "70": {"class_type": "VAEEncode", "inputs": {"pixels": ["71", 0], "vae": ["39", 0]}},
        "71": {"class_type": "ImageScaleToTotalPixels", "inputs": {"image": ["72", 0]}},
        "72": {"class_type": "LoadImage", "inputs": {"image": "in/fox.png"}}
    });
    let inputs = [
        ("3", "latent_image", json!(["70", 0])),
        ("3", "denoise", json!(0.6)),
    ];
    let found = changed(nodes.clone(), &inputs).unwrap();
    assert_eq!(found.init_image.as_deref(), Some("fox.png"));
    assert_eq!((found.strength, found.width), (Some(0.6), None));
    for denoise in [0.0, -1.0, 7.0] {
        let inputs = [inputs[0].clone(), ("3", "denoise", json!(denoise))];
        let found = changed(nodes.clone(), &inputs).unwrap();
        assert_eq!(found.strength, None);
        assert_eq!(
            found.left(ToString::to_string),
            Some(format!("denoise: {denoise}"))
        );
    }
}

#[test]
fn doubt_is_an_error_that_says_what_there_is() {
    let second = json!({"70": {"class_type": "KSampler", "inputs": {"latent_image": ["3", 0]}}});
    let advanced = json!({"3": {"class_type": "KSamplerAdvanced", "inputs": {
        "noise_seed": 1, "steps": 20, "start_at_step": 0, "end_at_step": 10, "cfg": 1
    }}});
    let custom = json!({"3": {"class_type": "SamplerCustomAdvanced", "inputs": {}}});
    let edit = json!({"6": {"class_type": "TextEncodeQwenImageEditPlus", "inputs": {
        "prompt": "x", "image1": ["70", 0]
    }}});
    let concat = json!({"70": {"class_type": "StringConcatenate", "inputs": {}}});
    let noise = json!({"70": {"class_type": "SetLatentNoiseMask", "inputs": {}}});
    for (nodes, inputs, part) in [
        (
            second,
            vec![("8", "samples", json!(["70", 0]))],
            "2 samplers",
        ),
        (advanced, vec![], "KSamplerAdvanced goes through a part"),
        (custom, vec![], "SamplerCustomAdvanced"),
        (edit, vec![], "TextEncodeQwenImageEditPlus"),
        (
            concat,
            vec![("6", "text", json!(["70", 0]))],
            "StringConcatenate",
        ),
        (
            noise,
            vec![("3", "latent_image", json!(["70", 0]))],
            "SetLatentNoiseMask",
        ),
        (
            json!({}),
            vec![("8", "samples", json!(["39", 0]))],
            "without a KSampler",
        ),
        (
            json!({}),
            vec![("3", "positive", json!(null))],
            "prompt comes from nowhere",
        ),
    ] {
        let refused = changed(nodes, &inputs).unwrap_err();
        assert!(
            refused.starts_with("holds a ComfyUI workflow "),
            "{refused}"
        );
        assert!(refused.contains(part), "{refused}");
    }
}

#[test]
fn another_models_workflow_gives_what_every_model_has() {
    let nodes = json!({
        "37": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "sdxl.safetensors"}},
        "38": {"class_type": "CLIPLoader", "inputs": {"type": "sd3"}},
        "70": {"class_type": "LoraLoader", "inputs": {
            "lora_name": "x.safetensors", "strength_model": 0.5, "model": ["37", 0]
        }}
    });
    let found = changed(nodes, &[("3", "model", json!(["70", 0]))]).unwrap();
    assert!(!found.is_our_model && found.loras.is_empty());
    assert_eq!(
        found.left(ToString::to_string).as_deref(),
        Some("LoRA: x.safetensors 0.5")
    );
    assert_eq!(found.model.as_deref(), Some("sdxl"));
    assert!(!found.is_of_model("sdxl"));
}
