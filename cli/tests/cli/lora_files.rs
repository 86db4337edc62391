//! LoRA files as programs write them: names, settings, folders, and what lies beside them.

use std::fs;

use serde_json::{Value, json};

use crate::from::{bytes, from};
use crate::lora::{EVERYWHERE, FAST, STYLE, place};
use crate::safetensors_file::{Entry, File};
use crate::support::{Place, Run, program};

/// Draws with a LoRA to `out/NAME.png` and returns the image and what was said.
fn draw(place: &Place, name: &str, flags: &[&str]) -> (Vec<u8>, String) {
    let output = format!("out/{name}.png");
    let said = place
        .generate(&[flags, &["-o", &output]].concat())
        .expect(0)
        .stderr;
    let mut reader = png::Decoder::new(std::io::Cursor::new(bytes(place, &output)))
        .read_info()
        .unwrap();
    let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
    reader.next_frame(&mut pixels).unwrap();
    (pixels, said)
}

/// The style LoRA, without alphas where `alpha` is false, under other names for its layers and
/// matrices.
fn style(place: &Place, prefix: &str, ends: [&str; 2], alpha: bool) -> File {
    let mut file = File::read(&place.path("models/loras").join(STYLE));
    if !alpha {
        file.tensors.retain(|entry| !entry.key.ends_with(".alpha"));
    }
    for entry in &mut file.tensors {
        let key = entry.key.replace(".lora_down.weight", ends[0]);
        entry.key = format!("{prefix}{}", key.replace(".lora_up.weight", ends[1]));
    }
    file
}

const PEFT: [&str; 2] = [".lora_A.weight", ".lora_B.weight"];

fn inspect(place: &Place, path: &str) -> Value {
    let mut command = program();
    command.current_dir(place.path(""));
    let run: Run = command
        .args(["inspect", "--json", path])
        .output()
        .unwrap()
        .into();
    serde_json::from_str(&run.expect(0).stdout).unwrap()
}

#[test]
fn every_programs_names_give_the_same_image() {
    let place = place();
    let (expected, _) = draw(&place, "x", &["--lora", STYLE]);
    let (plain, _) = draw(&place, "plain", &[]);
    assert!(expected != plain);
    for (prefix, ends) in [
        ("", [".lora_A", ".lora_B"]),
        (
            "transformer.",
            [
                ".lora_linear_layer.down.weight",
                ".lora_linear_layer.up.weight",
            ],
        ),
        (
            "pipe.dit.",
            [".lora_A.default_0.weight", ".lora_B.default_0.weight"],
        ),
        ("diffusion_model.diffusion_model.", PEFT),
    ] {
        let mut file = style(&place, prefix, ends, true);
        for entry in file
            .tensors
            .iter_mut()
            .filter(|entry| entry.shape.len() == 2)
        {
            entry.shape.extend([1, 1]);
        }
        file.write(&place.path("other.safetensors"));
        let (found, said) = draw(&place, "y", &["--lora", "other.safetensors"]);
        assert!(found == expected, "{prefix} {ends:?}");
        assert!(said.contains("LoRA other: 24 targets"), "{said}");
    }
}

#[test]
fn parts_for_the_text_encoder_are_left_out_with_a_note() {
    let place = place();
    let (expected, said) = draw(&place, "x", &["--lora", STYLE]);
    assert!(!said.contains("left out"), "{said}");
    let mut file = style(&place, "", PEFT, true);
    for key in ["lora_te1_x.lora_up.weight", "text_encoder.x.lora_A.weight"] {
        let entry = Entry::new(key, "F32", &[1, 1], vec![0; 4]);
        file.tensors.push(entry);
    }
    file.write(&place.path("both.safetensors"));
    let (found, said) = draw(&place, "y", &["--lora", "both.safetensors"]);
    assert!(found == expected);
    let note = "note: LoRA both: 2 tensors for the text encoder are left out: LoRAs change the \
                transformer alone";
    assert!(said.lines().any(|line| line == note), "{said}");
    let described = inspect(&place, "both.safetensors");
    let notes = described["loras"][0]["notes"].as_array().unwrap();
    assert!(
        notes[0]
            .as_str()
            .unwrap()
            .starts_with("2 tensors for the text encoder")
    );
}

