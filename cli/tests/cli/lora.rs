//! `--lora` and `--lightning`, and what `inspect` and `plan` say of LoRAs.

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::safetensors_file::{Entry, File};
use crate::support::{Place, fixtures, program};

pub(crate) const STYLE: &str = "small_style.safetensors";
pub(crate) const EVERYWHERE: &str = "small_everywhere.safetensors";
pub(crate) const FAST: &str = "Qwen-Image-Lightning-4steps-V1.0.safetensors";

/// The tiny models, with the two LoRAs in `models/loras`.
pub(crate) fn place() -> Place {
    let place = Place::new();
    fs::create_dir(place.path("models/loras")).unwrap();
    for name in [STYLE, EVERYWHERE] {
        let from = fixtures().join("loras").join(name);
        fs::copy(from, place.path("models/loras").join(name)).unwrap();
    }
    place
}

/// The first conditional prediction of a run, and what it said.
fn prediction(place: &Place, flags: &[&str]) -> (Vec<f32>, String) {
    let trace = ["--trace", "out/t.safetensors", "--report", "out/r.json"];
    let run = place.generate(&[flags, &trace].concat()).expect(0);
    let trace = File::read(&place.path("out/t.safetensors"));
    (trace.get("step0.cond").f32s(), run.stderr)
}

