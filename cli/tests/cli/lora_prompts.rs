//! LoRAs that prompts name: `<lora:NAME:WEIGHT>`.

use std::fs;

use crate::from::{bytes, foreign, from, with_text};
use crate::lora::place;
use crate::safetensors_file::{Entry, File};
use crate::support::{Place, Run};

/// The lines of a run that tell of LoRAs in prompts.
fn notes(run: &Run) -> Vec<&str> {
    let lines = run.stderr.lines();
    lines
        .filter(|line| line.starts_with("note: ") && line.contains("ora"))
        .collect()
}

#[test]
fn a_tag_in_a_prompt_is_left_out_and_told() {
    let place = place();
    place.generate(&["-o", "out/plain.png"]).expect(0);
    for (prompt, tip) in [
        ("a red fox <lora:small_style:0.8>", "--lora small_style:0.8"),
        ("a red fox, <lora:small_style>", "--lora small_style:1"),
        ("<lora:my style:0.5:0.7>a red fox", "--lora 'my style:0.7'"),
        ("a red <LORA:x:y> fox", "--lora x:WEIGHT"),
    ] {
        let mut command = place.command();
        // The last prompt counts.
        let run: Run = command
            .args(["-o", "out/x.png", "-p", prompt])
            .output()
            .unwrap()
            .into();
        let run = run.expect(0);
        let told = notes(&run);
        let told: Vec<_> = told
            .iter()
            .filter(|line| line.contains("a prompt adds no LoRA"))
            .collect();
        assert_eq!(told.len(), 1, "{}", run.stderr);
        assert!(told[0].ends_with(&format!("tip: {tip}")), "{}", told[0]);
        assert_eq!(
            bytes(&place, "out/x.png"),
            bytes(&place, "out/plain.png"),
            "{prompt}"
        );
    }
}

#[test]
fn negative_prompts_and_prompt_files_are_no_other() {
    let place = place();
    place
        .generate(&["-n", "blurry", "-o", "out/plain.png"])
        .expect(0);
    let run = place
        .generate(&["-n", "blurry, <lora:x:1>", "-o", "out/x.png"])
        .expect(0);
    assert!(
        notes(&run)[0].contains("<lora:x:1> is left out"),
        "{}",
        run.stderr
    );
    assert_eq!(bytes(&place, "out/x.png"), bytes(&place, "out/plain.png"));

    let lines = "a red fox <lora:a:1>\na red fox, <lora:a:1>\n<lora:b:2>a cat\na dog\n";
    fs::write(place.path("p.txt"), lines).unwrap();
    let mut command = crate::support::program();
    command.current_dir(place.path("")).args([
        "generate",
        "--models=models",
        "--backend=flex",
        "--prompt-file=p.txt",
        "-W48",
        "-H32",
        "--steps=2",
        "--seed=9",
        "-oout/p-%d.png",
    ]);
    let run: Run = command.output().unwrap().into();
    let run = run.expect(0);
    let [note] = notes(&run).try_into().unwrap();
    assert!(
        note.contains("<lora:a:1>, <lora:b:2> is left out"),
        "{note}"
    );
    assert!(note.ends_with("tip: --lora a:1 --lora b:2"), "{note}");
}

/// Another program's image.
fn webui(place: &Place, name: &str, prompt: &str) {
    foreign(
        &place.path(name),
        &format!(
            "{prompt}\nSteps: 2, Sampler: Euler, CFG scale: 3, Seed: 77, Size: 48x32, Model: v1"
        ),
    );
}

#[test]
fn a_lora_in_another_programs_prompt_is_used_if_it_is_found() {
    let place = place();
    let plain = ["-p", "a red fox", "--cfg-scale=3", "--seed=77"];
    let generate = |more: &[&str]| {
        let mut command = place.command();
        let run: Run = command.args(plain).args(more).output().unwrap().into();
        run.expect(0)
    };
    generate(&["--lora", "small_style:0.5", "-oout/style.png"]);
    generate(&["-oout/plain.png"]);
    webui(&place, "w.png", "a red fox, <lora:small_style:0.5>");
    let run = from(&place, "w.png", &["-oout/x.png"]).expect(0);
    let told = notes(&run);
    let used = told.iter().any(|line| {
        line.contains("w.png names the LoRA small_style in its prompt; models")
            && line.ends_with("is used, with a weight of 0.5")
    });
    assert!(used, "{}", run.stderr);
    assert_eq!(bytes(&place, "out/x.png"), bytes(&place, "out/style.png"));
    // And again, from what was drawn.
    from(&place, "out/x.png", &["-oout/again.png"]).expect(0);
    assert_eq!(
        bytes(&place, "out/again.png"),
        bytes(&place, "out/style.png")
    );
    // A flag counts more, and a negative prompt has none.
    let prompts = "a red fox, <lora:small_style:0.5>\nNegative prompt: blurry <lora:neg:1>";
    webui(&place, "n.png", prompts);
    let flags = ["--lora", "small_style:0", "-oout/y.png"];
    let run = from(&place, "n.png", &flags).expect(0);
    let note = "note: <lora:small_style:0.5>, <lora:neg:1> in the prompts of n.png is left out";
    assert!(notes(&run).contains(&note), "{}", run.stderr);
    assert!(!run.stderr.contains("is used, with"), "{}", run.stderr);

    // One that is not there, and one of another model.
    let entry = |end: &str, shape: &[usize]| {
        let key = format!("lora_unet_down_blocks_0_attn.{end}.weight");
        Entry::new(
            &key,
            "F32",
            shape,
            vec![0; 4 * shape.iter().product::<usize>()],
        )
    };
    let tensors = vec![entry("lora_down", &[1, 8]), entry("lora_up", &[8, 1])];
    let stranger = File {
        metadata: serde_json::Value::Null,
        tensors,
    };
    stranger.write(&place.path("models/loras/sd.safetensors"));
    for (tag, part) in [
        (
            "<lora:nosuch:1>",
            "left out: the `loras` folder of models has none (--lora nosuch:1 adds",
        ),
        ("<lora:sd:0.7>", "left out: models"),
        (
            "<lora:small_style:x>",
            "left out: its weight is not understood",
        ),
    ] {
        webui(&place, "w.png", &format!("a red fox {tag}"));
        let run = from(&place, "w.png", &["-oout/x.png"]).expect(0);
        assert!(
            notes(&run).iter().any(|line| line.contains(part)),
            "{}",
            run.stderr
        );
        assert!(
            !run.stderr.contains("a prompt adds no LoRA"),
            "{}",
            run.stderr
        );
    }
    let differ = |name: &str| bytes(&place, name) != bytes(&place, "out/style.png");
    assert!(differ("out/x.png") && differ("out/plain.png"));
}

#[test]
fn an_image_of_this_program_is_made_again_from_the_very_prompt() {
    // Earlier versions drew such a prompt as it is.
    let place = place();
    let recipe = r#"{"prompt":"a red fox <lora:x:1>","width":48,"height":32,"steps":2,
        "cfg_scale":1,"seed":9,"model":"qwen_image_small_fp8_e4m3fn"}"#;
    with_text(&place.path("old.png"), "qwen-image-burn", recipe);
    let run = from(&place, "old.png", &["-oout/x.png"]).expect(0);
    assert!(notes(&run).is_empty(), "{}", run.stderr);
    let image = bytes(&place, "out/x.png");
    assert!(String::from_utf8_lossy(&image).contains("a red fox <lora:x:1>"));
}
