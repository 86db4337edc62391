//! Runs that end before their images are written, where one model is in memory at a time.

use std::fs;
use std::process::Command;

use crate::hold::Held;
use crate::prompt_file;
use crate::support::{Place, Run, program, started_by};

/// `generate` of 16x16 images in two steps each, as on a card where the VAE has no room beside the
/// transformer.
fn command(place: &Place, more: &[&str]) -> Command {
    let mut command = prompt_file::command(place, more);
    command
        .env("QWEN_IMAGE_CACHE", place.path("cache"))
        .env("QWEN_IMAGE_TEST_ONE_MODEL", "1");
    command
}

fn generate(place: &Place, more: &[&str]) -> Run {
    command(place, more).output().unwrap().into()
}

/// Three prompts, and the images that they give.
fn three(place: &Place) -> Vec<Vec<u8>> {
    fs::write(place.path("p.txt"), "fox\ncat\ndog\n").unwrap();
    let mut beside = command(place, &["--prompt-file=p.txt", "-oexpected/%d.png"]);
    beside.env_remove("QWEN_IMAGE_TEST_ONE_MODEL");
    Run::from(beside.output().unwrap()).expect(0);
    let read = |number| fs::read(place.path(&format!("expected/{number}.png"))).unwrap();
    [1, 2, 3].map(read).into()
}

const FLAGS: [&str; 2] = ["--prompt-file=p.txt", "-oout/%d.png"];

fn images(place: &Place) -> Vec<Vec<u8>> {
    let names = place.written().into_iter();
    names
        .map(|name| fs::read(place.path("out").join(name)).unwrap())
        .collect()
}

/// How many latents wait.
fn waiting(place: &Place) -> usize {
    fs::read_dir(place.path("cache/latents")).map_or(0, Iterator::count)
}

#[test]
fn after_kill_9_the_same_command_decodes_what_was_denoised() {
    let place = Place::new();
    let expected = three(&place);
    let held = Held::at("denoised", 2, &command(&place, &FLAGS));
    assert_eq!(held.kill().code, None);
    assert_eq!(place.written(), [""; 0]);
    assert_eq!(waiting(&place), 2);

    let run = generate(&place, &FLAGS).expect(0);
    assert!(
        run.stderr.contains("2 of 3 images were denoised"),
        "{}",
        run.stderr
    );
    for (image, denoised) in [(1, false), (2, false), (3, true)] {
        let line = format!("Denoising image {image} of 3");
        assert_eq!(run.stderr.contains(&line), denoised, "{}", run.stderr);
    }
    assert_eq!(run.stdout, "out/1.png\nout/2.png\nout/3.png\n");
    assert!(images(&place) == expected);
    assert_eq!(waiting(&place), 0);
}

#[test]
fn where_all_is_denoised_only_the_decoder_is_loaded() {
    let place = Place::new();
    let expected = three(&place);
    Held::at("denoised", 3, &command(&place, &FLAGS)).kill();
    assert_eq!(waiting(&place), 3);
    let more = [&FLAGS[..], &["--no-prompt-cache"]].concat();
    let run = generate(&place, &more).expect(0);
    assert_eq!(run.stderr.matches("Loaded ").count(), 1, "{}", run.stderr);
    assert!(images(&place) == expected);
    assert_eq!(waiting(&place), 0);
}

#[test]
fn latents_are_those_of_the_same_image_alone() {
    let place = Place::new();
    let single = |more: &[&str]| {
        let flags = ["-pfox", "-s7", "-oout/x.png"];
        command(&place, &[&flags, more].concat())
    };
    let run = |more: &[&str]| Run::from(single(more).output().unwrap()).expect(0);
    Held::at("denoised", 1, &single(&[])).kill();
    assert_eq!(waiting(&place), 1);
    for other in ["-s8", "-pcat", "--steps=3", "-W32", "--dtype=bf16", "-nred"] {
        let said = run(&[other]).stderr;
        assert!(said.contains("Denoising"), "{other}: {said}");
    }
    // A model of the same name with other contents.
    let whole = fs::read(place.transformer()).unwrap();
    let mut changed = whole.clone();
    *changed.last_mut().unwrap() ^= 1;
    fs::write(place.transformer(), &changed).unwrap();
    assert!(run(&[]).stderr.contains("Denoising"));
    fs::write(place.transformer(), &whole).unwrap();
    // Records are of all phases.
    assert!(run(&["--report=r.json"]).stderr.contains("Denoising"));
    assert_eq!(waiting(&place), 1);
    let expected = fs::read(place.path("out/x.png")).unwrap();
    assert!(!run(&[]).stderr.contains("Denoising"));
    assert!(fs::read(place.path("out/x.png")).unwrap() == expected);
    assert_eq!(waiting(&place), 0);
}

