//! Files of the user's that nothing is written over.

use std::fs;

use crate::init_image::image;
use crate::lora;
use crate::support::Place;

#[test]
fn a_preview_takes_no_place_of_the_users() {
    let place = Place::new();
    let preview = place.path("out/x.preview.png");
    let scene = fs::read(image("scene_48x32.png")).unwrap();
    place.generate(&["-oout/made.png"]).expect(0);
    let made = fs::read(place.path("out/made.png")).unwrap();
    for users in [&b"mine"[..], &scene, &made] {
        fs::write(&preview, users).unwrap();
        let run = place.generate(&["-q", "--preview=1"]);
        run.expect_error(2, &["out/x.preview.png", "--preview"]);
        assert!(fs::read(&preview).unwrap() == users);
    }
    for flags in [
        ["--init-image", "out/x.preview.png"],
        ["--init-image", "./out/../out/x.preview.png"],
        ["--noise", "out/x.preview.png"],
        ["--from", "out/x.preview.png"],
    ] {
        let run = place.generate(&[&["-q", "--preview=1"][..], &flags].concat());
        run.expect_error(2, &["out/x.preview.png"]);
        assert!(fs::read(&preview).unwrap() == made);
    }
    // Without previews it is in nobody's way.
    place.generate(&["--from", "out/x.preview.png"]).expect(0);
    assert!(fs::read(&preview).unwrap() == made);
}

#[cfg(unix)]
#[test]
fn a_preview_left_behind_by_a_killed_run_is_replaced() {
    let place = Place::new();
    let mut command = place.command();
    command.args(["--preview=1", "--output=out/x.png"]);
    let path = place.path("out/x.preview.png");
    let held = crate::hold::Held::at("step", 1, &command);
    assert!(path.exists());
    let ended = held.kill();
    assert_eq!(ended.code, None, "{}", ended.stderr);
    assert!(path.exists());
    place.generate(&["--preview=1"]).expect(0);
    assert!(!path.exists());
}

#[test]
fn a_file_is_the_same_however_it_is_spelled() {
    let place = Place::new();
    let fox = place.path("out/x.png");
    let scene = fs::read(image("scene_48x32.png")).unwrap();
    fs::write(&fox, &scene).unwrap();
    fs::copy(image("mask_48x32.png"), place.path("mask.png")).unwrap();
    let whole = fox.to_str().unwrap();
    for (flags, parts) in [
        (
            &["--init-image", "./out/x.png"][..],
            &["--init-image", "x.png"][..],
        ),
        (&["--init-image", whole], &["--init-image", "x.png"]),
        (
            &["--init-image", "mask.png", "--mask", "out/./x.png"],
            &["--mask", "x.png"],
        ),
        (&["--trace", "out/../out/x.png"], &["--trace", "x.png"]),
        (
            &["--trace", "./r", "--report", "r"],
            &["--trace", "--report"],
        ),
        (
            &["--init-image", "mask.png", "--report", "./mask.png"],
            &["--report", "--init-image"],
        ),
        (
            &["--from", "out/x.png", "--trace", "./out/x.png"],
            &["--trace", "x.png"],
        ),
    ] {
        if flags.contains(&"--from") {
            place.generate(&["-oout/made.png"]).expect(0);
            fs::copy(place.path("out/made.png"), &fox).unwrap();
            fs::remove_file(place.path("out/made.png")).unwrap();
        }
        let before = fs::read(&fox).unwrap();
        place
            .generate(&[&["-q"], flags].concat())
            .expect_error(2, parts);
        assert!(fs::read(&fox).unwrap() == before);
    }
    assert_eq!(place.written(), ["x.png"]);
    let lines = "{\"prompt\":\"a\",\"output\":\"out/a.png\"}\n\
        {\"prompt\":\"b\",\"output\":\"./out/../out/a.png\"}\n";
    fs::write(place.path("p.jsonl"), lines).unwrap();
    let run: crate::support::Run = crate::support::program()
        .current_dir(place.path(""))
        .args(["generate", "-q", "--models=models", "--prompt-file=p.jsonl"])
        .output()
        .unwrap()
        .into();
    run.expect_error(2, &["p.jsonl:2: ", "p.jsonl:1;", "a.png"]);
}

#[test]
fn nothing_is_written_over_the_models() {
    let place = lora::place();
    let style = place.path("models/loras").join(lora::STYLE);
    fs::copy(&style, place.path("own.safetensors")).unwrap();
    let mut files = vec![
        "own.safetensors".into(),
        format!("models/loras/{}", lora::STYLE),
        "models/tokenizer/vocab.json".into(),
    ];
    for file in [place.transformer(), place.text_encoder()] {
        files.push(file.to_str().unwrap().to_owned());
    }
    for entry in fs::read_dir(place.path("models/vae")).unwrap() {
        files.push(entry.unwrap().path().to_str().unwrap().to_owned());
    }
    assert!(files.len() >= 6, "{files:?}");
    let loras = ["--lora", "own.safetensors", "--lora", lora::STYLE];
    for file in &files {
        let before = fs::read(place.path(file)).unwrap();
        for flag in ["--trace", "--report"] {
            let run = place.generate(&[&["-q", flag, file][..], &loras].concat());
            run.expect_error(2, &[flag, "belongs to the models"]);
            assert!(fs::read(place.path(file)).unwrap() == before, "{file}");
        }
    }
    // A file of no model's may lie among them, again and again.
    for _ in 0..2 {
        let trace = ["-q", "--trace", "models/vae/trace"];
        place.generate(&trace).expect(0);
    }
}

#[test]
fn a_dash_is_no_file() {
    let place = Place::new();
    for flag in ["--output", "--trace", "--report"] {
        let run = place.generate(&["-q", flag, "-"]);
        run.expect_error(2, &[flag, "name a file"]);
    }
    place.generate(&["-q", "--output", "./-"]).expect(0);
    assert!(place.path("-.png").exists());
}
