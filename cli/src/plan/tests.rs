//! Plans of the demo model, as they are printed.

use backends::BackendKind;
use engine::Session;
use engine::models::Models;
use engine::plan::{AdapterSizes, PhaseName, Plan, RUNTIME_ALLOWANCE, Subject, Work};
use engine::request::{ComputeConfig, ModelSources, Request, StreamChoice};

use super::table;
use crate::error::CliError;

const GIB: u64 = 1 << 30;

/// A session for a GPU of `total` bytes.
fn session(total: u64, limit: Option<u64>) -> Session {
    let compute = ComputeConfig {
        vram_limit: limit,
        limit_name: "--vram-limit",
        stream: StreamChoice::Off,
        ..ComputeConfig::default()
    };
    let models = Models::open(&ModelSources::demo()).unwrap();
    Session::planned(models, compute, total).unwrap()
}

fn work(session: &Session, width: u32, height: u32, images: usize) -> Work {
    let plan = session.plan(&[Request::new("a fox", 0)]).unwrap();
    Work {
        width,
        height,
        images,
        ..plan.work
    }
}

/// The least total with which a phase of a plan fits.
fn enough_for(plan: &Plan, phase: PhaseName) -> u64 {
    plan.phase(phase).unwrap().peak_bytes + RUNTIME_ALLOWANCE
}

#[test]
fn the_table_tells_when_images_are_written() {
    let plan = |total| {
        let session = session(total, None);
        session.plan_of(work(&session, 1328, 1328, 2))
    };
    let ample = plan(80 * GIB);
    assert!(table(&ample).contains("each image is written as it is made"));
    let scarce = plan(enough_for(&ample, PhaseName::Denoise));
    assert!(table(&scarce).contains("written at the end"));
}

#[test]
fn the_table_tells_of_loras_and_of_tiles() {
    let plan = |total| {
        let session = session(total, None);
        let demo = Subject::of(session.models());
        let subject = Subject {
            vae_encoder: Some(demo.vae.bytes),
            adapters: AdapterSizes {
                tensors: 1440,
                file: GIB,
                elements: GIB / 2,
                rank: 64,
            },
            ..demo
        };
        let work = work(&session, 1024, 1024, 1);
        Plan::new(&subject, work, *session.setting())
    };
    let ample = plan(80 * GIB);
    assert!(table(&ample).contains("1.00 GiB are LoRAs"));
    let tiled = table(&plan(enough_for(&ample, PhaseName::EncodeImage) - 1));
    assert!(
        tiled.contains("The init image is encoded in tiles of"),
        "{tiled}"
    );
}

#[test]
fn what_would_help_is_told_with_its_flag() {
    let plan = |width, height, total, limit| {
        let session = session(total, limit);
        session.plan_of(work(&session, width, height, 1))
    };
    let needed = |width, height| {
        let ample = plan(width, height, 80 * GIB, None);
        enough_for(&ample, PhaseName::Denoise)
    };
    let refused = |width, height, total, limit| {
        let plan = plan(width, height, total, limit);
        let error = CliError::from(plan.check().unwrap_err());
        (error.to_string(), table(&plan))
    };
    let (error, _) = refused(4096, 2048, needed(4096, 2048) - 1, None);
    assert!(error.contains("make the image smaller: -W "), "{error}");
    let limit = needed(1024, 1024) - 1;
    let (error, _) = refused(1024, 1024, 48 * GIB, Some(limit));
    assert!(error.contains("raise the limit: --vram-limit "), "{error}");
    let (error, printed) = refused(1024, 1024, RUNTIME_ALLOWANCE + 1, None);
    assert!(printed.contains("nothing makes"), "{printed}");
    assert!(!printed.contains("would fit"), "{printed}");
    let flex = BackendKind::Flex.compiled_in();
    assert_eq!(printed.contains("--backend flex"), flex, "{printed}");
    assert!(error.contains("it takes a device with"), "{error}");
    assert!(!error.contains("--text-encoder-on-cpu"), "{error}");
}
