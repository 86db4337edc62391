//! `--preview` and `--preview-inline`.

use std::fs;

use serde_json::json;

use crate::safetensors_file;
use crate::support::Place;

#[test]
fn previews_leave_the_image_as_it_is_and_nothing_behind() {
    let place = Place::new();
    place.generate(&[]).expect(0);
    let without = fs::read(place.path("out/x.png")).unwrap();
    let run = place.generate(&["--preview=1"]).expect(0);
    assert_eq!(run.stdout, "out/x.png\n");
    assert_eq!(place.written(), ["x.png"]);
    assert!(fs::read(place.path("out/x.png")).unwrap() == without);
}

#[cfg(unix)]
#[test]
fn a_preview_is_there_meanwhile_and_gone_after_ctrl_c() {
    let place = Place::new();
    let mut generate = place.command();
    generate.args(["--steps=4", "--preview=2", "--output=out/x.png"]);
    generate.args(["--width=64", "--height=32"]);
    let mut held = crate::hold::Held::at("step", 3, &generate);
    let path = place.path("out/x.preview.png");
    let file = std::io::BufReader::new(fs::File::open(&path).unwrap());
    let reader = png::Decoder::new(file).read_info().unwrap();
    assert_eq!((reader.info().width, reader.info().height), (8, 4));
    held.interrupt();
    let ended = held.release();
    assert_eq!(ended.code, Some(130), "{}", ended.stderr);
    assert_eq!(place.written(), [""; 0]);
}

#[test]
fn bad_values_are_one_line() {
    let place = Place::new();
    for value in ["0", "-1", "1001", "often", "1.5"] {
        place
            .generate(&["-q", &format!("--preview={value}")])
            .expect_error(2, &["--preview"]);
    }
    let run = place.generate(&["--preview-inline"]).expect(2);
    assert!(run.stderr.contains("--preview"), "{}", run.stderr);
    place
        .generate(&["-q", "--preview=1", "--report=out/x.preview.png"])
        .expect_error(2, &["out/x.preview.png"]);
    assert_eq!(place.written(), [""; 0]);
}

#[test]
fn without_a_terminal_nothing_is_shown_and_that_is_told() {
    let place = Place::new();
    let run = place.generate(&["--preview=1", "--preview-inline"]);
    let run = run.expect(0);
    assert!(run.stderr.contains("not a terminal"), "{}", run.stderr);
    assert!(!run.stderr.contains('\x1b') && !run.stdout.contains('\x1b'));
}

/// The output on a terminal of two steps with a preview of each.
#[cfg(unix)]
fn on_terminal(variables: &[(&str, &str)]) -> String {
    let place = Place::new();
    let mut command = place.command();
    command.args(["--output=out/x.png", "--preview=1", "--preview-inline"]);
    crate::terminal::shown(command, 80, variables)
}

#[cfg(unix)]
#[test]
fn a_terminal_that_shows_images_is_sent_them() {
    let kitty = on_terminal(&[("TERM", "xterm-kitty")]);
    assert_eq!(kitty.matches("\x1b_Ga=T").count(), 2, "one a step: {kitty}");
    let iterm = on_terminal(&[("TERM_PROGRAM", "iTerm.app")]);
    assert_eq!(iterm.matches("\x1b]1337;File=inline=1").count(), 2);
    let plain = on_terminal(&[("TERM", "xterm")]);
    assert!(plain.contains("shows no images"), "{plain}");
    let tmux = on_terminal(&[
        ("TERM", "tmux-256color"),
        ("TMUX", "/tmp/tmux-0/default,1,0"),
    ]);
    assert!(tmux.contains("tip: COLORTERM=truecolor"), "{tmux}");
    assert!(!plain.contains("\x1b_G") && !plain.contains("1337"));
}

#[test]
fn a_vae_with_colours_for_other_latents_is_named() {
    let place = Place::new();
    safetensors_file::edit(place.vae(), |file| {
        file.edit_config(|config| config["latent_rgb_factors"] = json!([[1, 2, 3]]));
    });
    place.refuses(
        &["--preview=1"],
        &["qwen_image_small_vae", "latent_rgb_factors"],
    );
    place.generate(&[]).expect(0);
}
