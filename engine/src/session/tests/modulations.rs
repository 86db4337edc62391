//! Modulations are computed for a whole job, stay, and come from earlier runs: an image is the same
//! each time.

use std::fs;
use std::path::{Path, PathBuf};

use burn::tensor::{DType, TensorData};
use loader::LoadMethod;
use model::sampler::SamplerKind;

use super::*;
use crate::cache::entry;
use crate::plan::PhaseName;
use crate::session::{KeptFolders, Settled};

fn of_steps(seed: u64, steps: usize, width: u32) -> Request {
    Request {
        size: ImageSize {
            width: Some(width),
            height: Some(32),
        },
        steps: Some(steps),
        ..request(seed)
    }
}

/// Images whose timesteps have little in common, more of them than are in memory together.
fn job() -> Vec<Request> {
    let mut requests = vec![
        of_steps(1, 9, 32),
        of_steps(2, 2, 32),
        of_steps(3, 30, 64),
        of_steps(4, 30, 48),
        of_steps(5, 9, 32),
        of_steps(6, 1 + 64, 32),
    ];
    let samplers = [SamplerKind::Heun, SamplerKind::DpmPp2m, SamplerKind::UniPc];
    for (request, kind) in requests.iter_mut().skip(1).zip(samplers) {
        let mut all = crate::request::SamplerName::ALL.into_iter();
        request.sampling.sampler = all.find(|sampler| sampler.kind() == kind).unwrap();
        request.asked.sampler = true;
    }
    requests
}

fn drawn(session: &mut Session, requests: Vec<Request>, keep: Keep) -> Vec<RgbImage> {
    let mut images = Collected::default();
    let cancel = CancelToken::new();
    session
        .generate(requests, keep, &mut images, &cancel)
        .unwrap();
    images.0.into_iter().map(|drawn| drawn.image).collect()
}

#[test]
fn an_image_is_the_same_whatever_else_is_in_its_job() {
    let alone: Vec<RgbImage> = job()
        .into_iter()
        .flat_map(|request| drawn(&mut session(), vec![request], Keep::OneAtATime))
        .collect();
    assert_eq!(alone.len(), job().len());
    for keep in [Keep::OneAtATime, Keep::WhatFits] {
        let mut session = session();
        assert_eq!(drawn(&mut session, job(), keep), alone, "{keep:?}");
        // In another order, and beside what the job before has left.
        let mut backwards = drawn(&mut session, job().into_iter().rev().collect(), keep);
        backwards.reverse();
        assert_eq!(backwards, alone, "{keep:?}");
        for (request, image) in job().into_iter().zip(&alone) {
            let drawn = drawn(&mut session, vec![request], keep);
            assert_eq!(drawn, std::slice::from_ref(image));
        }
    }
}

#[test]
fn timesteps_are_together_as_far_as_there_is_room() {
    let session = session();
    let settled = |requests: Vec<Request>| -> Vec<Settled> {
        let settled = requests.into_iter().map(|request| session.settle(request));
        settled.collect::<Result<_, _>>().unwrap()
    };
    let job_of = |requests| session.job(settled(requests)).unwrap();
    // The same timesteps count once.
    let same = job_of(vec![of_steps(1, 9, 32), of_steps(2, 9, 32)]);
    assert_eq!(same.timesteps_from(0).len(), 9);
    assert_eq!(same.most_timesteps(), 9);
    let several = job_of(job());
    let counts: Vec<usize> = (0..6).map(|i| several.timesteps_from(i).len()).collect();
    // One image alone may have more than 64.
    assert_eq!(counts[5], 65);
    assert!(counts[..5].iter().all(|count| *count <= 64), "{counts:?}");
    assert!(counts[0] > 30, "{counts:?}");
    assert_eq!(several.most_timesteps(), 65);
    assert_eq!(several.work().timesteps, 65);
    for (index, image) in several.images().iter().enumerate() {
        let together = several.timesteps_from(index);
        for timestep in image.settled.timesteps() {
            assert!(together.contains(&timestep), "{index}: {timestep}");
        }
    }
}

/// A session whose cache is in a folder. The demo model lies in a place of its own, since the
/// built-in one is written anew for each session.
fn kept_in(folder: &Path) -> Session {
    let models = Path::new(env!("CARGO_MANIFEST_DIR")).join("demo");
    let mut session = Session::open(&ModelSources::folder(&models), processor()).unwrap();
    session.keep_in(KeptFolders {
        modulations: Some(folder.to_owned()),
        ..KeptFolders::default()
    });
    session
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    found.sort();
    found
}

