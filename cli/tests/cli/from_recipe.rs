//! `--from`: recipes with LoRAs, recipes that are lost, and recipes that anybody may have written.

use std::fs;

use serde_json::{Value, json};

use crate::from::{bytes, foreign, from, with_text};
use crate::lora::{EVERYWHERE, FAST, STYLE, place};
use crate::support::{Place, program};

/// The recipe of an image.
pub(crate) fn recipe(place: &Place, image: &str) -> Value {
    let run: crate::support::Run = program()
        .args(["inspect", "--json"])
        .arg(place.path(image))
        .output()
        .unwrap()
        .into();
    let inspection: Value = serde_json::from_str(&run.expect(0).stdout).unwrap();
    inspection["image"]["recipe"].clone()
}

/// The names of a recipe's LoRAs.
fn loras(recipe: &Value) -> Vec<&str> {
    let loras = recipe["loras"].as_array();
    let loras = loras.into_iter().flatten();
    loras.map(|lora| lora["file"].as_str().unwrap()).collect()
}

/// The same without guidance and steps, which `--lightning` does not take.
fn lightning(place: &Place, more: &[&str]) {
    let mut command = program();
    command.current_dir(place.path("")).args(
        "generate --models models --prompt fox -W 48 -H 32 --seed 9 --backend flex -o out/x.png"
            .split(' '),
    );
    let run: crate::support::Run = command.args(more).output().unwrap().into();
    run.expect(0);
}

#[test]
fn recorded_loras_are_looked_for_by_name_in_the_models_folder_alone() {
    let place = place();
    let loras = place.path("models/loras");
    fs::create_dir_all(loras.join("art/old")).unwrap();
    fs::rename(loras.join(STYLE), loras.join("art/old").join(STYLE)).unwrap();
    let flags = ["--lora", "art/old/small_style:0.5"];
    place.generate(&flags).expect(0);
    // Another file of that name, where the program runs.
    fs::write(place.path(STYLE), "junk").unwrap();
    from(&place, "out/x.png", &["-oout/y.png"]).expect(0);
    assert_eq!(bytes(&place, "out/x.png"), bytes(&place, "out/y.png"));

    fs::copy(loras.join("art/old").join(STYLE), loras.join(STYLE)).unwrap();
    let parts = ["out/x.png", "old", "--lora FILE:0.5"];
    from(&place, "out/x.png", &["-q"]).expect_error(3, &parts);
    fs::remove_dir_all(&loras).unwrap();
    let parts = ["out/x.png", STYLE, "name it with --lora FILE:0.5"];
    from(&place, "out/x.png", &["-q"]).expect_error(3, &parts);
    // Another model comes first: its LoRAs are not to be had here.
    let other = place.path("models/diffusion_models/other.safetensors");
    fs::rename(place.transformer(), other).unwrap();
    from(&place, "out/x.png", &["-q"]).expect_error(3, &["out/x.png", "--transformer"]);
}

#[test]
fn lora_and_lightning_are_each_taken_from_the_recipe() {
    let place = place();
    let folder = place.path("models/loras");
    let fast = "Qwen-Image-Lightning-8steps-V1.0.safetensors";
    fs::copy(folder.join(STYLE), folder.join(FAST)).unwrap();
    fs::copy(folder.join(STYLE), folder.join(fast)).unwrap();
    lightning(&place, &["--lightning=4", "--lora", "small_style:0.5"]);
    let made = recipe(&place, "out/x.png");
    assert_eq!(loras(&made), [STYLE, FAST]);

    from(&place, "out/x.png", &["-oout/a.png", "--lora", EVERYWHERE]).expect(0);
    let again = recipe(&place, "out/a.png");
    assert_eq!(loras(&again), [EVERYWHERE, FAST]);
    assert_eq!(
        (&again["lightning"], &again["steps"]),
        (&json!(4), &json!(4))
    );

    from(&place, "out/x.png", &["-oout/b.png", "--lightning=8"]).expect(0);
    let again = recipe(&place, "out/b.png");
    assert_eq!(loras(&again), [STYLE, fast]);
    assert_eq!(
        (&again["lightning"], &again["steps"]),
        (&json!(8), &json!(8))
    );
    assert_eq!(again["loras"][0]["weight"], 0.5);

    from(&place, "out/x.png", &["-oout/c.png", "--lightning=4"]).expect(0);
    assert_eq!(bytes(&place, "out/x.png"), bytes(&place, "out/c.png"));
}

#[test]
fn what_makes_the_image_another_is_told() {
    let place = place();
    let folder = place.path("models/loras");
    place
        .generate(&["-q", "--lora", STYLE, "--dtype=bf16"])
        .expect(0);
    let run = from(&place, "out/x.png", &["-oout/a.png", "--dtype=bf16"]).expect(0);
    assert!(!run.stderr.contains("note:"), "{}", run.stderr);
    assert_eq!(bytes(&place, "out/x.png"), bytes(&place, "out/a.png"));

    fs::copy(folder.join(EVERYWHERE), folder.join(STYLE)).unwrap();
    let run = from(&place, "out/x.png", &["-oout/b.png", "--dtype=f32"]).expect(0);
    let format = "was computed in bf16, and this run computes in f32";
    assert!(run.stderr.contains(format), "{}", run.stderr);
    let file = format!("was made with another file {STYLE}");
    assert!(run.stderr.contains(&file), "{}", run.stderr);
}

