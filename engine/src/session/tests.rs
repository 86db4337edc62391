//! Sessions with the demo model, in this process.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use backends::device::probe;
use backends::{BackendKind, DeviceChoice};
use loader::WatchedFiles;

mod modulations;

use super::{Keep, Session};
use crate::error::Error;
use crate::events::{CancelToken, Collected, Drawn, Event, Guard, Observer};
use crate::image::RgbImage;
use crate::models::Models;
use crate::request::{BackendName, ComputeConfig, ImageSize, ModelSources, Request};

mod streaming;

fn processor() -> ComputeConfig {
    ComputeConfig {
        backend: BackendName::Kind(BackendKind::Flex),
        ..ComputeConfig::default()
    }
}

fn session() -> Session {
    Session::open(&ModelSources::demo(), processor()).unwrap()
}

/// A small image in few steps.
fn request(seed: u64) -> Request {
    Request {
        size: ImageSize {
            width: Some(32),
            height: Some(32),
        },
        steps: Some(2),
        ..Request::new("a red circle", seed)
    }
}

/// Notes what is told.
#[derive(Default)]
struct Heard {
    loads: usize,
    steps: usize,
    tensors: Vec<String>,
    previews: Vec<(u32, u32)>,
    images: Vec<Drawn>,
    /// Cancelled at the first step.
    cancel: Option<CancelToken>,
    refuses: bool,
}

impl Observer for Heard {
    fn event(&mut self, event: Event<'_>) {
        match event {
            Event::Loaded { .. } => self.loads += 1,
            Event::Step { .. } => {
                self.steps += 1;
                if let Some(cancel) = &self.cancel {
                    cancel.cancel();
                }
            }
            Event::Tensor { name, .. } => self.tensors.push(name.to_owned()),
            Event::Preview { image, .. } => self.previews.push((image.width, image.height)),
            _ => {}
        }
    }

    fn image(&mut self, drawn: Drawn) -> Result<(), Error> {
        if self.refuses {
            return Err(Error::Refused("there is no room for it".into()));
        }
        self.images.push(drawn);
        Ok(())
    }

    fn wants_tensors(&self) -> bool {
        true
    }

    fn wants_previews(&self) -> bool {
        true
    }

    fn wants_preview(&self, _: usize, step: usize) -> bool {
        step == 0
    }
}

fn draw(session: &mut Session, seed: u64, keep: Keep) -> (RgbImage, usize) {
    let mut heard = Heard::default();
    session
        .generate(vec![request(seed)], keep, &mut heard, &CancelToken::new())
        .unwrap();
    (heard.images.remove(0).image, heard.loads)
}

#[test]
fn models_stay_between_jobs_where_they_fit_and_draw_the_same() {
    let mut fresh = session();
    let (first, loads) = draw(&mut fresh, 1, Keep::OneAtATime);
    assert_eq!(loads, 3);
    // Nothing has stayed.
    let (second, loads) = draw(&mut fresh, 2, Keep::OneAtATime);
    assert_eq!(loads, 3);
    assert_ne!(first, second);

    let mut kept = session();
    assert_eq!(draw(&mut kept, 1, Keep::WhatFits), (first.clone(), 3));
    assert_eq!(draw(&mut kept, 2, Keep::WhatFits), (second, 0));
    assert_eq!(draw(&mut kept, 1, Keep::WhatFits), (first.clone(), 0));
    kept.release();
    assert_eq!(draw(&mut kept, 1, Keep::WhatFits), (first.clone(), 3));
    // Who wants one model at a time has none left over.
    assert_eq!(draw(&mut kept, 1, Keep::OneAtATime), (first.clone(), 3));
    assert_eq!(draw(&mut kept, 1, Keep::WhatFits), (first, 3));
}

#[test]
fn models_stay_where_a_job_is_refused_before_it_begins() {
    let mut session = session();
    draw(&mut session, 1, Keep::WhatFits);
    // Previews are wanted of latents whose colours nobody knows.
    session.models.vae.config.z_dim += 1;
    let (requests, cancel) = (vec![request(1)], CancelToken::new());
    let ended = session.generate(requests, Keep::WhatFits, &mut Heard::default(), &cancel);
    assert!(matches!(ended, Err(Error::Config { .. })), "{ended:?}");
    session.models.vae.config.z_dim -= 1;
    assert_eq!(draw(&mut session, 1, Keep::WhatFits).1, 0);
}

#[test]
fn opening_the_vae_encoder_checks_it_and_no_other_model() {
    let mut session = session();
    // A check of the transformer would fail.
    session.models.transformer.config.num_layers += 1;
    session.open_vae_encoder().unwrap();
    assert!(session.models.vae_encoder.is_some());

    let mut session = self::session();
    session.models.vae.config.base_dim *= 2;
    assert!(matches!(session.open_vae_encoder(), Err(Error::Load(_))));
}

#[test]
fn a_job_of_several_images_hands_over_each() {
    let mut session = session();
    let mut images = Collected::default();
    let requests = vec![request(1), request(2)];
    let cancel = CancelToken::new();
    session
        .generate(requests, Keep::WhatFits, &mut images, &cancel)
        .unwrap();
    let [first, second] = images.0.as_slice() else {
        panic!("{} images", images.0.len())
    };
    assert_eq!((first.index, second.index), (0, 1));
    assert_eq!(first.recipe.seed, Some(1));
    assert_eq!(first.image, draw(&mut session, 1, Keep::WhatFits).0);
    assert_eq!(second.image, draw(&mut session, 2, Keep::WhatFits).0);
}

