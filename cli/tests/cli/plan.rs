//! `plan`, and the flags that say where memory comes from.

use std::fs;

use serde_json::Value;

use crate::support::{Place, Run, fixtures, program};

pub(crate) fn plan(args: &[&str]) -> Run {
    program().arg("plan").args(args).output().unwrap().into()
}

/// `plan` of a fixture's models.
fn plan_of(fixture: &str, args: &[&str]) -> Run {
    let models = fixtures().join(fixture);
    let models = ["--models", models.to_str().unwrap()];
    plan(&[&models, args].concat())
}

fn json(args: &[&str]) -> Value {
    let run = plan_of("comfyui", &[args, &["--json"]].concat());
    serde_json::from_str(&run.stdout).unwrap()
}

fn bytes(value: &Value) -> u64 {
    value.as_u64().unwrap()
}

/// The row of a phase.
#[track_caller]
pub(crate) fn row<'t>(table: &'t str, phase: &str) -> &'t str {
    let row = table.lines().find(|line| line.starts_with(phase));
    row.unwrap_or_else(|| panic!("no row `{phase}` in {table}"))
}

/// What a device of this size needs beside what the driver takes for itself.
fn total_with_room_for(bytes: u64) -> String {
    (bytes + (640 << 20)).to_string()
}

#[test]
fn every_fixture_and_the_demo_model_are_planned() {
    for fixture in ["comfyui", "diffusers"] {
        for device in [&["--backend=flex"][..], &["--vram-total=8GB"]] {
            let run = plan_of(fixture, &[device, &["-W64", "-H48"]].concat()).expect(0);
            let table = run.stdout;
            assert!(table.contains("Image: 64x48, 12 image and"), "{table}");
            for (phase, model) in [
                ("encode", "text encoder"),
                ("denoise", "transformer"),
                ("decode", "VAE"),
            ] {
                assert!(row(&table, phase).contains(model), "{table}");
                assert!(row(&table, phase).contains("fits"), "{table}");
            }
            assert!(table.contains("It fits"), "{table}");
        }
    }
    let run = plan(&["--backend=flex"]).expect(0);
    assert!(run.stdout.contains("Image: 256x256"), "{}", run.stdout);
    assert!(run.stderr.contains("demo model"), "{}", run.stderr);
}

#[test]
fn json_has_the_figures_and_they_add_up() {
    let json = json(&["--vram-total=1GiB", "--vram-limit=900MiB", "-W64", "-H48"]);
    assert_eq!(json["fits"], true);
    assert_eq!(json["advice"].as_array().unwrap().len(), 0);
    assert_eq!(
        (&json["work"]["width"], &json["work"]["height"]),
        (&64.into(), &48.into())
    );
    assert_eq!(json["work"]["text_tokens"], 512);
    assert!(json["setting"]["chosen"].is_null());
    assert_eq!(bytes(&json["setting"]["device"]["total"]), 1 << 30);
    assert_eq!(bytes(&json["setting"]["limit"]), 900 << 20);
    assert_eq!(json["setting"]["dtype"], "bf16");
    let phases = json["phases"].as_array().unwrap();
    assert_eq!(phases.len(), 3);
    for phase in phases {
        assert_eq!(phase["verdict"], "fits");
        assert_eq!(phase["mapped_bytes"], 0);
        assert_eq!(
            bytes(&phase["peak_bytes"]),
            bytes(&phase["fp8_bytes"])
                + bytes(&phase["other_bytes"])
                + bytes(&phase["working_bytes"])
        );
        // The driver's part counts against the limit.
        assert_eq!(bytes(&phase["available_bytes"]), (900 - 640) << 20);
    }
    assert_eq!(phases[1]["tensors"], 77);
}

#[test]
fn a_prompt_takes_its_own_tokens_and_f32_more_bytes() {
    let working = |args: &[&str], phase: usize| {
        let device = ["--vram-total=8GB", "-W64", "-H48"];
        bytes(&json(&[&device, args].concat())["phases"][phase]["working_bytes"])
    };
    assert!(working(&["-p", "a fox"], 0) < working(&[], 0));
    assert!(working(&["-p", "a fox"], 1) < working(&[], 1));
    for phase in [0, 1] {
        assert!(working(&["--dtype=bf16"], phase) < working(&["--dtype=f32"], phase));
    }
}

