//! `--prompt-file` and `--resume`.

use std::fs;
use std::io::Write;
use std::process::{Command, Stdio};
use std::time::SystemTime;

use serde_json::Value;

use crate::support::{Place, Run, program};

/// `generate` of 16x16 images in two steps, without a prompt.
pub(crate) fn command(place: &Place, more: &[&str]) -> Command {
    let mut command = program();
    command
        .current_dir(place.path(""))
        .args([
            "generate",
            "--models=models",
            "--backend=flex",
            "-W16",
            "-H16",
            "--steps=2",
        ])
        .args(more);
    command
}

fn generate(place: &Place, more: &[&str]) -> Run {
    command(place, more).output().unwrap().into()
}

fn modified(place: &Place, name: &str) -> SystemTime {
    let metadata = fs::metadata(place.path("out").join(name)).unwrap();
    metadata.modified().unwrap()
}

fn count(run: &Run, start: &str) -> usize {
    run.stderr
        .lines()
        .filter(|line| line.starts_with(start))
        .count()
}

#[test]
fn each_line_is_a_image_and_each_model_is_loaded_once() {
    let place = Place::new();
    let text = "\u{feff}a fox\r\n\r\n# no prompt\r\n一只猫 🦊\r\na fox\r\n";
    fs::write(place.path("animals.txt"), text).unwrap();
    let flags = ["--prompt-file=animals.txt", "-oout", "--report=r.json"];
    let run = generate(&place, &flags).expect(0);
    assert_eq!(
        run.stdout,
        "out/animals-1.png\nout/animals-2.png\nout/animals-3.png\n"
    );
    assert_eq!(count(&run, "Loaded "), 3, "{}", run.stderr);
    let report = fs::read_to_string(place.path("r.json")).unwrap();
    let report: Value = serde_json::from_str(&report).unwrap();
    let seeds: Vec<_> = report["images"]
        .as_array()
        .unwrap()
        .iter()
        .map(|image| &image["seed"])
        .collect();
    assert_eq!(seeds, [0, 1, 2]);
    // Each is the image that its prompt and seed give alone.
    generate(&place, &["-p一只猫 🦊", "-s1", "-oout/alone.png"]).expect(0);
    assert_eq!(
        fs::read(place.path("out/alone.png")).unwrap(),
        fs::read(place.path("out/animals-2.png")).unwrap()
    );
}

#[test]
fn json_lines_differ_from_the_flags_where_they_say_so() {
    let place = Place::new();
    let lines = "{\"prompt\": \"fox\", \"width\": 48, \"height\": 32, \"seed\": 9, \
        \"negative_prompt\": \"blurry\", \"cfg_scale\": 2.5, \"output\": \"a fox.jpg\"}\n\
        {\"prompt\": \"cat\", \"steps\": 3}\n";
    fs::write(place.path("p.jsonl"), lines).unwrap();
    let run = generate(
        &place,
        &["--prompt-file=p.jsonl", "-oout", "--seed=5", "-b2"],
    )
    .expect(0);
    assert_eq!(
        run.stdout,
        "out/a fox-1.jpg\nout/a fox-2.jpg\nout/p-3.png\nout/p-4.png\n"
    );
    place
        .generate(&[
            "-pfox",
            "-nblurry",
            "--cfg-scale=2.5",
            "-s10",
            "-oout/x.jpg",
        ])
        .expect(0);
    assert_eq!(
        fs::read(place.path("out/x.jpg")).unwrap(),
        fs::read(place.path("out/a fox-2.jpg")).unwrap()
    );
    generate(&place, &["-pcat", "--steps=3", "-s8", "-oout/x.png"]).expect(0);
    assert_eq!(
        fs::read(place.path("out/x.png")).unwrap(),
        fs::read(place.path("out/p-4.png")).unwrap()
    );
}

#[test]
fn standard_input_has_prompts_or_objects() {
    let place = Place::new();
    for (input, output) in [
        ("fox\ncat", "out/a%02d.png"),
        (
            "\n{\"prompt\": \"fox\"}\n{\"prompt\": \"cat\"}\n",
            "out/b%02d.png",
        ),
        (
            "\u{feff}{\"prompt\": \"fox\"}\r{\"prompt\": \"cat\"}\r",
            "out/c%02d.png",
        ),
        (
            "[\n{\"prompt\": \"fox\"},\n{\"prompt\": \"cat\"}\n]\n",
            "out/d%02d.png",
        ),
    ] {
        let mut command = command(&place, &["--prompt-file=-", "-o", output]);
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdin = child.stdin.take().unwrap();
        stdin.write_all(input.as_bytes()).unwrap();
        drop(stdin);
        let run = Run::from(child.wait_with_output().unwrap()).expect(0);
        let names = ["01", "02"].map(|number| output.replace("%02d", number) + "\n");
        assert_eq!(run.stdout, names.concat());
    }
    for number in ["01", "02"] {
        let read = |name: &str| fs::read(place.path(&format!("out/{name}{number}.png"))).unwrap();
        for other in ["b", "c", "d"] {
            assert_eq!(read("a"), read(other), "{other}");
        }
    }
}

