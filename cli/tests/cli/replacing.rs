//! Images that are there already, and where new ones go.

use std::collections::BTreeMap;
use std::fs;

use crate::support::{Place, Run, program};

/// `generate` of 16x16 images in two steps.
fn generate(place: &Place, more: &[&str]) -> Run {
    let mut command = program();
    command.current_dir(place.path("")).args([
        "generate",
        "--models=models",
        "--backend=flex",
        "-W16",
        "-H16",
        "--steps=2",
    ]);
    command.args(more).output().unwrap().into()
}

/// The images of a file of prompts.
fn draw(place: &Place, prompts: &str, more: &[&str]) -> Run {
    fs::write(place.path("p.txt"), prompts).unwrap();
    generate(place, &[&["--prompt-file=p.txt"], more].concat())
}

/// All files in `out`, by their names.
fn files(place: &Place) -> BTreeMap<String, Vec<u8>> {
    let read = |name: String| {
        (
            name.clone(),
            fs::read(place.path("out").join(&name)).unwrap(),
        )
    };
    place.written().into_iter().map(read).collect()
}

/// Demands exit 2, one line with `parts`, no model loaded and every file as it was.
#[track_caller]
fn keeps(place: &Place, parts: &[&str], run: impl Fn() -> Run) {
    let before = files(place);
    let run = run().expect(2);
    assert_eq!(run.stdout, "");
    assert!(!run.stderr.contains("Load"), "{}", run.stderr);
    let errors: Vec<&str> = run
        .stderr
        .lines()
        .filter(|line| line.starts_with("error: "))
        .collect();
    assert_eq!(errors.len(), 1, "{}", run.stderr);
    for part in parts {
        assert!(errors[0].contains(part), "no `{part}` in {}", errors[0]);
    }
    assert!(files(place) == before);
}

#[test]
fn a_line_inserted_into_a_prompt_file_replaces_nothing() {
    let place = Place::new();
    let flags = ["-oout/%d.png"];
    draw(&place, "fox\ncat\ndog\n", &flags).expect(0);
    let longer = "hen\nfox\ncat\ndog\n";
    let parts = ["3 of 4 images", "out/1.png", "--overwrite", "%h"];
    keeps(&place, &parts, || draw(&place, longer, &flags));
    // A dry run writes nothing, and so asks nothing.
    let dry = [&flags[..], &["--dry-run"]].concat();
    draw(&place, longer, &dry).expect(0);
    let before = files(&place);
    let run = draw(&place, longer, &[&flags[..], &["--overwrite"]].concat()).expect(0);
    assert_eq!(run.stdout, "out/1.png\nout/2.png\nout/3.png\nout/4.png\n");
    assert!(files(&place).get("1.png") != before.get("1.png"));
    // Lines at the end are added without a word.
    draw(&place, "hen\nfox\ncat\ndog\nape\n", &flags).expect(0);
}

#[test]
fn names_of_lines_are_theirs_too() {
    let place = Place::new();
    let line = |prompt: &str| format!("{{\"prompt\":\"{prompt}\",\"output\":\"out/a.png\"}}\n");
    let flags = ["--prompt-file=p.jsonl"];
    fs::write(place.path("p.jsonl"), line("fox")).unwrap();
    generate(&place, &flags).expect(0);
    fs::write(place.path("p.jsonl"), line("cat")).unwrap();
    keeps(&place, &["1 of 1 images", "out/a.png"], || {
        generate(&place, &flags)
    });
}

