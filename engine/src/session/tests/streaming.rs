//! Models that are streamed because host memory is short, as on a GPU that is too small.

use std::fs::{self, OpenOptions};
use std::path::{Path, PathBuf};

use loader::{LoadError, LoadMethod};
use safetensors::SafeTensors;
use safetensors::tensor::TensorView;
use serde_json::Value;
use tempfile::TempDir;

use super::*;
use crate::events::Note;
use crate::image::{Ground, InitImage};
use crate::plan::{PhaseName, Streaming};
use crate::request::{ImageInput, LoraConfig};
use crate::session::Figures;

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures")
}

/// A session whose weights are read, with so much host memory.
fn reading(sources: &ModelSources, host_limit: Option<u64>, ram_cache: u64) -> Session {
    let compute = ComputeConfig {
        weights: LoadMethod::Read,
        host_limit,
        ram_cache,
        ..processor()
    };
    Session::open(sources, compute).unwrap()
}

fn streaming(session: &Session, requests: &[Request], phase: PhaseName) -> Option<Streaming> {
    session.plan(requests).unwrap().phase(phase)?.streaming
}

fn drawn(session: &mut Session, requests: &[Request], keep: Keep) -> (Vec<RgbImage>, Figures) {
    let mut heard = Heard::default();
    let cancel = CancelToken::new();
    let figures = session.generate(requests.to_vec(), keep, &mut heard, &cancel);
    let images = heard.images.into_iter().map(|drawn| drawn.image);
    (images.collect(), figures.unwrap())
}

/// What a phase has streamed, by the names of the report.
fn streamed(figures: &Figures, phase: &str) -> Value {
    let found = figures.phases.iter().find(|found| found.name == phase);
    serde_json::to_value(found.unwrap()).unwrap()["streamed"].clone()
}

/// Draws with all in memory, with some blocks streamed, and with all, and compares the images.
fn assert_same(sources: &ModelSources, requests: &[Request]) {
    let mut whole = reading(sources, None, 0);
    let peak = |name| {
        whole
            .plan(requests)
            .unwrap()
            .phase(name)
            .unwrap()
            .peak_bytes
    };
    let denoise = peak(PhaseName::Denoise);
    let (images, figures) = drawn(&mut whole, requests, Keep::OneAtATime);
    assert_eq!(images.len(), requests.len());
    assert!(streamed(&figures, "denoise").is_null());
    for (limit, ram_cache) in [(denoise - 1, 0), (denoise - 1, 1 << 30), (1, 0)] {
        let mut session = reading(sources, Some(limit), ram_cache);
        let planned = streaming(&session, requests, PhaseName::Denoise).unwrap();
        assert_eq!(planned.resident_blocks > 0, limit > 1, "{planned:?}");
        let (again, figures) = drawn(&mut session, requests, Keep::OneAtATime);
        assert!(again == images, "other images in {limit} bytes");
        let told = streamed(&figures, "denoise");
        let steps = 2 * requests.len();
        assert_eq!(told["streamed_blocks"], planned.streamed_blocks);
        assert_eq!(told["passes"], steps);
        let all = planned.pass_bytes * steps as u64;
        let (read, cached) = (&told["bytes_read"], &told["bytes_from_cache"]);
        let [read, cached] = [read, cached].map(|bytes| bytes.as_u64().unwrap());
        assert_eq!(read + cached, all);
        // With so much host memory, bytes are read once for each load.
        assert_eq!(cached > 0, ram_cache > 0 && steps > 1);
    }
}

#[test]
fn streamed_images_are_those_of_a_model_in_memory() {
    let second = Request {
        negative_prompt: None,
        ..Request {
            prompt: "a blue square".to_owned(),
            ..request(2)
        }
    };
    assert_same(&ModelSources::demo(), &[request(1), second]);
}

#[test]
fn the_text_encoder_is_streamed_in_one_pass_for_all_prompts() {
    let second = Request {
        prompt: "a blue square in a green field".to_owned(),
        ..request(2)
    };
    let requests = [request(1), second];
    let sources = ModelSources::demo();
    let (images, _) = drawn(&mut reading(&sources, None, 0), &requests, Keep::OneAtATime);
    // All texts at once where they fit, and else one after the other.
    let encode = |limit| {
        let session = reading(&sources, Some(limit), 0);
        *session
            .plan(&requests)
            .unwrap()
            .phase(PhaseName::Encode)
            .unwrap()
    };
    let whole = encode(1 << 40).peak_bytes;
    let texts = encode(whole - 1).prompts_at_once;
    assert!(texts > 1);
    assert_eq!(encode(1).prompts_at_once, 1);
    for (limit, passes) in [(whole - 1, 1), (1, 3)] {
        let mut session = reading(&sources, Some(limit), 0);
        let planned = streaming(&session, &requests, PhaseName::Encode).unwrap();
        assert_eq!(planned.resident_blocks, 0);
        let (again, figures) = drawn(&mut session, &requests, Keep::OneAtATime);
        assert!(again == images, "other images in {limit} bytes");
        assert_eq!(streamed(&figures, "encode")["passes"], passes);
    }
}