#[test]
fn on_the_processor_weights_are_mapped_and_a_plan_is_never_refused() {
    let flags = ["--backend=flex", "-W8192", "-H8192"];
    // The model's own noise levels meet at such a size, and `generate` refuses it.
    plan_of("comfyui", &flags).expect_error(2, &["--schedule", "8192x8192"]);
    let json = json(&[&flags[..], &["--schedule=simple"]].concat());
    assert_eq!(json["fits"], true);
    assert_eq!(json["setting"]["place"], "processor");
    assert_eq!(json["setting"]["chosen"]["backend"], "flex");
    for phase in json["phases"].as_array().unwrap() {
        assert_eq!(phase["place"], "processor");
        let weights = bytes(&phase["fp8_bytes"]) + bytes(&phase["other_bytes"]);
        assert_eq!(
            bytes(&phase["peak_bytes"]),
            weights - bytes(&phase["mapped_bytes"]) + bytes(&phase["working_bytes"])
        );
    }
    assert!(bytes(&json["phases"][1]["mapped_bytes"]) > 0);
    #[cfg(target_os = "linux")]
    assert!(bytes(&json["setting"]["host_available"]) > 0);
}

#[test]
fn what_does_not_fit_is_exit_4_with_advice_that_makes_it_fit() {
    let size = |args: &[&str]| {
        let json = json(&[args, &["-W512", "-H256", "--vae-tiling=off"]].concat());
        (bytes(&json["phases"][2]["peak_bytes"]), json)
    };
    let (peak, _) = size(&["--vram-total=8GB"]);
    let total = format!("--vram-total={}", total_with_room_for(peak - 1));
    let (_, json) = size(&[&total]);
    assert_eq!(json["fits"], false);
    assert_eq!(json["phases"][2]["verdict"], "too_large");
    let advice = json["advice"].as_array().unwrap();
    let sizes: Vec<(u64, u64)> = advice
        .iter()
        .filter(|advice| advice["remedy"] == "size")
        .map(|advice| (bytes(&advice["width"]), bytes(&advice["height"])))
        .collect();
    assert_eq!(sizes.len(), 2, "{json}");

    let base = [&total, "--vae-tiling=off"];
    let run = plan_of("comfyui", &[&base[..], &["-W512", "-H256"]].concat()).expect(4);
    assert!(run.stdout.contains("It does not fit"), "{}", run.stdout);
    assert_eq!(run.stderr.lines().count(), 1, "{}", run.stderr);
    assert!(
        run.stderr.starts_with("error: the VAE needs "),
        "{}",
        run.stderr
    );
    for (width, height) in sizes {
        let flags = format!("-W {width} -H {height}");
        assert!(run.stderr.contains(&flags), "{flags}: {}", run.stderr);
        let flags = [format!("-W{width}"), format!("-H{height}")];
        let flags = [&base[..], &[&flags[0], &flags[1]]].concat();
        plan_of("comfyui", &flags).expect(0);
    }
}

#[test]
fn the_limit_that_is_advised_is_enough() {
    let args = ["--vram-total=4GiB", "-W1024", "-H1024", "--vae-tiling=off"];
    let run = plan_of("comfyui", &[&args[..], &["--vram-limit=520MiB"]].concat()).expect(4);
    let advised = run.stderr.split("--vram-limit ").nth(1).unwrap();
    let limit = advised.split_whitespace().next().unwrap();
    assert!(limit.ends_with("GiB"), "{}", run.stderr);
    plan_of("comfyui", &[&args[..], &["--vram-limit", limit]].concat()).expect(0);
}

#[test]
fn a_text_encoder_on_the_processor_takes_no_device_memory() {
    let json = json(&["--vram-total=8GB", "--text-encoder-on-cpu", "-W64", "-H48"]);
    let places = [0, 1, 2].map(|phase| json["phases"][phase]["place"].clone());
    assert_eq!(places, ["processor", "device", "device"]);
    assert!(bytes(&json["phases"][0]["mapped_bytes"]) > 0);
    assert_eq!(json["phases"][1]["mapped_bytes"], 0);
}

#[test]
fn tiles_are_taken_where_they_are_asked_for_or_needed() {
    let tile = |args: &[&str]| {
        let size = ["-W2048", "-H1024"];
        json(&[&size, args].concat())["phases"][2]["tile_side"].clone()
    };
    assert_eq!(tile(&["--vram-total=80GB"]), Value::Null);
    assert_eq!(
        tile(&["--vram-total=80GB", "--vae-tiling=off"]),
        Value::Null
    );
    assert!(tile(&["--vram-total=80GB", "--vae-tiling=on"]).is_u64());
    assert!(tile(&["--vram-total=600MB"]).is_u64());
    let run = plan_of(
        "comfyui",
        &["--vram-total=80GB", "--vae-tiling=on", "-W2048", "-H2048"],
    );
    assert!(run.stdout.contains("in tiles of"), "{}", run.stdout);
}

