use std::ffi::OsString;

use clap::Parser;

use super::{explain, one_dash_flag};
use crate::args::Cli;

/// The message about a command line, which is given without the program's name.
fn told(line: &[&str]) -> String {
    let parsed = Cli::try_parse_from(["qwen-image"].iter().chain(line));
    let Err(mut error) = parsed else {
        panic!("{line:?} is understood");
    };
    let arguments: Vec<OsString> = line.iter().map(OsString::from).collect();
    explain(&mut error, &arguments);
    error.render().to_string()
}

/// The tips among it.
fn tips(line: &[&str]) -> Vec<String> {
    let told = told(line);
    let tips = told
        .lines()
        .filter_map(|line| line.trim().strip_prefix("tip: "));
    tips.map(str::to_owned).collect()
}

#[test]
fn flags_of_other_programs_have_the_right_tip() {
    for (flags, tip) in [
        (
            &["--size", "512x512"][..],
            "here it is '--width 512 --height 512'",
        ),
        (&["--size=640x480"], "here it is '--width 640 --height 480'"),
        (
            &["--resolution", "1024"],
            "here it is '--width 1024 --height 1024'",
        ),
        (
            &["--aspect-ratio", "16:9"],
            "here it is '--width 1664 --height 928'",
        ),
        (&["--guidance", "3.5"], "here it is '--cfg-scale 3.5'"),
        (&["--guidance-scale=3.5"], "here it is '--cfg-scale 3.5'"),
        (&["--guidance_scale", "3.5"], "here it is '--cfg-scale 3.5'"),
        (&["--true-cfg-scale", "4"], "here it is '--cfg-scale 4'"),
        (&["--cfg", "4"], "here it is '--cfg-scale 4'"),
        (&["--cfg_scale", "4"], "here it is '--cfg-scale 4'"),
        (&["--image", "a.png"], "here it is '--init-image a.png'"),
        (&["--image"], "here it is '--init-image'"),
        (&["--init-img", "a.png"], "here it is '--init-image a.png'"),
        (&["-i", "a.png"], "here it is '--init-image a.png'"),
        (
            &["--image-path", "a b.png"],
            "here it is '--init-image \"a b.png\"'",
        ),
        (&["--image-strength", "0.4"], "here it is '--strength 0.6'"),
        (&["--denoise", "0.5"], "here it is '--strength 0.5'"),
        (&["--num", "3"], "here it is '--batch-count 3'"),
        (&["--batch", "2"], "here it is '--batch-count 2'"),
        (
            &["--num-images-per-prompt", "2"],
            "here it is '--batch-count 2'",
        ),
        (&["--num-inference-steps", "20"], "here it is '--steps 20'"),
        (
            &["--n-prompt", "blurry, bad"],
            "here it is '--negative-prompt \"blurry, bad\"'",
        ),
        (
            &["--sampling-method", "dpm++2m"],
            "here it is '--sampler dpmpp2m'",
        ),
        (&["--scheduler", "simple"], "here it is '--schedule simple'"),
        (
            &["--scheduler", "UniPCMultistepScheduler"],
            "here it is '--sampler unipc'",
        ),
        (&["--flow-shift", "3"], "here it is '--schedule shift=3'"),
        (
            &["--sigmas", "1.0, 0.5"],
            "here it is '--schedule sigmas=1.0,0.5'",
        ),
        (
            &["--lora-paths", "a.safetensors"],
            "here it is '--lora a.safetensors'",
        ),
        (&["--lora-scales", "0.5"], "here it is '--lora FILE:0.5'"),
        (&["--outdir", "out"], "here it is '--output out/'"),
        (&["--torch-dtype", "float16"], "here it is '--dtype bf16'"),
        (&["--fp16"], "here it is '--dtype bf16'"),
        (
            &["--diffusion-model", "t.safetensors"],
            "here it is '--transformer t.safetensors'",
        ),
        (
            &["-m", "t.safetensors"],
            "here it is '--transformer t.safetensors'",
        ),
        (&["--model", "folder"], "here it is '--models folder'"),
        (&["--qwen2vl", "e"], "here it is '--text-encoder e'"),
        (
            &["--config-from-metadata", "x.png"],
            "here it is '--from x.png'",
        ),
        (&["--gpu", "1"], "here it is '--backend cuda --device 1'"),
        (&["--diffusion-fa"], "nothing to switch on"),
        (&["--offload-to-cpu"], "--text-encoder-on-cpu"),
        (&["--prompts", "x"], "--prompt-file FILE"),
        (&["--rng", "cpu"], "torch's generator"),
        (&["--clip-skip", "2"], "nothing like it"),
    ] {
        for command in ["generate", "plan"] {
            let line = [&[command], flags, &["-p", "x"]].concat();
            let tips = tips(&line);
            assert_eq!(tips.len(), 1, "{line:?}: {tips:?}");
            assert!(tips[0].contains(tip), "{line:?}: {tips:?}");
        }
    }
    for (flags, tip) in [
        (&["--token", "hf_x"][..], "HF_TOKEN"),
        (&["--local-dir", "m"], "here it is '--models m'"),
        (
            &["--model", "fp8_scaled"],
            "here it is '--variant fp8-scaled'",
        ),
        (&["fp8"], "here it is '--variant fp8'"),
    ] {
        let tips = tips(&[&["download"], flags].concat());
        assert_eq!(tips.len(), 1, "{flags:?}: {tips:?}");
        assert!(tips[0].contains(tip), "{flags:?}: {tips:?}");
    }
    assert_eq!(
        tips(&["completions", "--shell", "bash"]),
        ["without a flag: 'qwen-image completions bash'"]
    );
}

