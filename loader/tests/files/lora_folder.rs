//! LoRAs by their names in a models folder, beside those of other models.

use std::fs;
use std::path::{Path, PathBuf};

use loader::lora::{find_by_name, find_lightning, fitting, locate};
use loader::{ElementType, Lora, Weights};

use crate::lora::{lora, model};
use crate::writer::{Writer, write};

/// A models folder with a transformer beside it.
struct Place {
    folder: tempfile::TempDir,
    transformer: Weights,
}

impl Place {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir_all(folder.path().join("models/vae")).unwrap();
        fs::create_dir_all(folder.path().join("models/loras")).unwrap();
        let transformer = model(folder.path());
        Self {
            folder,
            transformer,
        }
    }

    fn models(&self) -> PathBuf {
        self.folder.path().join("models")
    }

    fn put(&self, name: &str, lora: &Writer) -> PathBuf {
        let path = self.models().join("loras").join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        lora.write(path)
    }

    fn locate(&self, path: &str) -> Result<PathBuf, String> {
        let found = locate(Path::new(path), Some(&self.models()), &self.transformer);
        found.map_err(|error| error.to_string())
    }

    fn lightning(&self, steps: usize) -> Result<PathBuf, String> {
        let found = find_lightning(&self.models(), steps, &self.transformer);
        found.map_err(|error| error.to_string())
    }
}

/// A LoRA for Wan.
fn wan() -> Writer {
    Writer::default()
        .zeros(
            "diffusion_model.blocks.0.self_attn.q.lora_down.weight",
            ElementType::F32,
            &[1, 3],
        )
        .zeros(
            "diffusion_model.blocks.0.self_attn.q.lora_up.weight",
            ElementType::F32,
            &[2, 1],
        )
}

/// A LoRA for a model whose layers have the same names and another width.
fn wide() -> Writer {
    Writer::default()
        .zeros(
            "transformer_blocks.0.attn.to_q.lora_A.weight",
            ElementType::F32,
            &[1, 7],
        )
        .zeros(
            "transformer_blocks.0.attn.to_q.lora_B.weight",
            ElementType::F32,
            &[9, 1],
        )
}

#[test]
fn a_folder_elsewhere_does_not_hide_a_lora_of_the_models_folder() {
    let place = Place::new();
    let elsewhere = place.folder.path().join("style");
    fs::create_dir(&elsewhere).unwrap();
    // A path from the root is not looked for below `loras`.
    let given = elsewhere.to_str().unwrap();
    assert_eq!(place.locate(given).unwrap(), elsewhere);
    let style = place.put("style.safetensors", &lora());
    // Tests run in the crate's folder, which has a folder of this name.
    assert!(Path::new("src").is_dir());
    let named = place.put("src.safetensors", &lora());
    assert_eq!(place.locate("src").unwrap(), named);
    let src = Path::new("src");
    assert_eq!(locate(src, None, &place.transformer).unwrap(), src);
    assert_eq!(place.locate(style.to_str().unwrap()).unwrap(), style);
}

#[test]
fn a_lora_that_is_not_there_is_told_with_those_that_are() {
    let place = Place::new();
    let missing = |name: &str| place.locate(name).unwrap_err();
    let told = missing("no-such-lora");
    assert!(told.contains("loras, which holds no LoRA"), "{told}");
    place.put("a/style.safetensors", &lora());
    let loras = place.models().join("loras");
    fs::write(loras.join("notes.txt"), "").unwrap();
    fs::write(loras.join("._b.safetensors"), "").unwrap();
    let told = missing("no-such-lora");
    assert!(
        told.ends_with("loras, which holds a/style.safetensors"),
        "{told}"
    );
    // Only a relative path can be below that folder.
    assert_eq!(
        place.locate("/no-such-lora").unwrap(),
        Path::new("/no-such-lora")
    );
    fs::remove_dir_all(loras).unwrap();
    let told = missing("no-such-lora");
    assert!(told.contains("loras, which is not there"), "{told}");
}

#[test]
fn endings_are_of_any_case_and_may_be_missing() {
    let place = Place::new();
    let style = place.put("style.SAFETENSORS", &lora());
    let other = place.put("qwen/other.Safetensors", &lora());
    assert_eq!(place.locate("style").unwrap(), style);
    assert_eq!(place.locate("style.SAFETENSORS").unwrap(), style);
    assert_eq!(place.locate("qwen/other").unwrap(), other);
    // By its name alone, wherever it is.
    assert_eq!(place.locate("other").unwrap(), other);
    assert_eq!(Lora::open(&style).unwrap().name(), "style");
}

#[test]
fn names_are_found_in_subfolders() {
    let place = Place::new();
    let find = |name: &str| find_by_name(&place.models(), name).unwrap();
    assert!(find("style.safetensors").is_empty());
    for folder in ["", "a/b/c/", "a/b/c/d/"] {
        place.put(&format!("{folder}style.safetensors"), &lora());
    }
    let loras = place.models().join("loras");
    fs::write(loras.join("._style.safetensors"), "").unwrap();
    let expected = ["a/b/c", ""].map(|folder| loras.join(folder).join("style.safetensors"));
    assert_eq!(find("style.safetensors"), expected);
    assert_eq!(find("style"), expected);
    assert!(find("../style.safetensors").is_empty());
    assert!(find("tyle").is_empty());
}