#[test]
fn damaged_latents_are_computed_again() {
    let place = Place::new();
    let expected = three(&place);
    Held::at("denoised", 1, &command(&place, &FLAGS)).kill();
    for entry in fs::read_dir(place.path("cache/latents")).unwrap() {
        let path = entry.unwrap().path();
        let bytes = fs::read(&path).unwrap();
        fs::write(&path, &bytes[..bytes.len() - 1]).unwrap();
    }
    let run = generate(&place, &FLAGS).expect(0);
    assert!(
        run.stderr.contains("Denoising image 1 of 3"),
        "{}",
        run.stderr
    );
    assert!(images(&place) == expected);
}

#[test]
fn a_folder_that_cannot_be_written_to_is_told_once() {
    let place = Place::new();
    let expected = three(&place);
    fs::write(place.path("file"), "").unwrap();
    let mut command = command(&place, &FLAGS);
    command.env("QWEN_IMAGE_CACHE", place.path("file"));
    let run = Run::from(command.output().unwrap()).expect(0);
    let told = run.stderr.matches("latents cannot be kept").count();
    assert_eq!(told, 1, "{}", run.stderr);
    assert!(images(&place) == expected);
}

/// The same command in a process that ignores some signals and heeds the others.
fn ignoring(signals: &str, command: &Command) -> Command {
    // The first of these has no signal ignored because the tests run under nohup, say.
    let default = "--default-signal=INT,TERM,HUP";
    let ignore = format!("--ignore-signal={signals}");
    started_by("env", &[default, &ignore], command)
}

#[test]
fn sigterm_and_sighup_save_what_is_denoised_however_the_program_was_started() {
    for (ignored, signal) in [
        // A background job of a script, one under nohup, and both.
        ("INT", "TERM"),
        ("HUP", "TERM"),
        ("INT,HUP", "TERM"),
        ("INT", "HUP"),
    ] {
        let place = Place::new();
        let expected = three(&place);
        let command = ignoring(ignored, &command(&place, &FLAGS));
        // In the second image.
        let mut held = Held::at_as_started("step", 3, command);
        // Were it heeded, the next one would be the second and end the program where it is.
        for ignored in ignored.split(',') {
            held.signal(ignored);
        }
        held.stop(signal);
        let ended = held.release();
        assert_eq!(ended.code, Some(130), "{ignored}: {}", ended.stderr);
        assert_eq!(ended.stdout, "out/1.png\n", "{}", ended.stderr);
        let told = "interrupted: 1 of 3 images are done; the same command goes on with the rest";
        assert!(ended.stderr.contains(told), "{}", ended.stderr);
        let run = generate(&place, &FLAGS).expect(0);
        assert!(run.stderr.contains("skipping out/1.png"), "{}", run.stderr);
        assert!(images(&place) == expected);
    }
}

#[test]
fn how_the_rest_is_made_is_told_with_the_flags_that_it_takes() {
    let place = Place::new();
    for (flags, told) in [
        (&["-s5"][..], "; with --resume, the same command"),
        (&["-s5", "--resume"], "; the same command"),
        (&[], " --resume, the same command"),
    ] {
        let flags = [&["-pfox", "-b3", "-oout/%d.png"], flags].concat();
        let mut held = Held::at("step", 3, &command(&place, &flags));
        held.interrupt();
        let ended = held.release();
        assert_eq!(ended.code, Some(130), "{}", ended.stderr);
        assert!(ended.stderr.contains(told), "{}", ended.stderr);
        let done = "interrupted: 1 of 3 images are done";
        assert!(ended.stderr.contains(done), "{}", ended.stderr);
        fs::remove_file(place.path("out/1.png")).unwrap();
    }
}

#[test]
fn plan_says_when_images_are_written() {
    let models = Place::new();
    let plan = |more: &[&str]| {
        let mut command = program();
        command.current_dir(models.path("")).args([
            "plan",
            "--models=models",
            "-W512",
            "-H512",
            "-b3",
        ]);
        Run::from(command.args(more).output().unwrap()).stdout
    };
    let ample = plan(&["--vram-total=8GB"]);
    assert!(
        ample.contains("each image is written as it is made"),
        "{ample}"
    );
    let json = plan(&["--vram-total=8GB", "--json"]);
    assert!(
        json.contains("\"images_written\": \"as_they_are_made\""),
        "{json}"
    );
    // All of it may be used, and the decoder takes most of that.
    let figures: serde_json::Value = serde_json::from_str(&json).unwrap();
    let peak = |phase: usize| figures["phases"][phase]["peak_bytes"].as_u64().unwrap();
    let tight = format!("--vram-total={}", peak(1).max(peak(2)) + (640 << 20));
    let off = [tight.as_str(), "--vae-tiling=off"];
    let told = plan(&off);
    assert!(told.contains("written at the end"), "{told}");
    let json = plan(&[&off[..], &["--json"]].concat());
    assert!(
        json.contains("\"images_written\": \"at_the_end\""),
        "{json}"
    );
}