#[test]
fn patterns_and_batches_replace_no_other_image_and_a_single_name_does() {
    let place = Place::new();
    for (flags, first) in [
        (&["-b2", "-oout/n%d.png"][..], "out/n1.png"),
        (&["-b2", "-oout/x.png"], "out/x-1.png"),
        (&["-oout/%02d.jpg"], "out/01.jpg"),
    ] {
        let flags = [&["-pfox"], flags].concat();
        let with = |more: &[&str]| generate(&place, &[&flags[..], more].concat());
        with(&["-s9"]).expect(0);
        // The same image may be drawn again.
        with(&["-s9"]).expect(0);
        keeps(&place, &[first, "--overwrite"], || with(&["-s20"]));
        with(&["-s20", "--overwrite"]).expect(0);
        // What holds no recipe is somebody's.
        for content in [&b"junk"[..], b""] {
            fs::write(place.path(first), content).unwrap();
            keeps(&place, &["1 of ", first], || with(&["-s20"]));
        }
        // What was cut is what is left of the image.
        with(&["-s20", "--overwrite"]).expect(0);
        let whole = fs::read(place.path(first)).unwrap();
        fs::write(place.path(first), &whole[..whole.len() - 4]).unwrap();
        with(&["-s20"]).expect(0);
        assert!(fs::read(place.path(first)).unwrap() == whole);
    }
    let single = |seed: &str| generate(&place, &["-pfox", "-oout/one.png", seed]).expect(0);
    single("-s1");
    let before = files(&place);
    single("-s2");
    assert!(files(&place)["one.png"] != before["one.png"]);
}

#[test]
fn a_folder_keeps_what_it_holds() {
    let place = Place::new();
    draw(&place, "fox\ncat\n", &["-oout"]).expect(0);
    let before = files(&place);
    draw(&place, "hen\nfox\ncat\n", &["-oout", "--overwrite"]).expect(0);
    let after = files(&place);
    assert!(before.iter().all(|(name, bytes)| after[name] == *bytes));
    assert_eq!(after.len(), 5);
}

#[test]
fn names_with_a_digest_follow_the_line_and_not_its_place() {
    let place = Place::new();
    let flags = ["-oout/fox-%h.png"];
    let first = draw(&place, "fox\ncat\ndog\n", &flags).expect(0);
    let names: Vec<&str> = first.stdout.lines().collect();
    for name in &names {
        let digits = name.strip_prefix("out/fox-").unwrap();
        let digits = digits.strip_suffix(".png").unwrap();
        assert_eq!(digits.len(), 12, "{name}");
        assert!(
            digits.bytes().all(|byte| byte.is_ascii_hexdigit()),
            "{name}"
        );
    }
    let before = files(&place);
    assert_eq!(before.len(), 3);
    let more = draw(&place, "hen\ndog\nfox\n# gone\ncat\n", &flags).expect(0);
    let more_names: Vec<&str> = more.stdout.lines().collect();
    assert_eq!(more_names[1..], [names[2], names[0], names[1]]);
    assert_eq!(more.stderr.matches("skipping ").count(), 3);
    let after = files(&place);
    assert!(before.iter().all(|(name, bytes)| after[name] == *bytes));
    assert_eq!(after.len(), 4);
    // Whatever makes another image gives another name.
    for other in ["--seed=1", "--steps=3", "-W32", "-nred", "--cfg-scale=2"] {
        draw(&place, "fox\n", &[flags[0], other]).expect(0);
    }
    assert_eq!(files(&place).len(), 9);
    // A batch has the seeds of each line.
    let batch = draw(&place, "fox\n", &[flags[0], "-b2"]).expect(0);
    assert!(batch.stdout.starts_with(names[0]), "{}", batch.stdout);
    assert_eq!(files(&place).len(), 9);
}

#[test]
fn equal_lines_have_seeds_of_their_own_and_the_same_image_is_made_once() {
    let place = Place::new();
    let flags = ["-oout/%h.png"];
    let run = draw(&place, "fox\ncat\nfox\n", &flags).expect(0);
    assert_eq!(place.written().len(), 3, "{}", run.stdout);
    let swapped = draw(&place, "cat\nfox\nfox\n", &flags).expect(0);
    assert_eq!(swapped.stderr.matches("skipping ").count(), 3);

    let place = Place::new();
    let lines = "{\"prompt\":\"fox\"}\n{\"prompt\":\"fox\",\"steps\":2}\n";
    fs::write(place.path("p.jsonl"), lines).unwrap();
    let run = generate(&place, &["--prompt-file=p.jsonl", flags[0]]).expect(0);
    let note = run.stderr.lines().find(|line| line.starts_with("note: "));
    let note = note.unwrap_or_else(|| panic!("{}", run.stderr));
    for part in ["p.jsonl:2", "p.jsonl:1", "made once"] {
        assert!(note.contains(part), "{note}");
    }
    assert_eq!(place.written().len(), 1);
    assert_eq!(run.stdout.lines().count(), 1);
}