fn largest_difference(a: &[f32], b: &[f32]) -> f32 {
    let pairs = a.iter().zip(b);
    pairs.map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

fn text_of(image: &Path) -> String {
    String::from_utf8_lossy(&fs::read(image).unwrap()).into_owned()
}

#[test]
fn a_lora_changes_the_image_and_is_told() {
    let place = place();
    let (plain, said) = prediction(&place, &[]);
    assert!(!said.contains("LoRA"), "{said}");
    assert!(!text_of(&place.path("out/x.png")).contains("Lora:"));
    let path = format!("models/loras/{STYLE}");
    let (whole, said) = prediction(&place, &["--lora", &path]);
    assert!(
        said.contains("Loaded LoRA small_style: 24 targets, rank 4, weight 1, memory "),
        "{said}"
    );
    assert!(largest_difference(&plain, &whole) > 0.1);
    // By its name in the models' folder, with or without its ending; a weight of 1 is none.
    for value in [
        STYLE,
        "small_style",
        "small_style:1",
        &format!("{path}:1.0"),
    ] {
        let (found, _) = prediction(&place, &["--lora", value]);
        assert!(found == whole, "{value}");
    }
    let (half, _) = prediction(&place, &["--lora", "small_style:0.5"]);
    assert!(largest_difference(&half, &whole) > 0.01 && largest_difference(&half, &plain) > 0.01);
    let (none, _) = prediction(&place, &["--lora", "small_style:0"]);
    assert!(none == plain);
    let flags = ["--lora", "small_style:1", "--lora", "small_style:-1"];
    let (cancelled, _) = prediction(&place, &flags);
    assert!(largest_difference(&cancelled, &plain) < 1e-4);
}

#[test]
fn several_loras_are_in_the_report_and_in_the_image() {
    let place = place();
    let flags = [
        "--lora",
        "small_style:0.8",
        "--lora",
        "small_everywhere:-0.6",
    ];
    let (_, said) = prediction(&place, &flags);
    assert!(
        said.contains("Loaded LoRA small_everywhere: 34 targets, ranks 1 to 3, weight -0.6"),
        "{said}"
    );
    let report = fs::read_to_string(place.path("out/r.json")).unwrap();
    let report: Value = serde_json::from_str(&report).unwrap();
    let phases = report["phases"].as_array().unwrap();
    let names: Vec<_> = phases.iter().map(|phase| &phase["name"]).collect();
    let at = names.iter().position(|name| *name == "load_loras").unwrap();
    assert_eq!(names[at - 1], "load_transformer");
    assert_eq!(phases[at]["tensors"], 2 * (24 + 34));
    assert!(phases[at]["bytes"].as_u64().unwrap() > 0);
    let text = text_of(&place.path("out/x.png"));
    assert!(text.contains("a red fox\nNegative prompt:"), "{text}");
    let field = "Lora: \"small_style: 0.8, small_everywhere: -0.6\", ";
    assert!(text.contains(field), "{text}");
}

#[test]
fn a_path_with_colons_is_a_path() {
    let place = place();
    let folder = place.path("a:b");
    fs::create_dir(&folder).unwrap();
    fs::copy(
        place.path("models/loras").join(STYLE),
        folder.join("s:x.safetensors"),
    )
    .unwrap();
    let (plain, _) = prediction(&place, &["--lora", "a:b/s:x.safetensors"]);
    let (half, said) = prediction(&place, &["--lora", "a:b/s:x.safetensors:0.5"]);
    assert!(said.contains("LoRA s:x: 24 targets"), "{said}");
    assert!(plain != half);
}

#[test]
fn weights_that_are_none_are_exit_2() {
    let place = place();
    let path = format!("models/loras/{STYLE}");
    for (value, part) in [
        (format!("{path}:nan"), "not nan"),
        (format!("{path}:1000"), "from -100 to 100, not 1000"),
        (format!("{path}:0,8"), "'0,8' is no number"),
        (String::new(), "names no file"),
    ] {
        let run = place.generate(&["-q", "--lora", &value]);
        run.expect_error(2, &["--lora", part]);
    }
    assert_eq!(place.written(), [""; 0]);
}

/// Writes a LoRA of F32 zeros.
fn write(place: &Place, name: &str, tensors: &[(&str, &[usize])]) {
    let entry = |&(name, shape): &(&str, &[usize])| Entry {
        key: name.to_owned(),
        dtype: "F32".to_owned(),
        shape: shape.to_vec(),
        bytes: vec![0; 4 * shape.iter().product::<usize>()],
    };
    let file = File {
        metadata: Value::Null,
        tensors: tensors.iter().map(entry).collect(),
    };
    file.write(&place.path(name));
}

#[test]
fn what_is_no_lora_for_this_model_is_exit_3_before_anything_loads() {
    let place = place();
    let down: (&str, &[usize]) = ("img_in.lora_A.weight", &[2, 64]);
    let up: (&str, &[usize]) = ("img_in.lora_B.weight", &[32, 2]);
    write(&place, "half.safetensors", &[down]);
    write(
        &place,
        "wide.safetensors",
        &[("img_in.lora_A.weight", &[2, 65]), up],
    );
    write(
        &place,
        "dora.safetensors",
        &[down, up, ("img_in.dora_scale", &[32, 1])],
    );
    write(&place, "loha.safetensors", &[("img_in.hada_w1_a", &[2, 2])]);
    write(
        &place,
        "text.safetensors",
        &[("lora_te_x.lora_up.weight", &[2, 2])],
    );
    write(
        &place,
        "flux.safetensors",
        &[down, up, ("lora_unet_double_blocks_0.alpha", &[])],
    );
    fs::write(place.path("page.safetensors"), "<html></html>").unwrap();
    let transformer = place.transformer();
    for (name, part) in [
        (
            "half.safetensors",
            "without one of the two matrices (img_in)",
        ),
        ("wide.safetensors", "img_in is [32, 65] instead of [32, 64]"),
        ("dora.safetensors", "DoRA, which is not supported"),
        ("loha.safetensors", "LoHa, which is not supported"),
        ("text.safetensors", "for the text encoder"),
        ("flux.safetensors", "1 tensor of 3 for no linear layer"),
        ("page.safetensors", "web page"),
        ("none.safetensors", "no such file"),
        (transformer.to_str().unwrap(), "is not a LoRA"),
    ] {
        place.refuses(&["--lora", name], &[name, part]);
    }
    let style = format!("models/loras/{STYLE}");
    place.refuses(&["--transformer", &style], &["goes with --lora"]);
}

#[test]
fn a_lora_that_is_not_there_is_told_with_those_that_are() {
    let place = place();
    let there = format!("{EVERYWHERE}, {STYLE}");
    let folder = Path::new("models").join("loras");
    let folder = folder.to_str().unwrap();
    place.refuses(
        &["--lora", "nosuch"],
        &["nosuch: no such file", folder, &there],
    );
}

#[test]
fn lightning_takes_the_lora_of_the_models_folder() {
    let place = place();
    let lightning = |more: &[&str]| {
        // Without the two steps of the other tests.
        let mut command = program();
        command.current_dir(place.path("")).args(
            "generate --models models --prompt fox -W 48 -H 32 --seed 9 --backend flex --trace out/t.safetensors -o out/x.png --lightning".split(' '),
        );
        let run: crate::support::Run = command.args(more).output().unwrap().into();
        run
    };
    lightning(&["4", "-q"]).expect_error(3, &["loras", "no Lightning LoRA for 4 steps", "--lora"]);
    assert_eq!(place.written(), [""; 0]);

    let file = place.path("models/loras").join(FAST);
    fs::rename(place.path("models/loras").join(STYLE), &file).unwrap();
    let said = lightning(&["4"]).expect(0).stderr;
    let told = "Loaded LoRA Qwen-Image-Lightning-4steps-V1.0: 24 targets, rank 4, weight 1";
    assert!(said.contains(told), "{said}");
    assert!(!said.contains("taken for it"), "{said}");
    let trace = File::read(&place.path("out/t.safetensors"));
    assert!(!trace.names().contains(&"step0.uncond"));
    let sigmas = trace.get("sigmas").f32s();
    assert!(largest_difference(&sigmas, &[1.0, 0.9, 0.75, 0.5, 0.0]) < 1e-6);
    let text = text_of(&place.path("out/x.png"));
    assert!(
        text.contains("Steps: 4, Sampler: Euler, CFG scale: 1, Seed: 9"),
        "{text}"
    );
    assert!(text.contains("Lora: \"Qwen-Image-Lightning-4steps-V1.0: 1\", Lightning: 4, "));

    // Another LoRA beside it, and the same one named: with a weight, and not twice.
    let said = lightning(&["4", "--lora", EVERYWHERE]).expect(0).stderr;
    assert_eq!(said.matches("Loaded LoRA").count(), 2, "{said}");
    let named = format!("{FAST}:0.9");
    let said = lightning(&["4", "--lora", &named]).expect(0).stderr;
    assert_eq!(said.matches("Loaded LoRA").count(), 1, "{said}");
    assert!(said.contains("weight 0.9"), "{said}");

    // One that does not say so in its name counts, and that is told.
    let said = lightning(&["8", "--lora", EVERYWHERE]).expect(0).stderr;
    assert!(
        said.contains("one named by --lora is taken for it"),
        "{said}"
    );
    assert!(text_of(&place.path("out/x.png")).contains("Steps: 8,"));
    lightning(&["8", "-q", "--lora", FAST]).expect_error(2, &[FAST, "is for 4 steps"]);

    fs::copy(
        &file,
        place.path("models/loras/lightning-4step-v2.safetensors"),
    )
    .unwrap();
    lightning(&["4", "-q"]).expect_error(3, &["2 files", FAST, "lightning-4step-v2", "--lora"]);
}

#[test]
fn flags_that_contradict_lightning_are_exit_2() {
    let place = place();
    let lora = ["-q", "--lora", EVERYWHERE, "--lightning"];
    // The steps of every test, 2, contradict too.
    for (flags, part) in [
        (&["4"][..], "takes 4 steps: leave out --steps 2"),
        (&["4", "--steps", "8"], "leave out --steps 8"),
        (
            &["4", "--steps", "4", "--cfg-scale", "4"],
            "leave out --cfg-scale 4",
        ),
        (
            &["8", "--steps", "8", "-n", "blur"],
            "leave out --negative-prompt",
        ),
        (&["5"], "[possible values: 4, 8]"),
    ] {
        let mut command = place.command();
        let run = command.args(["-o", "out/x.png"]).args(lora).args(flags);
        let run: crate::support::Run = run.output().unwrap().into();
        let run = run.expect(2);
        assert!(run.stderr.contains(part), "{flags:?}: {}", run.stderr);
        assert_eq!(run.stderr.lines().count(), 1, "{}", run.stderr);
    }
    for fitting in [
        &["4", "--steps", "4"][..],
        &["4", "--steps", "4", "--cfg-scale", "1"],
        &["4", "--steps", "4", "--no-negative-prompt"],
    ] {
        place.generate(&[&lora, fitting].concat()).expect(0);
    }
    // Without a folder to look in.
    let run: crate::support::Run = program()
        .args(["generate", "-q", "-p", "x", "--lightning", "4"])
        .output()
        .unwrap()
        .into();
    assert_eq!(run.code, 2, "{}", run.stderr);
    assert!(run.stderr.contains("name it with --lora"), "{}", run.stderr);
}

#[test]
fn help_has_them_under_a_heading_of_their_own() {
    let run: crate::support::Run = program()
        .args(["generate", "--help"])
        .output()
        .unwrap()
        .into();
    let help = run.expect(0).stdout;
    let under = crate::support::under_heading(&help, "LoRA");
    for flag in ["--lora <FILE[:WEIGHT]>", "--lightning <STEPS>"] {
        assert!(under.contains(flag), "{under}");
    }
    assert!(!under.contains("--backend"), "{under}");
}

#[test]
fn inspect_says_what_a_lora_is() {
    let inspect = |name: &str, more: &[&str]| -> crate::support::Run {
        let path = fixtures().join("loras").join(name);
        let mut command = program();
        command.arg("inspect").arg(path).args(more);
        command.output().unwrap().into()
    };
    let text = inspect(STYLE, &[]).expect(0).stdout;
    for part in [
        "LoRA for the transformer",
        "72 tensors",
        "BF16",
        "targets                 24",
        "transformer_blocks.*.attn.to_q",
        "rank                    4",
        "alpha                   2",
        "scale                   0.5",
    ] {
        assert!(text.contains(part), "no `{part}` in {text}");
    }
    let json: Value =
        serde_json::from_str(&inspect(EVERYWHERE, &["--json"]).expect(0).stdout).unwrap();
    let lora = &json["loras"][0];
    assert_eq!(lora["component"], "lora");
    assert_eq!(lora["targets"], 34);
    assert_eq!(lora["layers"]["norm_out.linear"], 1);
    assert_eq!(lora["layers"]["transformer_blocks.*.img_mod.1"], 2);
    assert_eq!(lora["ranks"]["3"], 11);
    assert!(lora["alpha"].is_null());
    assert_eq!(lora["scale"], serde_json::json!([1.0, 1.0]));
    inspect(STYLE, &["--read"]).expect_error(2, &["--read", "is a LoRA"]);
}

#[test]
fn the_plan_counts_loras() {
    let place = place();
    let plan = |more: &[&str]| -> Value {
        let mut command = program();
        command
            .current_dir(place.path(""))
            .args(["plan", "--json", "--models", "models"]);
        command
            .args(["--vram-total", "8GB", "-W64", "-H48"])
            .args(more);
        let run: crate::support::Run = command.output().unwrap().into();
        serde_json::from_str(&run.expect(0).stdout).unwrap()
    };
    let (plain, with) = (plan(&[]), plan(&["--lora", "small_style:0.5"]));
    let figure = |plan: &Value, name: &str| plan["phases"][1][name].as_u64().unwrap();
    let tokens = with["phases"][1]["adapter_bytes"].as_u64().unwrap();
    // bf16, with ranks filled up to 8: eight attention layers of 32 to 32 and four of 32 to 128 or
    // back, in each of two blocks.
    assert_eq!(tokens, 2 * 2 * 8 * (8 * (32 + 32) + 4 * (32 + 128)));
    assert_eq!(figure(&plain, "adapter_bytes"), 0);
    assert_eq!(
        figure(&with, "other_bytes"),
        figure(&plain, "other_bytes") + tokens
    );
    assert_eq!(figure(&with, "tensors"), figure(&plain, "tensors") + 48);
    assert!(figure(&with, "working_bytes") > figure(&plain, "working_bytes"));
    let lightning = plan(&["--lora", STYLE, "--lightning", "4"]);
    assert_eq!(lightning["work"]["guided"], false);
}