#[test]
fn pefts_settings_scale_by_layer() {
    let place = place();
    let settings = json!({
        "transformer.r": 4,
        "transformer.lora_alpha": 4,
        "transformer.rank_pattern": {},
        "transformer.alpha_pattern": {
            "^transformer_blocks.0.attn.to_q": 2,
            r".*\.1\..*(to_k|to_v)": 8,
        },
    });
    let mut file = style(&place, "transformer.", PEFT, false);
    file.metadata = json!({"lora_adapter_metadata": settings.to_string()});
    file.write(&place.path("peft.safetensors"));
    // The same as alphas.
    let mut alphas = style(&place, "", PEFT, true);
    for entry in alphas
        .tensors
        .iter_mut()
        .filter(|entry| entry.key.ends_with(".alpha"))
    {
        let alpha = match entry.key.strip_suffix(".alpha").unwrap() {
            "transformer_blocks.0.attn.to_q" => 2.0_f32,
            "transformer_blocks.1.attn.to_k" | "transformer_blocks.1.attn.to_v" => 8.0,
            _ => 4.0,
        };
        *entry = Entry::new(&entry.key, "F32", &[], alpha.to_le_bytes().into());
    }
    alphas.write(&place.path("alphas.safetensors"));
    let (expected, _) = draw(&place, "x", &["--lora", "alphas.safetensors"]);
    let (found, _) = draw(&place, "y", &["--lora", "peft.safetensors"]);
    assert!(found == expected);
    let lora = &inspect(&place, "peft.safetensors")["loras"][0];
    assert_eq!(
        lora["alpha"],
        json!({"least": 2.0, "most": 8.0, "layers": 24})
    );
    assert_eq!(lora["scale"], json!([0.5, 2.0]));

    let wrong = settings
        .to_string()
        .replace("^transformer", "(?x)^transformer");
    file.metadata = json!({"lora_adapter_metadata": wrong});
    file.write(&place.path("wrong.safetensors"));
    fs::remove_dir_all(place.path("out")).unwrap();
    fs::create_dir(place.path("out")).unwrap();
    place.refuses(
        &["--lora", "wrong.safetensors"],
        &[
            "wrong.safetensors",
            "alpha_pattern `(?x)^transformer_blocks.0.attn.to_q`",
        ],
    );
}

#[test]
fn a_folder_of_pefts_is_a_lora_with_its_settings() {
    let place = place();
    // The style's own alpha.
    let config = json!({"peft_type": "LORA", "r": 4, "lora_alpha": 2});
    let folder = place.path("models/loras/mine.v1");
    fs::create_dir(&folder).unwrap();
    let file = style(&place, "base_model.model.", PEFT, false);
    file.write(&folder.join("adapter_model.safetensors"));
    fs::write(folder.join("adapter_config.json"), config.to_string()).unwrap();
    let (expected, _) = draw(&place, "x", &["--lora", STYLE]);
    let note = "note: LoRA mine.v1: it is scaled by 0.5, as adapter_config.json beside it says";
    for value in ["models/loras/mine.v1", "mine.v1", "mine.v1:1"] {
        let (found, said) = draw(&place, "y", &["--lora", value]);
        assert!(found == expected, "{value}");
        assert!(said.lines().any(|line| line == note), "{said}");
        assert!(said.contains("Loaded LoRA mine.v1: 24 targets"), "{said}");
    }
    from(&place, "out/y.png", &["-o", "out/again.png"]).expect(0);
    assert_eq!(bytes(&place, "out/y.png"), bytes(&place, "out/again.png"));
    // A plan tells the same, and settings of another LoRA are refused.
    let mut command = program();
    command
        .current_dir(place.path(""))
        .args(["plan", "--models", "models", "--lora", "mine.v1"]);
    let plan: Run = command
        .args(["--vram-total", "8GB"])
        .output()
        .unwrap()
        .into();
    assert!(plan.expect(0).stderr.contains(note));
    let other = config.to_string().replace("\"r\":4", "\"r\":16");
    fs::write(folder.join("adapter_config.json"), other).unwrap();
    let run = place.generate(&["-q", "--lora", "mine.v1", "-o", "out/z.png"]);
    run.expect_error(3, &["adapter_config.json", "gives rank 16"]);
}