#[test]
fn a_misspelt_flag_is_told_as_clap_tells_it() {
    for (typed, meant) in [
        ("--promt", "--prompt"),
        ("--heigth", "--height"),
        ("--no-negative", "--no-negative-prompt"),
        ("--seeed", "--seed"),
    ] {
        let tips = tips(&["generate", typed, "5"]);
        assert_eq!(tips.len(), 1, "{typed}: {tips:?}");
        assert!(tips[0].contains(&format!("'{meant}'")), "{typed}: {tips:?}");
    }
    // The nearest by letters is another thing.
    assert_eq!(tips(&["generate", "--steering", "5"]), [""; 0]);
    let told = told(&["devices", "--verbose"]);
    assert!(
        told.contains("Usage: qwen-image devices [OPTIONS]"),
        "{told}"
    );
}

#[test]
fn a_long_flag_with_one_dash_is_told() {
    let fault = |line: &[&str]| {
        let line: Vec<OsString> = line.iter().map(OsString::from).collect();
        one_dash_flag(&line)
    };
    for (line, tip) in [
        (
            &["generate", "-width", "512"][..],
            "tip: here it is '--width'",
        ),
        (
            &["generate", "-prompt", "a fox"],
            "'-prompt': long flags have two dashes",
        ),
        (
            &["generate", "a fox", "-steps=20"],
            "tip: here it is '--steps'",
        ),
        (
            &["generate", "-size", "64x48"],
            "tip: here it is '--width 64 --height 48'",
        ),
        (
            &["generate", "-num", "3"],
            "tip: here it is '--batch-count 3'",
        ),
        (&["plan", "-models=m"], "tip: here it is '--models'"),
    ] {
        let told = fault(line).unwrap_or_default();
        assert!(told.contains(tip), "{line:?}: {told}");
    }
    for line in [
        &["generate", "-p", "-steps", "-s5", "-qofox.png"][..],
        &["generate", "-pfox", "-nblurry", "-W64", "-H48", "-b2"],
        &["generate", "-p=fox", "-n=blurry", "-W=64", "-b=2"],
        &["generate", "--", "-steps"],
        &["-steps"],
    ] {
        assert_eq!(fault(line), None, "{line:?}");
    }
}

#[test]
fn flags_without_a_command_name_it() {
    for (line, tip) in [
        (
            &["--prompt", "a fox", "--steps", "4"][..],
            "flags follow a command: 'qwen-image generate --prompt \"a fox\" --steps 4'",
        ),
        (
            &["--size=512x512"],
            "flags follow a command: 'qwen-image generate --size=512x512'",
        ),
        (
            &["-p", "fox"],
            "flags follow a command: 'qwen-image generate -p fox'",
        ),
        (
            &["--guidance", "3"],
            "flags follow a command: 'qwen-image generate --guidance 3'",
        ),
        (
            &["--models", "m", "generate", "fox"],
            "flags follow a command: 'qwen-image generate --models m fox'",
        ),
        (
            &["--variant", "bf16"],
            "flags follow a command: 'qwen-image download --variant bf16'",
        ),
        (
            &["--vram-total=24GB"],
            "flags follow a command: 'qwen-image plan --vram-total=24GB'",
        ),
        (&["-v"], "here it is '--version'"),
        (
            &["a red fox"],
            "to draw it: qwen-image generate \"a red fox\"",
        ),
        (
            &["a", "red", "fox", "-W", "512"],
            "to draw it: qwen-image generate \"a red fox\" -W 512",
        ),
        (
            &["txt2img", "-p", "fox"],
            "here it is 'qwen-image generate -p fox'",
        ),
        (&["pull"], "here it is 'qwen-image download'"),
    ] {
        assert_eq!(tips(line), [tip], "{line:?}");
    }
    assert!(tips(&["generat", "-p", "x"])[0].contains("'generate'"));
}