#[test]
fn tiles_make_the_same_image() {
    let place = Place::new();
    let size = ["-W320", "-H192"];
    let image = |tiling: &str| {
        place.generate(&[&size[..], &[tiling]].concat()).expect(0);
        fs::read(place.path("out/x.png")).unwrap()
    };
    let tile = &json(&["--backend=flex", "--vae-tiling=on", "-W320", "-H192"])["phases"][2];
    assert!(bytes(&tile["tile_side"]) < 320, "{tile}");
    assert!(image("--vae-tiling=on") == image("--vae-tiling=off"));
}

#[test]
fn a_batch_takes_the_memory_of_one_image() {
    let one = plan_of("comfyui", &["--vram-total=8GB", "-W64", "-H48"]).expect(0);
    let four = plan_of("comfyui", &["--vram-total=8GB", "-W64", "-H48", "-b4"]).expect(0);
    assert!(
        four.stdout.contains("one after the other, so that"),
        "{}",
        four.stdout
    );
    for phase in ["encode", "denoise", "decode"] {
        assert_eq!(row(&one.stdout, phase), row(&four.stdout, phase));
    }
}

#[test]
fn wrong_flags_are_exit_2_and_bad_models_exit_3() {
    for (flags, parts) in [
        (&["--vram-total=0"][..], &["--vram-total"][..]),
        (&["--vram-total=lots"], &["--vram-total"]),
        (&["--width=0"], &["--width"]),
        (&["--batch-count=0"], &["--batch-count"]),
        (
            &["--vram-total=8GB", "--backend=flex"],
            &["--vram-total", "--backend"],
        ),
        (&["--tokenizer=t"], &["--models"]),
    ] {
        plan(flags).expect_error(2, parts);
    }
    plan(&["--models=nowhere"]).expect_error(3, &["nowhere"]);
    let place = Place::new();
    fs::write(place.vae(), "junk").unwrap();
    let models = place.path("models");
    let models = ["--models", models.to_str().unwrap()];
    for device in ["--backend=flex", "--vram-total=8GB"] {
        let run = plan(&[&models[..], &[device]].concat());
        run.expect_error(3, &["download incomplete"]);
    }
}

#[test]
fn an_assumed_gpu_has_no_number_and_needs_no_backend_of_this_build() {
    let run = plan(&["--vram-total=8GB", "--device=0"]).expect(2);
    assert!(run.stderr.contains("--device"), "{}", run.stderr);
    plan_of(
        "comfyui",
        &["--vram-total=8GB", "--backend=rocm", "-W64", "-H48"],
    )
    .expect(0);
}

#[test]
fn dense_files_that_are_too_large_are_told_of_fp8_ones() {
    let plan = |total: &str| -> Value {
        let total = ["--vram-total", total, "-W16", "-H16", "-px", "--json"];
        serde_json::from_str(&plan_of("diffusers", &total).stdout).unwrap()
    };
    let denoise = &plan("8GB")["phases"][1];
    assert_eq!(denoise["fp8_bytes"], 0);
    let peak = bytes(&denoise["peak_bytes"]);
    let json = plan(&total_with_room_for(peak - 1));
    let advice = json["advice"].as_array().unwrap();
    let advice = advice
        .iter()
        .find(|advice| advice["remedy"] == "fp8_checkpoint" && advice["phases"][0] == "denoise")
        .unwrap_or_else(|| panic!("no FP8 in {json}"));
    let (dense, fp8) = (
        bytes(&denoise["other_bytes"]),
        bytes(&advice["weight_bytes"]),
    );
    assert!(fp8 < dense && 5 * fp8 > dense, "{fp8} of {dense}");
}

#[test]
fn the_limit_may_come_from_the_environment() {
    let limited = |value: &str, flags: &[&str]| -> Run {
        let mut command = program();
        command
            .args(["plan", "--vram-total=8GB", "-W64", "-H48", "--models"])
            .arg(fixtures().join("comfyui"))
            .args(flags)
            .env("QWEN_IMAGE_VRAM_LIMIT", value);
        command.output().unwrap().into()
    };
    limited("513MiB", &[]).expect(4);
    limited("513MiB", &["--vram-limit=4GB"]).expect(0);
    limited("", &[]).expect(0);
    limited("some", &[]).expect_error(2, &["QWEN_IMAGE_VRAM_LIMIT", "some", "12GB"]);
    limited("some", &["--vram-limit=4GB"]).expect(0);
    // On the processor a limit for all runs is nothing to remark upon.
    let place = Place::new();
    let mut command = place.command();
    command.arg("--dry-run").env("QWEN_IMAGE_VRAM_LIMIT", "1KB");
    let run = Run::from(command.output().unwrap()).expect(0);
    assert_eq!(run.stderr, "");
}