#[test]
fn folders_that_are_not_there_are_made_once_there_is_something_to_put_in() {
    let place = Place::new();
    generate(&place, &["-pfox", "-onew/deep/x.png"]).expect(0);
    assert!(place.path("new/deep/x.png").is_file());
    let run = generate(&place, &["-pfox", "-s3", "-omade/", "--preview=1"]).expect(0);
    assert_eq!(run.stdout, "made/qwen-image-3.png\n");
    draw(&place, "fox\n", &["-oof/lines/%d.webp"]).expect(0);
    assert!(place.path("of/lines/1.webp").is_file());
    let line = "{\"prompt\":\"a\",\"output\":\"own/s.png\"}";
    fs::write(place.path("p.jsonl"), line).unwrap();
    generate(&place, &["--prompt-file=p.jsonl"]).expect(0);
    assert!(place.path("own/s.png").is_file());
    // Two spellings of one place.
    let lines = "{\"prompt\":\"a\",\"output\":\"late/s.png\"}\n\
        {\"prompt\":\"b\",\"output\":\"late/x/../s.png\"}";
    fs::write(place.path("q.jsonl"), lines).unwrap();
    let run = generate(&place, &["-q", "--prompt-file=q.jsonl"]);
    run.expect_error(2, &["q.jsonl:2", "q.jsonl:1", "late/"]);
    // Nothing is made by a run that is refused or writes nothing.
    generate(&place, &["-pfox", "-olate/x.png", "--dry-run"]).expect(0);
    generate(&place, &["-pfox", "-olate/x.png", "--vae=p.txt"]).expect(3);
    assert!(!place.path("late").exists());
    fs::write(place.path("file"), "").unwrap();
    for output in ["-ofile/x.png", "-ofile/deep/x.png"] {
        let run = generate(&place, &["-q", "-pfox", output]);
        run.expect_error(1, &["cannot write", "file"]);
    }
    generate(&place, &["-q", "-pfox", "-ofile/"]).expect_error(2, &["is a file"]);
}

#[cfg(unix)]
#[test]
fn devices_and_pipes_are_no_places_for_images() {
    use std::os::unix::fs::FileTypeExt;
    let place = Place::new();
    let pipe = place.path("pipe.png");
    let made = std::process::Command::new("mkfifo").arg(&pipe).status();
    assert!(made.unwrap().success());
    for output in ["/dev/null", "/dev/stdout", "pipe.png"] {
        let run = generate(&place, &["-q", "-pfox", "-o", output]);
        run.expect_error(2, &["--output", output, "name a file or a folder"]);
    }
    assert!(fs::metadata(&pipe).unwrap().file_type().is_fifo());
    let null = fs::metadata("/dev/null").unwrap().file_type();
    assert!(null.is_char_device());
    let line = "{\"prompt\":\"a\",\"output\":\"/dev/null\"}";
    fs::write(place.path("p.jsonl"), line).unwrap();
    let run = generate(&place, &["-q", "--prompt-file=p.jsonl"]);
    run.expect_error(2, &["p.jsonl:1", "/dev/null"]);
}

#[test]
fn after_resuming_images_are_counted_in_the_whole_file() {
    let place = Place::new();
    let flags = ["-oout/%d.png"];
    draw(&place, "fox\ncat\ndog\n", &flags).expect(0);
    let run = draw(&place, "fox\ncat\ndog\nhen\n", &flags).expect(0);
    assert!(
        run.stderr.contains("Denoising image 4 of 4"),
        "{}",
        run.stderr
    );
}