#[test]
fn later_runs_take_what_earlier_ones_have_left_and_draw_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path().join("modulations");
    let request = || of_steps(1, 9, 32);
    let expected = drawn(&mut session(), vec![request()], Keep::OneAtATime);
    let draw = || drawn(&mut kept_in(&folder), vec![request()], Keep::OneAtATime);
    assert_eq!(draw(), expected);
    assert_eq!(entries(&folder).len(), 9);
    assert_eq!(draw(), expected);
    assert_eq!(entries(&folder).len(), 9);

    // An entry that is damaged is computed anew, beside those that are whole.
    let first = &entries(&folder)[0];
    let key = first.file_stem().unwrap().to_str().unwrap();
    let elements = session().models.transformer.config.modulation_elements();
    let values = |file: &[u8]| entry::read(file, key, DType::F32, &[elements]);
    let whole = fs::read(first).unwrap();
    assert!(values(&whole).is_some());
    let mut damaged = whole.clone();
    *damaged.last_mut().unwrap() ^= 1;
    for bytes in [&damaged[..], &whole[..whole.len() / 2], &[]] {
        fs::write(first, bytes).unwrap();
        assert!(values(bytes).is_none());
        assert_eq!(draw(), expected);
        assert!(values(&fs::read(first).unwrap()) == values(&whole));
    }

    // They are used: what another entry says is believed.
    let zeros = TensorData::zeros::<f32, _>([elements]);
    assert_eq!(zeros.dtype, DType::F32);
    fs::write(first, entry::write(&zeros, key).unwrap()).unwrap();
    assert_ne!(draw(), expected);

    // Two images that share some timesteps.
    fs::remove_dir_all(&folder).unwrap();
    let both = || vec![of_steps(1, 9, 32), of_steps(2, 3, 32)];
    let expected = drawn(&mut session(), both(), Keep::OneAtATime);
    let first = drawn(&mut kept_in(&folder), both(), Keep::OneAtATime);
    let second = drawn(&mut kept_in(&folder), both(), Keep::OneAtATime);
    assert_eq!((&first, &second), (&expected, &expected));
}

#[test]
fn a_folder_that_cannot_be_written_is_no_cache() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, "").unwrap();
    let expected = draw(&mut session(), 1, Keep::OneAtATime).0;
    let mut kept = kept_in(&file.join("modulations"));
    assert_eq!(draw(&mut kept, 1, Keep::OneAtATime).0, expected);
}

#[test]
fn a_job_that_is_cancelled_while_it_computes_them_ends_and_leaves_the_models() {
    let mut session = session();
    let cancel = CancelToken::new();
    /// Cancels when denoising begins.
    struct Early<'a>(&'a CancelToken, usize);
    impl Observer for Early<'_> {
        fn event(&mut self, event: Event<'_>) {
            match event {
                Event::Begin(crate::events::Activity::Denoise { .. }) => {
                    self.0.cancel();
                }
                Event::Step { .. } => self.1 += 1,
                _ => {}
            }
        }

        fn image(&mut self, _: Drawn) -> Result<(), Error> {
            Ok(())
        }
    }
    let mut early = Early(&cancel, 0);
    let ended = session.generate(vec![request(1)], Keep::WhatFits, &mut early, &cancel);
    assert!(matches!(ended, Err(Error::Interrupted)), "{ended:?}");
    assert_eq!(early.1, 0);
    assert_eq!(super::draw(&mut session, 1, Keep::WhatFits).1, 1);
}

/// A session whose weights are read and not mapped, as on a GPU.
fn reading(sources: &ModelSources) -> Session {
    let compute = ComputeConfig {
        weights: LoadMethod::Read,
        ..processor()
    };
    Session::open(sources, compute).unwrap()
}

#[test]
fn weights_that_modulate_are_read_once_and_do_not_stay() {
    let denoise = |session: &Session| {
        let plan = session.plan(&[request(1)]).unwrap();
        *plan.phase(PhaseName::Denoise).unwrap()
    };
    let (mapped, read) = (
        denoise(&session()),
        denoise(&reading(&ModelSources::demo())),
    );
    assert_eq!(mapped.read_once_bytes, 0);
    let config = &session().models.transformer.config;
    let elements = config.num_layers * 2 * 6 * config.inner_dim() * config.inner_dim();
    // Those of the demo model are FP8.
    assert_eq!(read.read_once_bytes, elements as u64);
    assert_eq!(read.fp8_bytes + read.read_once_bytes, mapped.fp8_bytes);
    assert_eq!(read.other_bytes, mapped.other_bytes);
    assert_eq!(read.weight_bytes(), read.fp8_bytes + read.other_bytes);

    let expected = drawn(&mut session(), job(), Keep::OneAtATime);
    for keep in [Keep::OneAtATime, Keep::WhatFits] {
        let mut session = reading(&ModelSources::demo());
        assert_eq!(drawn(&mut session, job(), keep), expected, "{keep:?}");
        // The next job reads them for the timesteps that it does not have yet.
        assert_eq!(drawn(&mut session, job(), keep), expected, "{keep:?}");
    }
}

#[test]
fn a_file_that_is_cut_short_before_they_are_read_again_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let demo = Path::new(env!("CARGO_MANIFEST_DIR")).join("demo");
    let copy = |part: &str| {
        let to = folder.path().join(part);
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        fs::copy(demo.join(part), &to).unwrap();
        to
    };
    let transformer = copy("diffusion_models/qwen_image_demo_fp8_e4m3fn.safetensors");
    let sources = ModelSources {
        transformer: Some(transformer.clone()),
        ..ModelSources::folder(&demo)
    };
    let mut session = reading(&sources);
    let first = drawn(&mut session, vec![of_steps(1, 3, 32)], Keep::WhatFits);
    let file = fs::File::options().write(true).open(transformer).unwrap();
    file.set_len(file.metadata().unwrap().len() / 2).unwrap();
    // What is in memory is enough for the same timesteps, and not for others.
    let again = drawn(&mut session, vec![of_steps(1, 3, 32)], Keep::WhatFits);
    assert_eq!(again, first);
    let mut images = Collected::default();
    let cancel = CancelToken::new();
    let requests = vec![of_steps(1, 5, 32)];
    let ended = session.generate(requests, Keep::WhatFits, &mut images, &cancel);
    assert!(matches!(ended, Err(Error::Load(_))), "{ended:?}");
    assert!(images.0.is_empty());
}