#[test]
fn listed_levels_and_lightning_have_the_same_steps() {
    let place = place();
    let folder = place.path("models/loras");
    fs::rename(folder.join(STYLE), folder.join(FAST)).unwrap();
    let mut command = program();
    command.current_dir(place.path("")).args(
        "generate -q --models models -p fox --backend flex --lightning 4 --schedule sigmas=1,0.5"
            .split(' '),
    );
    let run: crate::support::Run = command.output().unwrap().into();
    run.expect_error(2, &["--lightning 4", "--schedule", "2 noise levels"]);
    lightning(
        &place,
        &["--lightning=4", "--schedule=sigmas=1,0.8,0.6,0.3"],
    );
    assert_eq!(recipe(&place, "out/x.png")["steps"], 4);

    // An image without Lightning has levels that are not for it.
    lightning(&place, &["--schedule=sigmas=1,0.5"]);
    from(&place, "out/x.png", &["-oout/a.png", "--lightning=4"]).expect(0);
    let again = recipe(&place, "out/a.png");
    assert_eq!(
        (&again["schedule"], &again["steps"]),
        (&json!("dynamic"), &json!(4))
    );
}

#[test]
fn a_recipe_that_no_flags_can_say_is_refused() {
    let place = Place::new();
    place.generate(&[]).expect(0);
    let made = recipe(&place, "out/x.png");
    let lora = |file: &str, weight: f64| json!([{"file": file, "weight": weight}]);
    for (field, value, part) in [
        ("lightning", json!(1_u64 << 60), "Lightning"),
        ("lightning", json!(5), "Lightning"),
        ("steps", json!(0), "0 steps"),
        ("steps", json!(1_u64 << 60), "steps"),
        ("strength", json!(0.0), "strength"),
        ("strength", json!(7.5), "strength"),
        ("loras", lora("s.safetensors", 1e9), "weight"),
        ("loras", lora("../s.safetensors", 1.0), "no file's name"),
        ("loras", lora("/etc/passwd", 1.0), "no file's name"),
        ("loras", lora("", 1.0), "no file's name"),
        ("width", json!(1_u64 << 31), "--width"),
        ("cfg_scale", json!(1e300), "--cfg-scale"),
    ] {
        let mut recipe = made.clone();
        recipe[field] = value;
        with_text(
            &place.path("bad.png"),
            "qwen-image-burn",
            &recipe.to_string(),
        );
        from(&place, "bad.png", &["-q"]).expect_error(3, &["bad.png", part]);
    }
    let mut listed = made.clone();
    listed["lightning"] = json!(4);
    listed["schedule"] = json!("sigmas=1,0.5");
    with_text(
        &place.path("bad.png"),
        "qwen-image-burn",
        &listed.to_string(),
    );
    from(&place, "bad.png", &["-q"]).expect_error(3, &["bad.png", "2 noise levels"]);
}

#[test]
fn what_a_text_tells_too_little_of_is_asked_for() {
    let place = place();
    let text = |fields: &str| {
        let text = format!(
            "a red fox\nNegative prompt: n\nSteps: 2, Sampler: Euler, CFG scale: 4, Seed: 9, \
             {fields}, Size: 48x32, Model: qwen_image_small_fp8_e4m3fn, \
             Version: qwen-image-burn 0.1.0"
        );
        foreign(&place.path("bare.png"), &text);
    };
    for (fields, flag) in [
        ("Lora: \"small_style: 0.5\"", "--lora"),
        ("Lightning: 4", "--lightning"),
        ("Init image: fox.png", "--init-image"),
        ("Mask: m.png", "--mask"),
        ("Denoising strength: 0.5", "--strength"),
        ("FP8 compute: True", "--fp8-compute"),
    ] {
        text(fields);
        let parts = ["bare.png", fields.split(':').next().unwrap(), flag];
        from(&place, "bare.png", &["-q"]).expect_error(3, &parts);
    }
    text("Lora: \"small_style: 0.5\", FP8 compute: True");
    let flags = ["--lora", "small_style:0.5", "-oout/y.png"];
    from(&place, "bare.png", &[&["-q"], &flags[..]].concat())
        .expect_error(3, &["bare.png", "--fp8-compute"]);
    from(
        &place,
        "bare.png",
        &[&["--fp8-compute"], &flags[..]].concat(),
    )
    .expect(0);
    // A seed is in the place of a noise file; another program's fields are not ours.
    text("Noise: n.safetensors");
    from(&place, "bare.png", &["-q"]).expect_error(3, &["bare.png", "--noise or --seed"]);
    from(&place, "bare.png", &["--seed=9", "-oout/y.png"]).expect(0);
    foreign(
        &place.path("webui.png"),
        "fox\nSteps: 2, CFG scale: 4, Seed: 9, Size: 16x16, Denoising strength: 0.5, \
         Version: v1.10.1",
    );
    from(&place, "webui.png", &["-oout/y.png"]).expect(0);
}