#[test]
fn a_run_is_continued_where_it_ended() {
    let place = Place::new();
    fs::write(place.path("p.txt"), "fox\ncat\ndog\n").unwrap();
    let flags = ["--prompt-file=p.txt", "-oout/%d.png", "--report=r.json"];
    let first = generate(&place, &flags).expect(0);
    let before = modified(&place, "1.png");

    // All are there: nothing is loaded, and the results are told.
    let again = generate(&place, &flags).expect(0);
    assert_eq!(again.stdout, first.stdout);
    assert_eq!(count(&again, "skipping "), 3, "{}", again.stderr);
    assert_eq!(count(&again, "Loaded "), 0, "{}", again.stderr);
    let report: Value =
        serde_json::from_str(&fs::read_to_string(place.path("r.json")).unwrap()).unwrap();
    assert_eq!(report["images"][2]["skipped"], true);
    assert_eq!(
        (&report["width"], &report["steps"]),
        (&16.into(), &2.into())
    );

    // One is missing, one is cut: these two are made, the order is the file's.
    fs::remove_file(place.path("out/2.png")).unwrap();
    let whole = fs::read(place.path("out/3.png")).unwrap();
    fs::write(place.path("out/3.png"), &whole[..whole.len() - 9]).unwrap();
    let rest = generate(&place, &flags).expect(0);
    assert_eq!(rest.stdout, first.stdout);
    assert!(
        rest.stderr.contains("skipping out/1.png: already made"),
        "{}",
        rest.stderr
    );
    assert_eq!(count(&rest, "skipping "), 1);
    assert_eq!(modified(&place, "1.png"), before);

    // Other prompts, sizes or seeds are other images.
    fs::write(place.path("p.txt"), "fox\nhen\ndog\n").unwrap();
    let flags = [&flags[..], &["--overwrite"]].concat();
    let changed = generate(&place, &flags).expect(0);
    assert_eq!(count(&changed, "skipping "), 2, "{}", changed.stderr);
    let seeded = generate(&place, &[&flags[..], &["--seed=4"]].concat()).expect(0);
    assert_eq!(count(&seeded, "skipping "), 0, "{}", seeded.stderr);
}

#[test]
fn default_names_do_not_overwrite_and_are_still_continued() {
    let place = Place::new();
    fs::write(place.path("out/p-1.png"), "somebody's").unwrap();
    fs::write(place.path("p.txt"), "fox\n").unwrap();
    let flags = ["--prompt-file=p.txt", "-oout"];
    let run = generate(&place, &flags).expect(0);
    assert_eq!(run.stdout, "out/p-1-2.png\n");
    let again = generate(&place, &flags).expect(0);
    assert_eq!(again.stdout, "out/p-1-2.png\n");
    assert_eq!(count(&again, "skipping "), 1, "{}", again.stderr);
    assert_eq!(fs::read(place.path("out/p-1.png")).unwrap(), b"somebody's");
}

#[test]
fn a_single_prompt_resumes_when_asked_to() {
    let place = Place::new();
    let flags = ["-b2", "--resume"];
    place.generate(&flags).expect(0);
    fs::remove_file(place.path("out/x-2.png")).unwrap();
    let run = place.generate(&flags).expect(0);
    assert_eq!(run.stdout, "out/x-1.png\nout/x-2.png\n");
    assert_eq!(count(&run, "skipping "), 1, "{}", run.stderr);
    let run = place.generate(&["-b2"]).expect(0);
    assert_eq!(count(&run, "skipping "), 0, "{}", run.stderr);
}

