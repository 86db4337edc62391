//! The output on a terminal.

use std::fs::File;
use std::io::Read;
use std::os::fd::{FromRawFd, OwnedFd};
use std::process::{Command, Stdio};

use crate::support::Place;

/// The output of a command that succeeds, on a terminal of so many columns.
pub(crate) fn shown(mut command: Command, columns: u16, variables: &[(&str, &str)]) -> String {
    let size = libc::winsize {
        ws_row: 24,
        ws_col: columns,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    let (mut ours, mut theirs) = (0, 0);
    // SAFETY: the two descriptors outlive the call, and the other arguments may be null.
    let opened = unsafe {
        libc::openpty(
            &mut ours,
            &mut theirs,
            std::ptr::null_mut(),
            std::ptr::null_mut(),
            &raw const size as *mut _,
        )
    };
    assert_eq!(opened, 0);
    // SAFETY: both were just opened, and belong to nobody else.
    let (mut ours, theirs) = unsafe { (File::from_raw_fd(ours), OwnedFd::from_raw_fd(theirs)) };
    for variable in [
        "TERM_PROGRAM",
        "LC_TERMINAL",
        "COLORTERM",
        "KITTY_WINDOW_ID",
        "TMUX",
        "STY",
    ] {
        command.env_remove(variable);
    }
    command
        .envs(variables.iter().copied())
        .stdout(Stdio::null())
        .stderr(theirs);
    let mut child = command.spawn().unwrap();
    // Ours would be a second end that keeps the terminal open.
    drop(command);
    let mut shown = Vec::new();
    // A terminal whose other end is closed is an error on some systems.
    let _ = ours.read_to_end(&mut shown);
    assert!(child.wait().unwrap().success());
    String::from_utf8_lossy(&shown).into_owned()
}

/// The lines that were on the terminal one after the other, without escape sequences.
fn lines(shown: &str) -> Vec<String> {
    let mut text = String::new();
    let mut rest = shown;
    while let Some((before, escape)) = rest.split_once("\x1b[") {
        text.push_str(before);
        let end = escape.find(|c: char| c.is_ascii_alphabetic());
        rest = end.map_or("", |end| &escape[end + 1..]);
        // Whatever the sequence does, it begins another text.
        text.push('\n');
    }
    text.push_str(rest);
    let lines = text.split(['\r', '\n']).map(str::trim_end);
    lines
        .filter(|line| !line.is_empty())
        .map(str::to_owned)
        .collect()
}

/// `generate` of three images.
fn batch(place: &Place) -> Command {
    let mut command = place.command();
    command.args(["-b3", "--output=out/x.png"]);
    command
}

#[test]
fn bars_fit_into_a_narrow_terminal_and_tell_the_whole_runs_time() {
    let place = Place::new();
    for columns in [120, 80, 40] {
        let shown = shown(batch(&place), columns, &[("TERM", "xterm")]);
        let lines = lines(&shown);
        let bars: Vec<&String> = lines
            .iter()
            .filter(|line| line.starts_with("Denoising") || line.starts_with("Loading"))
            .collect();
        assert!(bars.iter().any(|line| line.contains("/2")), "{shown:?}");
        for line in &bars {
            assert!(
                line.chars().count() < usize::from(columns),
                "{columns}: {line}"
            );
        }
        // Before the second image, all of the first one's time is known.
        let told = bars
            .iter()
            .any(|line| line.contains("2 of 3") && line.contains(" all 0:"));
        assert!(told, "{columns}: {bars:?}");
    }
}

#[test]
fn a_dumb_terminal_has_plain_lines() {
    let place = Place::new();
    let shown = shown(batch(&place), 80, &[("TERM", "dumb")]);
    assert!(!shown.contains('\x1b'), "{shown:?}");
    assert!(!shown.replace("\r\n", "").contains('\r'), "{shown:?}");
    for part in ["Denoising image 1 of 3", "Denoising image 3 of 3 2/2"] {
        assert!(shown.contains(part), "{shown}");
    }
}