/// The fixture's transformer with each block several times, in one file.
fn deeper(folder: &Path, parts: &[PathBuf], config: Option<&Path>, times: usize) -> PathBuf {
    let parts: Vec<Vec<u8>> = parts.iter().map(|part| fs::read(part).unwrap()).collect();
    let mut config = config.map(|path| fs::read_to_string(path).unwrap());
    let mut tensors: Vec<(String, TensorView<'_>)> = Vec::new();
    for part in &parts {
        let (_, header) = SafeTensors::read_metadata(part).unwrap();
        let known = header
            .metadata()
            .as_ref()
            .and_then(|known| known.get("config"));
        config = config.or_else(|| known.cloned());
        for (name, view) in SafeTensors::deserialize(part).unwrap().tensors() {
            let Some(block) = name.strip_prefix("transformer_blocks.") else {
                tensors.push((name, view));
                continue;
            };
            let (number, rest) = block.split_once('.').unwrap();
            let number: usize = number.parse().unwrap();
            for turn in 0..times {
                let name = format!("transformer_blocks.{}.{rest}", 2 * turn + number);
                tensors.push((name, view.clone()));
            }
        }
    }
    let mut config: Value = serde_json::from_str(&config.unwrap()).unwrap();
    let transformer = match config.get("transformer") {
        Some(_) => &mut config["transformer"],
        None => &mut config,
    };
    transformer["num_layers"] = (2 * times).into();
    let metadata = [("config".to_owned(), config.to_string())].into();
    let bytes = safetensors::serialize(tensors, Some(metadata)).unwrap();
    let path = folder.join("deeper.safetensors");
    fs::write(&path, bytes).unwrap();
    path
}

#[test]
fn fp8_with_a_lora_and_bf16_are_streamed_alike() {
    let folder = tempfile::tempdir().unwrap();
    let fixtures = fixtures();
    let small = fixtures.join("comfyui/diffusion_models/qwen_image_small_fp8_e4m3fn.safetensors");
    let lora = fixtures.join("loras/small_style.safetensors");
    let sources = |transformer, loras| ModelSources {
        transformer: Some(transformer),
        loras: LoraConfig {
            loras,
            ..LoraConfig::default()
        },
        ..ModelSources::folder(fixtures.join("comfyui"))
    };
    let fp8 = deeper(folder.path(), &[small], None, 3);
    assert_same(&sources(fp8, vec![(lora, 1.0)]), &[request(1)]);

    let shards = fixtures.join("diffusers/transformer");
    let shard = |number| {
        shards.join(format!(
            "diffusion_pytorch_model-{number:05}-of-00002.safetensors"
        ))
    };
    let config = shards.join("config.json");
    let bf16 = deeper(folder.path(), &[shard(1), shard(2)], Some(&config), 3);
    assert_same(&sources(bf16, Vec::new()), &[request(1)]);
}

#[test]
fn an_image_to_start_from_is_no_obstacle() {
    let image = ImageInput {
        init_image: fixtures().join("images").join(first_image()),
        mask: None,
        strength: 1.0,
        mask_crop: None,
    };
    let image = InitImage::read(&image, Ground::White).unwrap();
    let request = Request {
        image: Some(Arc::new(image)),
        ..request(1)
    };
    assert_same(&ModelSources::demo(), &[request]);
}

/// The name of an image among the fixtures.
fn first_image() -> String {
    let files = fs::read_dir(fixtures().join("images")).unwrap();
    let names = files.map(|file| file.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = names.filter(|name| name.ends_with(".png")).collect();
    names.sort();
    names.remove(0)
}

/// Does something once, after the first step.
struct Meanwhile<F: FnMut() + Send> {
    action: F,
    steps: usize,
    notes: Vec<Note>,
    images: Vec<RgbImage>,
}

impl<F: FnMut() + Send> Observer for Meanwhile<F> {
    fn event(&mut self, event: Event<'_>) {
        match event {
            Event::Step { .. } => {
                self.steps += 1;
                if self.steps == 1 {
                    (self.action)();
                }
            }
            Event::Note(note) => self.notes.push(note),
            _ => {}
        }
    }

    fn image(&mut self, drawn: Drawn) -> Result<(), Error> {
        self.images.push(drawn.image);
        Ok(())
    }
}

fn meanwhile<F: FnMut() + Send>(action: F) -> Meanwhile<F> {
    Meanwhile {
        action,
        steps: 0,
        notes: Vec::new(),
        images: Vec::new(),
    }
}

/// Models of which the transformer may be changed, and its file.
fn own_models() -> (TempDir, ModelSources, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let small = "comfyui/diffusion_models/qwen_image_small_fp8_e4m3fn.safetensors";
    let file = deeper(folder.path(), &[fixtures().join(small)], None, 3);
    let sources = ModelSources {
        transformer: Some(file.clone()),
        ..ModelSources::folder(fixtures().join("comfyui"))
    };
    (folder, sources, file)
}

/// A request of many steps.
fn long() -> Request {
    Request {
        steps: Some(6),
        ..request(1)
    }
}

#[test]
fn a_file_that_changes_in_the_middle_of_the_steps_ends_the_job() {
    let changes: [fn(&Path); 2] = [
        |path| {
            let file = OpenOptions::new().write(true).open(path).unwrap();
            let bytes = file.metadata().unwrap().len();
            file.set_len(bytes / 2).unwrap();
        },
        |path| {
            let bytes = fs::read(path).unwrap();
            fs::write(path, bytes).unwrap();
        },
    ];
    for change in changes {
        let (_folder, sources, file) = own_models();
        let mut session = reading(&sources, Some(1), 0);
        let mut observer = meanwhile(|| change(&file));
        let cancel = CancelToken::new();
        let ended = session.generate(vec![long()], Keep::OneAtATime, &mut observer, &cancel);
        assert!(
            matches!(ended, Err(Error::Load(LoadError::Changed { .. }))),
            "{ended:?}"
        );
        assert!(observer.images.is_empty() && observer.steps < 6);
    }
}

#[test]
fn a_file_that_is_replaced_is_read_to_the_end_of_the_job() {
    let (folder, sources, file) = own_models();
    let (images, _) = drawn(&mut reading(&sources, None, 0), &[long()], Keep::OneAtATime);
    let mut session = reading(&sources, Some(1), 0);
    let mut observer = meanwhile(|| {
        let other = folder.path().join("other");
        fs::write(&other, "another file").unwrap();
        fs::rename(&other, &file).unwrap();
    });
    let cancel = CancelToken::new();
    let ended = session.generate(vec![long()], Keep::OneAtATime, &mut observer, &cancel);
    match ended {
        Ok(_) => assert!(observer.images == images),
        // A file system whose times tell of the renaming.
        Err(Error::Load(LoadError::Changed { .. })) => assert!(observer.images.is_empty()),
        Err(error) => panic!("{error}"),
    }
}

#[test]
fn a_streamed_job_is_cancelled_and_the_next_one_draws_the_same() {
    let sources = ModelSources::demo();
    let (images, _) = drawn(&mut reading(&sources, None, 0), &[long()], Keep::OneAtATime);
    let mut session = reading(&sources, Some(1), 0);
    let cancel = CancelToken::new();
    let token = cancel.clone();
    let mut observer = meanwhile(|| {
        token.cancel();
    });
    let ended = session.generate(vec![long()], Keep::WhatFits, &mut observer, &cancel);
    assert!(matches!(ended, Err(Error::Interrupted)), "{ended:?}");
    assert_eq!((observer.steps, observer.images.len()), (1, 0));
    for _ in 0..2 {
        assert!(drawn(&mut session, &[long()], Keep::WhatFits).0 == images);
    }
}

#[test]
fn memory_that_is_taken_after_the_plan_makes_another_plan() {
    let sources = ModelSources::demo();
    let mut session = reading(&sources, None, 0);
    let (images, _) = drawn(&mut session, &[request(1)], Keep::OneAtATime);
    let job = |session: &Session| {
        let settled = session.settle(request(1)).unwrap();
        session.job(vec![settled]).unwrap()
    };
    let job = job(&session);
    let embeddings = session.embeddings(&job);
    session.check(&job, &embeddings).unwrap();
    assert!(streaming(&session, &[request(1)], PhaseName::Denoise).is_none());
    // Another program takes nearly all there is.
    session.setting.host_limit = Some(1);
    let mut heard = Heard::default();
    let cancel = CancelToken::new();
    let figures = session.run(&job, embeddings, Keep::OneAtATime, &mut heard, &cancel);
    assert!(heard.images[0].image == images[0]);
    assert!(streamed(&figures.unwrap(), "denoise").is_object());
}

#[test]
fn the_rate_of_the_disk_is_in_the_plan() {
    let session = reading(&ModelSources::demo(), Some(1), 0);
    session.read_rate.set(Some(1e6)).unwrap();
    let planned = streaming(&session, &[request(1)], PhaseName::Denoise).unwrap();
    let seconds = planned.pass_bytes as f64 / 1e6;
    assert_eq!(planned.read_seconds, Some(seconds));
    // Nothing runs beside the computation on the processor.
    assert_eq!(planned.wait_seconds, Some(seconds));
    assert!(planned.enough_ram_cache.unwrap() > 0);
    // Without one that is known, the disk is asked.
    let session = reading(&ModelSources::demo(), Some(1), 0);
    let planned = streaming(&session, &[request(1)], PhaseName::Denoise).unwrap();
    assert!(planned.read_seconds.unwrap() > 0.0);
}
