//! The built-in demo model draws what it is asked for.

use std::f64::consts::FRAC_PI_4;
use std::fs::{self, File};

use super::drawn::{DrawnImage, Region};
#[cfg(unix)]
use super::hold::Held;
use super::support::{Run, program};

/// The image that the first command of a newcomer gives, with this prompt.
#[track_caller]
fn draw(prompt: &str, more: &[&str]) -> (DrawnImage, Run) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("image.png");
    let mut command = program();
    command
        .args(["generate", "--backend=flex", "--prompt", prompt])
        .args(["--seed=1", "--output"])
        .arg(&path)
        .args(more);
    let run = Run::from(command.output().unwrap()).expect(0);
    (DrawnImage::open(&path), run)
}

/// Tells whether `value` is within `margin` of `expected`.
fn about(value: f64, expected: f64, margin: f64) -> bool {
    (value - expected).abs() <= margin
}

#[track_caller]
fn only(mut regions: Vec<Region>) -> Region {
    assert_eq!(regions.len(), 1, "{regions:?}");
    regions.remove(0)
}

#[test]
fn a_red_circle_on_a_blue_background() {
    let (image, run) = draw("a red circle on a blue background", &[]);
    assert!(run.stderr.contains("built-in demo model"), "{}", run.stderr);
    assert_eq!(image.background(), "blue");
    let circle = only(image.regions("red"));
    assert!(about(circle.fill, FRAC_PI_4, 0.05), "{circle:?}");
    assert!(about(circle.aspect, 1.0, 0.15), "{circle:?}");
    assert!(
        about(circle.x, 0.5, 0.12) && about(circle.y, 0.5, 0.12),
        "{circle:?}"
    );
    assert!((0.05..0.3).contains(&circle.area), "{circle:?}");
    let field = only(image.regions("blue"));
    assert!(about(field.area + circle.area, 1.0, 0.03), "{field:?}");
}

#[test]
fn a_blue_square_above_an_orange_triangle() {
    let prompt = "a blue square above an orange triangle on a white background";
    let (image, _) = draw(prompt, &[]);
    assert_eq!(image.background(), "white");
    let square = only(image.regions("blue"));
    assert!(square.fill > 0.88, "{square:?}");
    assert!(about(square.aspect, 1.0, 0.15), "{square:?}");
    let triangle = only(image.regions("orange"));
    assert!(about(triangle.fill, 0.5, 0.08), "{triangle:?}");
    assert!(
        square.y < 0.45 && triangle.y > 0.55,
        "{square:?} {triangle:?}"
    );
}

#[test]
fn two_purple_hearts_in_a_wide_image() {
    let prompt = "two purple hearts on a yellow background";
    let (image, _) = draw(prompt, &["--width=320", "--height=192"]);
    assert_eq!(image.background(), "yellow");
    let hearts = image.regions("purple");
    assert_eq!(hearts.len(), 2, "{hearts:?}");
    for heart in &hearts {
        assert!((0.5..0.75).contains(&heart.fill), "{heart:?}");
    }
    assert!(hearts[0].x < 0.5 && hearts[1].x > 0.5, "{hearts:?}");
}

#[test]
fn the_checks_tell_one_prompt_from_another() {
    let (image, _) = draw("a green triangle on a pink background", &[]);
    assert_eq!(image.background(), "pink");
    assert!(image.regions("red").is_empty());
    let triangle = only(image.regions("green"));
    assert!(!about(triangle.fill, FRAC_PI_4, 0.05), "{triangle:?}");
}

/// The names in a folder, sorted.
fn names(folder: &std::path::Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap());
    let mut names: Vec<String> = entries
        .map(|entry| entry.file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[cfg(unix)]
#[test]
fn nothing_of_the_demo_model_stays_after_a_second_ctrl_c() {
    let temporary = tempfile::tempdir().unwrap();
    let mut generate = program();
    generate
        .args(["generate", "--demo", "--backend=flex", "--prompt=a circle"])
        .args(["--width=64", "--height=64", "--output=x.png"])
        .current_dir(temporary.path())
        .env("TMPDIR", temporary.path());
    let mut held = Held::at("step", 1, &generate);
    assert_eq!(names(temporary.path()).len(), 1);
    held.interrupt();
    assert_eq!(names(temporary.path()).len(), 1);
    let ended = held.interrupt_again();
    assert_eq!(ended.code, Some(130), "{}", ended.stderr);
    assert!(!ended.stderr.contains("interrupted"), "{}", ended.stderr);
    assert_eq!(names(temporary.path()), [""; 0]);
}

#[cfg(unix)]
#[test]
fn what_a_killed_process_left_of_the_demo_model_is_removed() {
    let temporary = tempfile::tempdir().unwrap();
    let folder = |name: &str| temporary.path().join(name);
    for name in ["demo-left", "demo-used", "demo-else", "left"] {
        fs::create_dir_all(folder(&format!("qwen-image-{name}/vae"))).unwrap();
    }
    for name in ["demo-left", "demo-used", "left"] {
        fs::write(folder(&format!("qwen-image-{name}/in-use")), "").unwrap();
    }
    let used = File::open(folder("qwen-image-demo-used/in-use")).unwrap();
    used.lock().unwrap();
    let mut plan = program();
    plan.args(["plan", "--demo", "--backend=flex"]);
    Run::from(plan.env("TMPDIR", temporary.path()).output().unwrap()).expect(0);
    assert_eq!(
        names(temporary.path()),
        [
            "qwen-image-demo-else",
            "qwen-image-demo-used",
            "qwen-image-left"
        ]
    );
}

#[cfg(unix)]
#[test]
fn a_folder_for_temporary_files_that_is_not_there_is_named_once() {
    let mut plan = program();
    plan.args(["plan", "--demo", "--backend=flex"]);
    let run = Run::from(plan.env("TMPDIR", "/nosuch").output().unwrap());
    assert_eq!(run.stderr.matches("/nosuch").count(), 1, "{}", run.stderr);
    run.expect_error(1, &["/nosuch", "TMPDIR", "does not exist"]);
}