#[test]
fn the_published_models_are_planned_from_their_headers() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = program();
    command.args(["make-fixture", "--sparse", "--real-shapes"]);
    Run::from(command.arg(folder.path()).output().unwrap()).expect(0);
    let models = ["--models", folder.path().to_str().unwrap()];
    let plan = |args: &[&str]| plan(&[&models, args].concat());
    let table = plan(&["--vram-total=80GB"]).expect(0).stdout;
    assert!(
        table.contains("Image: 1328x1328, 6889 image and 512 text tokens"),
        "{table}"
    );
    let transformer = row(&table, "denoise");
    assert!(transformer.contains(" 1933 "), "{table}");
    assert!(transformer.contains("19.03 GiB"), "{table}");

    // Twelve gigabytes hold the text encoder and the VAE, and a part of the transformer.
    let json = plan(&["--vram-total=12GB", "--json"]).expect(0).stdout;
    let json: Value = serde_json::from_str(&json).unwrap();
    let [encode, denoise, decode] = [0, 1, 2].map(|phase| &json["phases"][phase]);
    assert!(encode["streaming"].is_null() && decode["streaming"].is_null());
    let streaming = &denoise["streaming"];
    let blocks = |name: &str| bytes(&streaming[name]);
    assert_eq!(blocks("resident_blocks") + blocks("streamed_blocks"), 60);
    assert!(blocks("resident_blocks") > 0, "{streaming}");
    assert!(streaming["read_seconds"].as_f64().unwrap() > 0.0);
    assert!(bytes(&denoise["peak_bytes"]) <= bytes(&denoise["available_bytes"]));
    let table = plan(&["--vram-total=12GB"]).expect(0).stdout;
    assert!(
        row(&table, "denoise").ends_with("fits, streamed"),
        "{table}"
    );
    assert!(table.contains("Of the transformer's 60 blocks"), "{table}");
    // Eight stream the text encoder as well.
    let table = plan(&["--vram-total=8GB"]).stdout;
    assert!(
        table.contains("The text encoder's 28 layers are read"),
        "{table}"
    );

    // Without a stream they hold no image of this transformer.
    let run = plan(&["--vram-total=12GB", "--stream=off"]).expect(4);
    assert!(run.stderr.contains("with --stream auto"), "{}", run.stderr);
    assert!(
        run.stderr.contains("the transformer needs "),
        "{}",
        run.stderr
    );
    assert!(
        row(&run.stdout, "encode").ends_with("fits"),
        "{}",
        run.stdout
    );
    assert!(!run.stderr.contains("-W "), "{}", run.stderr);
    // On the processor they are mapped, and fit whatever they weigh.
    let table = plan(&["--backend=flex", "-W256", "-H256"]).expect(0).stdout;
    assert!(table.contains("in the files' mappings"), "{table}");
}

#[test]
fn the_verdict_says_how_weights_get_to_the_processor() {
    let run = plan_of("comfyui", &["--backend=flex", "-W64", "-H48"]).expect(0);
    assert!(run.stdout.contains("as they are used"), "{}", run.stdout);
    let read = ["--backend=flex", "-W64", "-H48", "--no-mmap"];
    let run = plan_of("comfyui", &read).expect(0);
    assert!(run.stdout.contains("read into memory"), "{}", run.stdout);
    assert!(!run.stdout.contains("as they are used"), "{}", run.stdout);
}

#[test]
fn a_limit_is_shown_with_where_it_came_from() {
    let limited = |flag: Option<&str>| {
        let mut command = program();
        command.env("QWEN_IMAGE_VRAM_LIMIT", "650MiB");
        command.args(["plan", "--demo", "--vram-total=8GB"]);
        let run = Run::from(command.args(flag).output().unwrap()).expect(4);
        run.stdout + &run.stderr
    };
    let text = limited(None);
    assert_eq!(text.matches("(QWEN_IMAGE_VRAM_LIMIT)").count(), 2, "{text}");
    assert!(!text.contains("(--vram-limit)"), "{text}");
    let text = limited(Some("--vram-limit=651MiB"));
    assert_eq!(text.matches("(--vram-limit)").count(), 2, "{text}");
}
