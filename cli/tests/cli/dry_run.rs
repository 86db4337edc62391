//! `generate --dry-run`, and `plan` with the flags of `generate`.

use std::fs;

use serde_json::Value;

use crate::plan::{plan, row};
use crate::support::{Place, Run, fixtures, program};

#[test]
fn a_dry_run_prints_the_plan_and_writes_nothing() {
    let place = Place::new();
    let run = place
        .generate(&[
            "--dry-run",
            "--report=out/r.json",
            "--trace=out/t.safetensors",
        ])
        .expect(0);
    assert!(
        run.stdout.contains("Image: 48x32, 6 image and"),
        "{}",
        run.stdout
    );
    assert!(
        row(&run.stdout, "denoise").contains(" 77 "),
        "{}",
        run.stdout
    );
    assert!(!run.stderr.contains("Loading"), "{}", run.stderr);
    assert_eq!(place.written(), [""; 0]);
    // The plan of the same flags.
    let models = place.path("models");
    let models = models.to_str().unwrap();
    let flags = [
        "-pa red fox",
        "-W48",
        "-H32",
        "--steps=2",
        "--backend=flex",
        "--models",
        models,
    ];
    let plan = plan(&flags).expect(0);
    for phase in ["encode", "denoise", "decode"] {
        assert_eq!(row(&run.stdout, phase), row(&plan.stdout, phase));
    }
}

#[test]
fn the_plan_is_that_of_generate_with_the_same_flags() {
    let place = Place::new();
    fs::write(
        place.path("p.jsonl"),
        "{\"prompt\": \"a\", \"width\": 160}\n{\"prompt\": \"b\", \"height\": 96}\n",
    )
    .unwrap();
    let scene = fixtures().join("../../demo/gallery/sun.png");
    let scene = scene.to_str().unwrap();
    let run = |command: &str, flags: &[&str]| -> Run {
        let mut program = program();
        program
            .current_dir(place.path("."))
            .args([command, "--models=models", "--backend=flex", "-W48", "-H32"])
            .args(flags);
        let mut run = Run::from(program.output().unwrap());
        // What is free is another figure each time.
        let lines = run.stdout.lines();
        let lines = lines.filter(|line| !line.starts_with("Host memory: "));
        run.stdout = lines.map(|line| line.to_owned() + "\n").collect();
        run
    };
    let table = |flags: &[&str]| {
        let plan = run("plan", flags).expect(0);
        let dry_run = run("generate", &[flags, &["--dry-run"]].concat()).expect(0);
        assert_eq!(plan.stdout, dry_run.stdout, "{flags:?}");
        assert_eq!(plan.stderr, dry_run.stderr, "{flags:?}");
        plan.stdout
    };
    let text_alone = table(&["a fox", "--cfg-scale=1", "--steps=4"]);
    let guided = table(&["a fox", "-n", &"blurry ".repeat(99)]);
    assert_ne!(row(&text_alone, "denoise"), row(&guided, "denoise"));
    let lines = table(&["--prompt-file=p.jsonl", "-o", "out/x-%d.png"]);
    assert!(lines.contains("Image: 160x32"), "{lines}");
    let image = table(&["a fox", "--init-image", scene, "--strength=0.5"]);
    assert!(row(&image, "encode_image").contains("VAE"), "{image}");
    // What changes nothing about memory is taken all the same.
    let same = table(&["a fox", "--cfg-scale=1", "--steps=4", "--sampler=dpmpp2m"]);
    assert_eq!(same, text_alone);
    table(&[
        "a fox",
        "-o=out/y.jpg",
        "--quality=80",
        "--preview=1",
        "--seed=5",
        "--report=out/r.json",
        "--no-prompt-cache",
    ]);
    place.generate(&[]).expect(0);
    table(&["--from=out/x.png"]);
    assert_eq!(place.written(), ["x.png"]);
}

#[test]
fn a_plan_leaves_out_what_is_there_already() {
    let place = Place::new();
    place.generate(&["-oout/x-1.png"]).expect(0);
    let run = |flags: &[&str]| -> Run {
        let mut command = place.command();
        command.args(["--dry-run", "--resume", "-oout/x-%d.png"]);
        let args: Vec<_> = command.get_args().map(ToOwned::to_owned).collect();
        let mut plan = program();
        plan.current_dir(place.path("."));
        plan.arg("plan").args(&args[1..]).args(flags);
        plan.output().unwrap().into()
    };
    let done = run(&["--json"]).expect(0);
    assert_eq!(done.stdout, "null\n");
    assert!(done.stderr.contains("nothing is left"), "{}", done.stderr);
    let one = run(&["--json", "-b2"]).expect(0);
    let json: Value = serde_json::from_str(&one.stdout).unwrap();
    assert_eq!(json["work"]["images"], 1);
}

#[test]
fn an_encoder_on_the_processor_changes_nothing_where_all_is_there() {
    let place = Place::new();
    place.generate(&[]).expect(0);
    let image = fs::read(place.path("out/x.png")).unwrap();
    let run = place.generate(&["--text-encoder-on-cpu"]).expect(0);
    assert!(run.stderr.contains("has no effect"), "{}", run.stderr);
    assert_eq!(fs::read(place.path("out/x.png")).unwrap(), image);
    // There is no memory of a device to tell about.
    assert!(!run.stderr.contains("VRAM"), "{}", run.stderr);
}