#[test]
fn a_folders_matrices_and_settings_tell_it_from_another() {
    let place = place();
    let folder = place.path("models/loras/mine");
    fs::create_dir(&folder).unwrap();
    let file = style(&place, "base_model.model.", PEFT, false);
    file.write(&folder.join("adapter_model.safetensors"));
    let config = folder.join("adapter_config.json");
    let flags = ["--lora", "mine", "--resume"];
    let skips = || {
        let said = place.generate(&flags).expect(0).stderr;
        said.contains("already made")
    };
    let overwrite = ["--lora", "mine", "--overwrite"];
    for alpha in [2, 4] {
        let settings = json!({"r": 4, "lora_alpha": alpha});
        fs::write(&config, settings.to_string()).unwrap();
        place.generate(&overwrite).expect(0);
        assert!(skips(), "{alpha}");
    }
    fs::remove_file(config).unwrap();
    place
        .generate(&["--lora", "mine", "-o", "out/plain.png"])
        .expect(0);
    assert!(bytes(&place, "out/plain.png") != bytes(&place, "out/x.png"));
    let again = place.generate(&flags);
    assert!(!again.stderr.contains("already made"), "{}", again.stderr);
}

#[test]
fn a_recorded_lora_is_told_from_others_of_its_name_by_its_contents() {
    let place = place();
    place.generate(&["--lora", STYLE]).expect(0);
    let loras = place.path("models/loras");
    fs::create_dir(loras.join("a")).unwrap();
    fs::copy(loras.join(EVERYWHERE), loras.join("a").join(STYLE)).unwrap();
    let run = from(&place, "out/x.png", &["-o", "out/y.png"]).expect(0);
    assert!(!run.stderr.contains("another file"), "{}", run.stderr);
    assert_eq!(bytes(&place, "out/x.png"), bytes(&place, "out/y.png"));
}

#[test]
fn loras_of_other_models_in_the_folder_do_not_stand_in_the_way() {
    let place = place();
    let loras = place.path("models/loras");
    let wan = |name: &str| {
        let entry = |end: &str, shape: &[usize]| {
            let key = format!("diffusion_model.blocks.0.self_attn.q.{end}.weight");
            Entry::new(
                &key,
                "F32",
                shape,
                vec![0; 4 * shape.iter().product::<usize>()],
            )
        };
        let file = File {
            metadata: Value::Null,
            tensors: vec![entry("lora_down", &[1, 32]), entry("lora_up", &[32, 1])],
        };
        fs::create_dir_all(loras.join(name).parent().unwrap()).unwrap();
        file.write(&loras.join(name));
    };
    wan("Wan2.2-Lightning-4steps-lora_HIGH.safetensors");
    wan("wan/small_style.safetensors");
    fs::rename(loras.join(EVERYWHERE), loras.join(FAST)).unwrap();
    fs::write(loras.join(format!("._{FAST}")), "x").unwrap();
    fs::create_dir(loras.join("qwen")).unwrap();
    fs::rename(
        loras.join(STYLE),
        loras.join("qwen/small_style.SAFETENSORS"),
    )
    .unwrap();
    let steps = ["--steps", "4", "--lightning", "4"];
    let mut command = place.command();
    command
        .args(["-o", "out/x.png", "--lora", "small_style"])
        .args(steps);
    let run: Run = command.output().unwrap().into();
    let said = run.expect(0).stderr;
    assert!(said.contains("LoRA small_style: 24 targets"), "{said}");
    assert!(
        said.contains("LoRA Qwen-Image-Lightning-4steps-V1.0: 34 targets"),
        "{said}"
    );
}

#[test]
fn a_lightning_lora_without_its_steps_is_told() {
    let place = place();
    let loras = place.path("models/loras");
    fs::rename(loras.join(STYLE), loras.join(FAST)).unwrap();
    let said = |flags: &[&str]| {
        let said = draw(&place, "x", &[&["--lora", FAST], flags].concat()).1;
        let told = said
            .lines()
            .filter(|line| line.contains("was made for 4 steps"));
        told.map(str::to_owned).collect::<Vec<_>>()
    };
    let [note] = said(&[]).try_into().unwrap();
    assert!(
        note.contains("this run has 2 steps with a CFG scale of 4; --lightning 4"),
        "{note}"
    );
    let four = ["--steps", "4", "--cfg-scale", "1"];
    let [note] = said(&four).try_into().unwrap();
    assert!(
        note.contains("the model's own noise levels; --lightning 4"),
        "{note}"
    );
    assert!(said(&[&four[..], &["--schedule", "shift=3"]].concat()).is_empty());
    assert!(said(&["--steps", "4", "--lightning", "4"]).is_empty());
    // Not where it is left out.
    let zero = draw(&place, "y", &["--lora", &format!("{FAST}:0")]).1;
    assert!(!zero.contains("--lightning"), "{zero}");
}
