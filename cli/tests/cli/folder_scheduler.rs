//! The `scheduler_config.json` of a diffusers folder: used as diffusers uses it, or refused by name.

use std::fs;

use serde_json::{Value, json};

use crate::safetensors_file::File;
use crate::support::{Place, Run, program};

/// A diffusers folder with these fields of its scheduler config changed.
fn with(changes: &Value) -> Place {
    let place = Place::with("diffusers");
    let path = place.path("models/scheduler/scheduler_config.json");
    let mut config: Value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
    for (field, value) in changes.as_object().unwrap() {
        config[field] = value.clone();
    }
    fs::write(&path, config.to_string()).unwrap();
    place
}

/// Four steps with a trace, verbosely.
fn draw(place: &Place, more: &[&str]) -> Run {
    let flags = ["-v", "--steps", "4", "--trace", "out/t.safetensors"];
    let mut command = place.command();
    let args: Vec<_> = command.get_args().map(ToOwned::to_owned).collect();
    let at = args.iter().position(|arg| arg == "--steps").unwrap();
    command = program();
    command.current_dir(place.path("."));
    command.args(&args[..at]).args(&args[at + 2..]);
    command
        .args(["--output", "out/x.png"])
        .args(flags)
        .args(more);
    command.output().unwrap().into()
}

fn sigmas(place: &Place) -> Vec<f32> {
    File::read(&place.path("out/t.safetensors"))
        .get("sigmas")
        .f32s()
}

#[test]
fn what_is_known_here_by_another_name_is_used_and_recorded_by_it() {
    let unipc = json!({
        "_class_name": "UniPCMultistepScheduler",
        "use_flow_sigmas": true,
        "prediction_type": "flow_prediction"
    });
    let published = Place::with("diffusers");
    for (changes, says, flags) in [
        (
            json!({}),
            "Euler, schedule dynamic,",
            ["--sampler", "euler"],
        ),
        (
            json!({"use_beta_sigmas": true}),
            "Euler, schedule dynamic-beta,",
            ["--schedule", "dynamic-beta"],
        ),
        (
            json!({"use_karras_sigmas": true}),
            "Euler, schedule dynamic-karras,",
            ["--schedule", "dynamic-karras"],
        ),
        (
            json!({"use_dynamic_shifting": false, "shift": 3.0, "shift_terminal": null}),
            "Euler, schedule shift=3,",
            ["--schedule", "shift=3"],
        ),
        (unipc, "UniPC, schedule dynamic,", ["--sampler", "unipc"]),
    ] {
        let place = with(&changes);
        let run = draw(&place, &[]).expect(0);
        assert!(run.stderr.contains(says), "{says}: {}", run.stderr);
        draw(&published, &flags).expect(0);
        assert_eq!(sigmas(&place), sigmas(&published), "{says}");
        let pixels = |place: &Place| File::read(&place.path("out/t.safetensors"));
        let (found, expected) = (pixels(&place), pixels(&published));
        assert_eq!(
            found.get("image").f32s(),
            expected.get("image").f32s(),
            "{says}"
        );
    }
}

#[test]
fn other_constants_are_used_and_recorded() {
    let place = with(&json!({"time_shift_type": "linear"}));
    draw(&place, &[]).expect(0);
    let linear = sigmas(&place);
    // The shift of a 48x32 image's 6 tokens is the number itself, not its exponential.
    let mu = 0.5 + (0.9 - 0.5) / (8192.0 - 256.0) * (6.0 - 256.0);
    let shifted = |sigma: f64| mu / (mu + 1.0 / sigma - 1.0);
    let stretch = (1.0 - shifted(0.25)) / (1.0 - 0.02);
    let expected = 1.0 - (1.0 - shifted(0.5)) / stretch;
    assert!((f64::from(linear[2]) - expected).abs() < 1e-5, "{linear:?}");
    let inspect = |place: &Place| -> String {
        let image = place.path("out/x.png");
        let run = Run::from(program().arg("inspect").arg(image).output().unwrap());
        run.expect(0).stdout
    };
    let recorded = inspect(&place);
    assert!(recorded.contains("time_shift_type=linear"), "{recorded}");
    // Such an image is not the one of another folder.
    let image = place.path("out/x.png");
    let published = Place::with("diffusers");
    let again = draw(&published, &["--from", image.to_str().unwrap()]).expect(0);
    assert!(again.stderr.contains("other constants of the noise levels"));
    assert!(!inspect(&published).contains("time_shift_type"));
}

#[test]
fn what_is_not_computed_here_is_refused_by_name_unless_flags_choose() {
    for (changes, parts, flags) in [
        (
            json!({"stochastic_sampling": true}),
            ["stochastic_sampling", "--sampler"],
            ["--sampler", "euler"],
        ),
        (
            json!({"invert_sigmas": true}),
            ["invert_sigmas", "--schedule"],
            ["--schedule", "dynamic"],
        ),
        (
            json!({"num_train_timesteps": 500}),
            ["num_train_timesteps = 500", "--schedule"],
            ["--schedule", "simple"],
        ),
        (
            json!({"_class_name": "FlowMatchHeunDiscreteScheduler"}),
            ["FlowMatchHeunDiscreteScheduler", "--sampler"],
            ["--sampler", "heun"],
        ),
        (
            json!({"_class_name": "UniPCMultistepScheduler", "use_flow_sigmas": true}),
            ["prediction_type = epsilon", "--sampler"],
            ["--sampler", "unipc"],
        ),
    ] {
        let place = with(&changes);
        place.refuses(&[], &[&["scheduler_config.json"], &parts[..]].concat());
        place.generate(&flags).expect(0);
        place.generate(&["--preset", "comfyui"]).expect(0);
    }
    let place = with(&json!({"_class_name": "DDIMScheduler"}));
    place.refuses(&[], &["DDIMScheduler"]);
    place.refuses(&["--sampler", "euler"], &["DDIMScheduler"]);
    let both = ["--sampler", "euler", "--schedule", "dynamic"];
    place.generate(&both).expect(0);
}

#[test]
fn two_classes_for_one_scheduler_are_told() {
    let place = with(&json!({
        "_class_name": "UniPCMultistepScheduler",
        "use_flow_sigmas": true,
        "prediction_type": "flow_prediction"
    }));
    let said = place.generate(&[]).expect(0).stderr;
    for part in [
        "model_index.json",
        "UniPCMultistepScheduler",
        "FlowMatchEuler",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
    // The index alone counts where the config has no class.
    let place = with(&json!({"_class_name": null}));
    let index = place.path("models/model_index.json");
    let text = fs::read_to_string(&index).unwrap();
    fs::write(
        &index,
        text.replace("FlowMatchEulerDiscreteScheduler", "PNDMScheduler"),
    )
    .unwrap();
    place.refuses(&[], &["PNDMScheduler"]);
}