#[test]
fn loras_of_other_models_do_not_stand_in_the_way() {
    let place = Place::new();
    let qwen = place.put("qwen/style.safetensors", &lora());
    place.put("wan/style.safetensors", &wan());
    place.put("wide/style.safetensors", &wide());
    fs::create_dir_all(place.models().join("loras/cut")).unwrap();
    fs::write(place.models().join("loras/cut/style.safetensors"), "x").unwrap();
    assert_eq!(place.locate("style").unwrap(), qwen);
    let found = find_by_name(&place.models(), "style").unwrap();
    assert_eq!(found.len(), 4);
    assert_eq!(fitting(found, &place.transformer), [qwen.as_path()]);
    // One that is named is given, whatever it is.
    let wan = place.models().join("loras/wan/style.safetensors");
    assert_eq!(place.locate("wan/style").unwrap(), wan);
    place.put("again/style.safetensors", &lora());
    let two = place.locate("style").unwrap_err();
    assert!(
        two.contains("2 of that name are in ")
            && two.contains("again/style.safetensors, qwen/style.safetensors"),
        "{two}"
    );
}

#[test]
fn folders_that_peft_wrote_are_found_by_their_names() {
    let place = Place::new();
    place.put("mine.v2/adapter_model.safetensors", &lora());
    place.put("mine.v2/optimizer.safetensors", &wan());
    let folder = place.models().join("loras/mine.v2");
    assert_eq!(place.locate("mine.v2").unwrap(), folder);
    assert_eq!(
        find_by_name(&place.models(), "mine.v2").unwrap(),
        [folder.as_path()]
    );
    let opened = Lora::open(&folder).unwrap();
    assert_eq!((opened.name(), opened.targets()), ("mine.v2".to_owned(), 1));
    let files: Vec<&Path> = opened.files().collect();
    assert_eq!(files, [folder.join("adapter_model.safetensors")]);
    // One beside which macOS has put its own.
    let only = place.put("only/STYLE.SAFETENSORS", &lora());
    fs::write(only.with_file_name("._STYLE.SAFETENSORS"), "x").unwrap();
    assert_eq!(Lora::open(only.parent().unwrap()).unwrap().targets(), 1);
}

#[test]
fn the_one_lightning_lora_of_a_tree_is_found() {
    let place = Place::new();
    let none = place.lightning(4).unwrap_err();
    assert!(none.ends_with("holds no Lightning LoRA for 4 steps"));
    place.put("style.safetensors", &lora());
    let loras = place.models().join("loras");
    write(loras.join("Qwen-Image-Lightning-4steps-V1.0.txt"), "");
    write(
        loras.join("._Qwen-Image-Lightning-4steps-V1.0.safetensors"),
        "",
    );
    // Of other models, and for editing.
    place.put(
        "Wan2.2-Lightning_I2V-A14B-4steps-lora_HIGH.safetensors",
        &wan(),
    );
    place.put("sd-lightning-4step.safetensors", &wide());
    place.put("Qwen-Image-Edit-Lightning-4steps-V1.0.safetensors", &lora());
    let none = place.lightning(4).unwrap_err();
    assert!(
        none.contains("holds no Lightning LoRA for 4 steps"),
        "{none}"
    );
    let four = place.put(
        "qwen/Qwen-Image-Lightning-4steps-V1.0-bf16.SAFETENSORS",
        &lora(),
    );
    let eight = place.put("Qwen-Image-Lightning-8steps-V1.1.safetensors", &lora());
    assert_eq!(place.lightning(4).unwrap(), four);
    assert_eq!(place.lightning(8).unwrap(), eight);
    // A damaged one counts only where there is no other.
    fs::write(
        loras.join("Qwen-Image-Lightning-8steps-V2.0.safetensors"),
        "x",
    )
    .unwrap();
    assert_eq!(place.lightning(8).unwrap(), eight);
    fs::remove_file(eight).unwrap();
    let damaged = place.lightning(8).unwrap_err();
    assert!(damaged.contains("8steps-V2.0.safetensors"), "{damaged}");
    place.put("Qwen-Image-Lightning-4steps-V2.0.safetensors", &lora());
    let two = place.lightning(4).unwrap_err();
    assert!(
        two.contains("2 files are Lightning LoRAs for 4 steps"),
        "{two}"
    );
    assert!(two.contains("V2.0.safetensors"), "{two}");
}

#[test]
fn a_renamed_lightning_lora_is_known_by_its_title() {
    let folder = tempfile::tempdir().unwrap();
    let steps = |lora: Writer| {
        let path = lora.write(folder.path().join("fast.safetensors"));
        Lora::open(&path).unwrap().lightning_steps()
    };
    assert_eq!(steps(lora()), None);
    let title = lora().metadata("modelspec.title", "Qwen-Image-Lightning-8steps-V1.1");
    assert_eq!(steps(title), Some(8));
}
