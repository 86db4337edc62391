//! Model files that change while they are used from their mappings.

use std::fs::{self, OpenOptions};
use std::io::{Seek, SeekFrom, Write};
use std::path::Path;

use crate::hold::Held;
use crate::support::Place;

#[test]
fn a_mapped_file_that_is_cut_off_ends_the_program_with_a_word() {
    let place = Place::new();
    let cut_off = |path: &Path| {
        let file = OpenOptions::new().write(true).open(path);
        file.unwrap().set_len(0).unwrap();
    };
    let (code, last) = disturbed(&place, &[], cut_off);
    assert_eq!(code, 3, "{last}");
    assert!(
        last.starts_with("error: ") && last.contains("was cut off while in use"),
        "{last}"
    );
    assert!(last.contains("qwen_image_small_fp8_e4m3fn"), "{last}");
    assert_eq!(place.written(), [""; 0]);
}

/// Runs `generate`, does something to the transformer's file after the first of two steps, and says
/// how that ended: the exit code and the last line.
fn disturbed(place: &Place, more: &[&str], disturb: impl FnOnce(&Path)) -> (i32, String) {
    let mut generate = place.command();
    generate.arg("--output=out/x.png").args(more);
    let held = Held::at("step", 1, &generate);
    disturb(&place.transformer());
    let ended = held.release();
    let last = ended.stderr.lines().last().unwrap();
    (ended.code.unwrap(), last.to_owned())
}

/// Writes zeros over the end of a file.
fn overwrite(path: &Path) {
    let mut file = OpenOptions::new().write(true).open(path).unwrap();
    file.seek(SeekFrom::End(-4096)).unwrap();
    file.write_all(&[0; 4096]).unwrap();
}

#[test]
fn a_mapped_file_that_is_written_to_gives_no_image() {
    let place = Place::new();
    let (code, last) = disturbed(&place, &[], overwrite);
    assert_eq!(code, 3, "{last}");
    assert!(last.starts_with("error: "), "{last}");
    for part in ["qwen_image_small_fp8_e4m3fn", "while it was in use"] {
        assert!(last.contains(part), "no `{part}` in {last}");
    }
    assert_eq!(place.written(), [""; 0]);
    // Without a mapping the weights are no longer the file's.
    let place = Place::new();
    let (code, last) = disturbed(&place, &["--no-mmap"], overwrite);
    assert_eq!(code, 0, "{last}");
}

#[test]
fn a_mapped_file_that_is_replaced_or_unlinked_is_still_there() {
    let place = Place::new();
    let (code, last) = disturbed(&place, &[], |_| {});
    assert_eq!(code, 0, "{last}");
    let expected = fs::read(place.path("out/x.png")).unwrap();
    let replace = |path: &Path| {
        let other = place.path("other");
        fs::write(&other, [0; 4096]).unwrap();
        fs::rename(&other, path).unwrap();
    };
    let unlink = |path: &Path| fs::remove_file(path).unwrap();
    let original = fs::read(place.transformer()).unwrap();
    for disturb in [&replace as &dyn Fn(&Path), &unlink] {
        fs::write(place.transformer(), &original).unwrap();
        let (code, last) = disturbed(&place, &[], disturb);
        assert_eq!(code, 0, "{last}");
        assert!(fs::read(place.path("out/x.png")).unwrap() == expected);
    }
}