#[test]
fn what_is_wrong_with_a_file_is_told_before_anything_loads() {
    let place = Place::new();
    let long = "x\n".repeat(100_001);
    let jpeg = format!(
        "{{\"prompt\": \"{}\", \"output\": \"x.jpg\"}}",
        "x".repeat(40_000)
    );
    for (name, content, parts) in [
        ("a.txt", &b"# nothing\n\n"[..], &["a.txt", "no prompt"][..]),
        ("b.txt", b"", &["b.txt", "no prompt"]),
        ("c.txt", b"fox\n\xff\n", &["c.txt:2: ", "UTF-8"]),
        ("d.txt", b"\xff\xfef", &["d.txt", "UTF-16"]),
        ("e.txt", long.as_bytes(), &["e.txt", "100000"]),
        (
            "f.jsonl",
            b"{\"prompt\": \"a\"}\n{\"promt\": \"b\"}",
            &["f.jsonl:2: ", "promt"],
        ),
        (
            "g.jsonl",
            b"{\"prompt\": \"a\", \"steps\": 1}",
            &["g.jsonl:1: ", "steps"],
        ),
        ("h.jsonl", b"fox", &["h.jsonl:1: ", "JSON"]),
        (
            "i.jsonl",
            b"{\"prompt\":\"a\",\"output\":\"s.png\"}\n\n{\"prompt\":\"b\",\"output\":\"s.png\"}",
            &["i.jsonl:3: ", "i.jsonl:1;", "s.png"],
        ),
        (
            "j.jsonl",
            b"{\"prompt\":\"a\",\"output\":\"s.gif\"}",
            &["j.jsonl:1: ", ".webp"],
        ),
        ("k.jsonl", jpeg.as_bytes(), &["k.jsonl:1: ", "JPEG"]),
        ("l.txt", b"a\0b", &["l.txt:1: ", "NUL"]),
    ] {
        fs::write(place.path(name), content).unwrap();
        let flag = format!("--prompt-file={name}");
        generate(&place, &["-q", &flag, "-oout"]).expect_error(2, parts);
    }
    generate(&place, &["-q", "--prompt-file=none.txt"]).expect_error(3, &["none.txt", "no such"]);
    // Forms that nobody means as prompts, and what is named instead.
    for (name, content, part) in [
        ("lines.json.txt", "{\"prompt\": \"a\"}\n", "JSON"),
        ("p.csv", "prompt,seed\na,1\n", "CSV"),
        ("p.MD", "- a\n", "Markdown"),
        ("p.yaml", "- prompt: a\n", "YAML"),
    ] {
        fs::write(place.path(name), content).unwrap();
        let flag = format!("--prompt-file={name}");
        let run = generate(&place, &["-q", &flag, "-oout"]);
        run.expect_error(2, &[name, part, ".jsonl (a JSON object on each line)"]);
    }
    let lines = "{\"prompt\":\"a\",\"output\":\"a.txt/s.png\"}";
    fs::write(place.path("m.jsonl"), lines).unwrap();
    let run = generate(&place, &["-q", "--prompt-file=m.jsonl"]);
    run.expect_error(1, &["a.txt/s.png"]);
    assert_eq!(place.written(), [""; 0]);
}

#[test]
fn all_wrong_lines_are_told_at_once() {
    let place = Place::new();
    let long = format!(
        "{{\"prompt\":\"{}\",\"output\":\"x.jpg\"}}\n",
        "x".repeat(40_000)
    );
    let wrong = "{\"promt\":\"a\"}\n{\"prompt\":\"a\",\"output\":\"s.gif\"}\nfox\n";
    // What the file itself shows, and what shows only with the models' headers.
    for (lines, starts) in [
        (
            wrong.to_owned(),
            &["p.jsonl:1: ", "p.jsonl:2: ", "p.jsonl:3: "][..],
        ),
        (
            format!("{long}{{\"prompt\":\"a\"}}\n{long}").replacen("x.jpg", "y.jpg", 1),
            &["p.jsonl:1: ", "p.jsonl:3: "],
        ),
        (wrong.repeat(20), &["p.jsonl:1: "; 1]),
    ] {
        fs::write(place.path("p.jsonl"), &lines).unwrap();
        let run = generate(&place, &["-q", "--prompt-file=p.jsonl", "-oout"]).expect(2);
        let said: Vec<&str> = run.stderr.lines().collect();
        assert!(said[0].starts_with("error: "), "{}", run.stderr);
        for (said, start) in said[1..].iter().zip(starts) {
            assert!(said.starts_with(start), "{said}");
        }
        if starts.len() == 1 {
            assert_eq!((said.len(), said[21]), (22, "and 40 more"));
        } else {
            assert_eq!(said.len(), 1 + starts.len(), "{}", run.stderr);
        }
    }
    assert_eq!(place.written(), [""; 0]);
}

#[test]
fn a_dry_run_plans_for_the_largest_image() {
    let place = Place::new();
    let lines = "{\"prompt\":\"a\"}\n{\"prompt\":\"b\",\"width\":96}\n";
    fs::write(place.path("p.jsonl"), lines).unwrap();
    let run = generate(&place, &["--prompt-file=p.jsonl", "--dry-run"]).expect(0);
    assert!(run.stdout.contains("Image: 96x16"), "{}", run.stdout);
    assert!(run.stdout.contains("Images: 2"), "{}", run.stdout);
}

#[cfg(unix)]
#[test]
fn images_that_are_made_survive_ctrl_c_and_the_next_run_continues() {
    let place = Place::new();
    let lines = "{\"prompt\":\"a\"}\n\
        {\"prompt\":\"b\",\"width\":64,\"steps\":3}\n{\"prompt\":\"c\"}\n";
    fs::write(place.path("p.jsonl"), lines).unwrap();
    let flags = ["--prompt-file=p.jsonl", "-oout/%d.png"];
    // The first step of the second image.
    let mut held = crate::hold::Held::at("step", 3, &command(&place, &flags));
    assert_eq!(place.written(), ["1.png"]);
    held.interrupt();
    let ended = held.release();
    assert_eq!(ended.code, Some(130), "{}", ended.stderr);
    assert_eq!(ended.stdout, "out/1.png\n");
    assert_eq!(place.written(), ["1.png"]);
    let run = generate(&place, &flags).expect(0);
    assert_eq!(run.stdout, "out/1.png\nout/2.png\nout/3.png\n");
    assert_eq!(count(&run, "skipping "), 1, "{}", run.stderr);
}