#[test]
fn sessions_follow_each_other_on_all_devices() {
    let mut kinds = 0;
    for kind in BackendKind::ALL {
        let found = probe(kind).unwrap_or_default();
        for found in &found {
            let device = DeviceChoice {
                kind,
                index: found.index,
            };
            let models = Models::open(&ModelSources::demo()).unwrap();
            let mut session = Session::new(models, ComputeConfig::default(), device).unwrap();
            let (image, _) = draw(&mut session, 1, Keep::WhatFits);
            assert_eq!(draw(&mut session, 1, Keep::WhatFits), (image, 0), "{kind}");
            kinds += 1;
        }
    }
    assert!(kinds > 0 || !BackendKind::Flex.compiled_in());
    // Two at once in one process.
    let (mut one, mut other) = (session(), session());
    let (image, _) = draw(&mut one, 1, Keep::WhatFits);
    assert_eq!(draw(&mut other, 1, Keep::WhatFits).0, image);
    drop(other);
    assert_eq!(draw(&mut one, 1, Keep::WhatFits), (image, 0));
}

#[test]
fn a_cancelled_job_ends_at_its_step_and_leaves_the_models() {
    let mut session = session();
    let cancel = CancelToken::new();
    let mut heard = Heard {
        cancel: Some(cancel.clone()),
        ..Heard::default()
    };
    let ended = session.generate(vec![request(1)], Keep::WhatFits, &mut heard, &cancel);
    assert!(matches!(ended, Err(Error::Interrupted)), "{ended:?}");
    assert_eq!((heard.steps, heard.images.len()), (1, 0));
    // The text encoder and the transformer have stayed.
    assert_eq!(draw(&mut session, 1, Keep::WhatFits).1, 1);
}

/// Reports a fault once, as a panic on a thread of a device would be.
#[derive(Debug, Default)]
struct Faulty {
    count: AtomicU64,
    armed: AtomicBool,
}

impl Guard for Faulty {
    fn mark(&self) -> u64 {
        self.count.load(Ordering::SeqCst)
    }

    fn fault_since(&self, mark: u64) -> Option<String> {
        if self.armed.swap(false, Ordering::SeqCst) {
            self.count.fetch_add(1, Ordering::SeqCst);
        }
        (self.mark() > mark).then(|| "a kernel is no good".to_owned())
    }

    fn watch(&self, _: &WatchedFiles) -> Box<dyn Send + Sync> {
        Box::new(())
    }
}

#[test]
fn a_fault_of_the_device_ends_one_job_and_not_the_next() {
    let guard = Arc::new(Faulty::default());
    let mut session = session();
    session.set_guard(guard.clone());
    let (image, _) = draw(&mut session, 1, Keep::WhatFits);
    guard.armed.store(true, Ordering::SeqCst);
    let (keep, cancel) = (Keep::WhatFits, CancelToken::new());
    let mut images = Collected::default();
    let ended = session.generate(vec![request(1)], keep, &mut images, &cancel);
    let Err(Error::DeviceFails(message)) = ended else {
        panic!("{ended:?}")
    };
    assert_eq!(message, "a kernel is no good");
    // What the device held then is not trusted.
    assert_eq!(draw(&mut session, 1, Keep::WhatFits), (image, 3));
}

#[test]
fn an_image_that_the_caller_refuses_ends_the_job() {
    let mut session = session();
    let mut heard = Heard {
        refuses: true,
        ..Heard::default()
    };
    let (keep, cancel) = (Keep::OneAtATime, CancelToken::new());
    let ended = session.generate(vec![request(1)], keep, &mut heard, &cancel);
    let Err(Error::Refused(refusal)) = ended else {
        panic!("{ended:?}")
    };
    assert_eq!(refusal.to_string(), "there is no room for it");
    draw(&mut session, 1, Keep::OneAtATime);
}

#[test]
fn previews_and_tensors_come_where_they_are_wanted() {
    let mut heard = Heard::default();
    let (keep, cancel) = (Keep::OneAtATime, CancelToken::new());
    let figures = session()
        .generate(vec![request(1)], keep, &mut heard, &cancel)
        .unwrap();
    assert_eq!(heard.previews, [(4, 4)]);
    for name in [
        "input_ids",
        "prompt_embeds",
        "noise",
        "latents.final",
        "image",
    ] {
        assert!(heard.tensors.iter().any(|found| found == name), "{name}");
    }
    let phases: Vec<&str> = figures.phases.iter().map(|phase| phase.name).collect();
    for name in ["load_text_encoder", "encode", "denoise", "decode"] {
        assert!(phases.contains(&name), "{phases:?}");
    }
}

#[test]
fn what_is_wrong_with_a_request_is_told_before_anything_is_loaded() {
    let mut session = session();
    let mut heard = Heard::default();
    let (keep, cancel) = (Keep::OneAtATime, CancelToken::new());
    let bad = Request {
        noise: Some("no such file".into()),
        ..request(1)
    };
    let ended = session.generate(vec![request(1), bad], keep, &mut heard, &cancel);
    assert!(ended.is_err());
    assert_eq!((heard.loads, heard.images.len()), (0, 0));
}

#[test]
fn a_session_without_its_device_plans_and_draws_nothing() {
    let models = Models::open(&ModelSources::demo()).unwrap();
    let mut session = Session::planned(models, ComputeConfig::default(), 24 << 30).unwrap();
    let plan = session.plan(&[request(1)]).unwrap();
    assert!(plan.fits && plan.phases.len() == 3);
    let mut images = Collected::default();
    let (keep, cancel) = (Keep::OneAtATime, CancelToken::new());
    let ended = session.generate(vec![request(1)], keep, &mut images, &cancel);
    assert!(matches!(ended, Err(Error::Request(_))), "{ended:?}");
}
