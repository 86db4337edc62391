//! The refusals of `download`, and their messages.

use std::fs;

use crate::hub_user::{TRANSFORMER, User, published, transformer};
use crate::support::Run;

#[test]
fn more_than_the_disk_has_room_for_is_refused_before_anything_is_fetched() {
    let mut published = published();
    published.list(&transformer(), |listed| {
        listed["lfs"]["size"] = (1_u64 << 60).into();
    });
    let (user, server) = (User::new(), published.serve());
    let run = user.download(&server, &["-q"]);
    run.expect_error(1, &["free", "another disk"]);
    assert!(server.requests("/resolve/").is_empty());
    assert!(!user.models().exists());
}

#[test]
fn the_token_of_a_login_is_used_and_a_broken_one_refused() {
    let (user, server) = (User::new(), published().serve());
    fs::create_dir(user.path("hf")).unwrap();
    fs::write(user.path("hf/token"), "hf_of_login\n").unwrap();
    user.download(&server, &["--dry-run"]).expect(0);
    let asked = server.requests("/api/");
    assert_eq!(asked[0].authorization(), Some("Bearer hf_of_login"));

    let with = |token: &str| -> Run {
        let mut command = user.command(&server, &["-q", "--dry-run"]);
        command.env("HF_TOKEN", token).output().unwrap().into()
    };
    with("hf_of_variable").expect(0);
    let asked = server.requests("/api/");
    let last = asked.last().unwrap();
    assert_eq!(last.authorization(), Some("Bearer hf_of_variable"));
    with("two words").expect_error(2, &["HF_TOKEN"]);
}

#[test]
fn another_file_in_the_place_is_left_alone() {
    let (user, server) = (User::new(), published().serve());
    fs::create_dir_all(user.transformer().parent().unwrap()).unwrap();
    fs::write(user.transformer(), "mine").unwrap();
    let run = user.download(&server, &["-q"]);
    run.expect_error(3, &[TRANSFORMER, "4 bytes", "--models"]);
    assert_eq!(fs::read(user.transformer()).unwrap(), b"mine");
}

#[test]
fn a_dry_run_without_the_hub_tells_what_is_known() {
    let user = User::new();
    let dry_run = |variable: &str, value: &str, code: i32, part: &str| {
        let mut command = user.program();
        command.args(["download", "--dry-run"]).env(variable, value);
        let run = Run::from(command.output().unwrap()).expect(code);
        assert!(run.stderr.contains("without the Hub"), "{}", run.stderr);
        assert!(run.stderr.contains(part), "{}", run.stderr);
        run.stdout
    };
    // Nobody listens at port 1.
    let nobody = || dry_run("HF_ENDPOINT", "http://127.0.0.1:1", 1, "cannot be reached");
    let table = nobody();
    let line = |table: &str, name: &str| -> String {
        let line = table.lines().find(|line| line.contains(name));
        line.unwrap_or_else(|| panic!("no {name} in {table}"))
            .to_owned()
    };
    let transformer = line(&table, TRANSFORMER);
    assert!(
        transformer.contains("  19.03 GiB  to be downloaded from Comfy-Org/"),
        "{table}"
    );
    assert!(
        line(&table, "vocab.json").contains("size unknown"),
        "{table}"
    );
    assert_eq!(table.lines().count(), 7, "{table}");
    assert!(table.ends_with(" GiB or more to download\n"), "{table}");
    assert!(!user.models().exists());
    assert_eq!(
        dry_run("HF_HUB_OFFLINE", "1", 2, "HF_HUB_OFFLINE is set"),
        table
    );

    fs::create_dir_all(user.transformer().parent().unwrap()).unwrap();
    fs::write(user.transformer(), "mine").unwrap();
    assert!(line(&nobody(), TRANSFORMER).contains("  4 B  there already, not compared"));
    fs::remove_file(user.transformer()).unwrap();
    let partial = user
        .transformer()
        .with_file_name(format!("{TRANSFORMER}.0123456789ab.part"));
    fs::write(partial, "part").unwrap();
    assert!(line(&nobody(), TRANSFORMER).contains("4 B there, the rest to be downloaded"));
}

#[test]
fn what_cannot_be_used_is_one_line() {
    let user = User::new();
    let with = |variable: &str, value: &str, flags: &[&str]| -> Run {
        let mut command = user.program();
        command.args(["download", "-q"]).args(flags);
        command.env(variable, value).output().unwrap().into()
    };
    with("HF_ENDPOINT", "ftp://x", &[]).expect_error(2, &["HF_ENDPOINT", "ftp://x"]);
    with("HF_HUB_OFFLINE", "1", &[]).expect_error(2, &["HF_HUB_OFFLINE"]);
    with("HF_ENDPOINT", "http://127.0.0.1:1", &["--variant=q4"]).expect_error(2, &["--variant"]);
    // Nobody listens at port 1.
    with("HF_ENDPOINT", "http://127.0.0.1:1", &[]).expect_error(1, &["cannot be reached"]);
    let (server, mut command) = (published().serve(), user.program());
    command
        .args(["download", "-q"])
        .env("HF_ENDPOINT", server.url())
        .env("ALL_PROXY", "http://127.0.0.1:1");
    Run::from(command.output().unwrap()).expect_error(1, &["proxy"]);
    assert!(server.requests("/").is_empty());
}
