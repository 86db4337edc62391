//! Files of the published size through the reader, within little memory.
#![cfg(target_os = "linux")]

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use memmap2::Mmap;
use serde_json::Value;
use tempfile::TempDir;

use crate::support::{Place, Run, program, started_by};

const TENSORS: u64 = 1933;
const BYTES: u64 = 20_430_401_088;
const MIB: u64 = 1 << 20;

/// The published transformer, all holes.
pub(crate) fn sparse_transformer(folder: &TempDir) -> PathBuf {
    let path = sparse(folder, "--only=transformer");
    assert!(path.metadata().unwrap().len() > BYTES);
    path
}

/// One of the published models, all holes.
fn sparse(folder: &TempDir, only: &str) -> PathBuf {
    let run: Run = program()
        .args(["make-fixture", "--sparse", only, "--quiet"])
        .arg("--real-shapes")
        .arg(folder.path())
        .output()
        .unwrap()
        .into();
    PathBuf::from(run.expect(0).stdout.lines().next().unwrap())
}

/// Bytes of a file that are in the page cache.
fn cached(path: &Path) -> u64 {
    const PAGE: usize = 4096;
    // SAFETY: nobody writes to the file meanwhile.
    let mapping = unsafe { Mmap::map(&File::open(path).unwrap()) }.unwrap();
    let mut pages = vec![0u8; mapping.len().div_ceil(PAGE)];
    // SAFETY: the list has a byte for each page of the mapping.
    let answer = unsafe {
        libc::mincore(
            mapping.as_ptr().cast_mut().cast(),
            mapping.len(),
            pages.as_mut_ptr(),
        )
    };
    assert_eq!(answer, 0);
    pages.iter().filter(|&page| page & 1 == 1).count() as u64 * PAGE as u64
}

fn read_figures(run: Run) -> Value {
    let text = run.expect(0).stdout;
    let inspection: Value = serde_json::from_str(&text).unwrap();
    inspection["checkpoints"][0]["read"].clone()
}

#[test]
fn twenty_gigabytes_leave_memory_and_page_cache_as_they_are() {
    let folder = tempfile::tempdir().unwrap();
    let path = sparse_transformer(&folder);
    let mut command = program();
    command.args(["inspect", "--read", "--json"]).arg(&path);
    let figures = read_figures(command.output().unwrap().into());
    assert_eq!(figures["tensors"], TENSORS);
    assert_eq!(figures["bytes"], BYTES);
    let peak = figures["peak_anonymous_bytes"].as_u64().unwrap();
    assert!(peak < 256 * MIB, "{peak} bytes of anonymous memory");
    let cached = cached(&path);
    if figures["method"] == "direct" {
        assert!(cached < 256 * MIB, "{cached} bytes in the page cache");
    } else {
        eprintln!("not looked at: the page cache, since this file system grants no direct reads");
    }
}

/// `inspect --read` with at most so many KiB of data in memory (RLIMIT_DATA).
fn read_within(kib: u64, path: &Path) -> Run {
    let mut reading = program();
    reading.args(["inspect", "--read", "--json"]).arg(path);
    let script = format!("ulimit -d {kib} && exec \"$@\"");
    let mut limited = started_by("sh", &["-c", &script, "sh"], &reading);
    limited.output().unwrap().into()
}

#[test]
fn a_hard_limit_of_512_mib_is_enough() {
    let folder = tempfile::tempdir().unwrap();
    let path = sparse_transformer(&folder);
    let figures = read_figures(read_within(512 << 10, &path));
    assert_eq!(figures["bytes"], BYTES);
    // The limit is one: below the ring's size there is no reading, and a clear refusal.
    let refused = read_within(48 << 10, &path).expect(4);
    assert!(
        refused.stderr.contains("out of memory"),
        "{}",
        refused.stderr
    );
}

#[test]
fn a_file_is_read_into_a_device() {
    let place = Place::new();
    let read = |more: &[&str]| -> Run {
        let mut command = program();
        command.arg("inspect").arg(place.transformer()).args(more);
        command.output().unwrap().into()
    };
    let text = read(&["--read", "--backend=flex"]).expect(0).stdout;
    assert!(text.contains("77 tensors"), "{text}");
    assert!(text.contains("GB/s"), "{text}");
    read(&["--backend=flex"]).expect(2);
    let missing = read(&["--read", "--backend=rocm"]).expect(5);
    assert!(missing.stderr.contains("rocm"), "{}", missing.stderr);
}

#[test]
fn without_mapping_the_image_is_the_same() {
    let place = Place::new();
    let image = |more: &[&str]| {
        place.generate(more).expect(0);
        std::fs::read(place.path("out/x.png")).unwrap()
    };
    let mapped = image(&[]);
    let read = image(&["--no-mmap", "--report", "out/r.json"]);
    assert!(mapped == read, "another image");
    let report = std::fs::read_to_string(place.path("out/r.json")).unwrap();
    let report: Value = serde_json::from_str(&report).unwrap();
    let load = &report["phases"][2];
    // Of the 77 tensors four are read later: those that only modulations are computed with.
    assert_eq!(
        (&load["mapped_bytes"], &load["tensors"]),
        (&0.into(), &73.into())
    );
    assert_ne!(load["method"], "mapped");
}

#[test]
fn a_device_without_room_for_a_model_is_left_as_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let models = folder.path().join("models");
    let mut command = program();
    command.args(["make-fixture", "--sparse", "--quiet", "--real-shapes"]);
    Run::from(command.arg(&models).output().unwrap()).expect(0);
    let mut generate = program();
    generate
        .args([
            "generate",
            "--prompt=x",
            "--no-mmap",
            "--backend=flex",
            "--models",
        ])
        .arg(&models)
        .args(["--output", "x.png"])
        .current_dir(folder.path());
    // Room for the program, and not for nine gigabytes of text encoder in memory.
    let script = "ulimit -d 2000000 && exec \"$@\"";
    let mut limited = started_by("sh", &["-c", script, "sh"], &generate);
    let refused = Run::from(limited.output().unwrap()).expect(4);
    let error = refused.stderr.lines().last().unwrap();
    assert!(
        error.starts_with("error: ") && error.contains("out of memory"),
        "{error}"
    );
    assert!(error.contains("qwen_2.5_vl_7b_fp8_scaled"), "{error}");
    assert!(!folder.path().join("x.png").exists());
}

#[test]
fn two_processes_at_once() {
    let folder = tempfile::tempdir().unwrap();
    // The text encoder is half as large as the transformer, and takes half the time.
    let path = sparse(&folder, "--only=text-encoder");
    let start = || {
        let mut command = program();
        command.args(["inspect", "--read", "--json"]).arg(&path);
        command.stdout(Stdio::piped()).stderr(Stdio::null());
        command.spawn().unwrap()
    };
    for child in [start(), start()] {
        let figures = read_figures(child.wait_with_output().unwrap().into());
        let bytes = figures["bytes"].as_u64().unwrap();
        assert!(bytes > 7 << 30, "{bytes}");
    }
}

#[test]
fn a_layered_file_system() {
    let place = Place::new();
    for name in ["upper", "work", "layered"] {
        std::fs::create_dir(place.path(name)).unwrap();
    }
    let mut reading = program();
    reading
        .args(["inspect", "--read", "--json"])
        .arg("layered/diffusion_models/qwen_image_small_fp8_e4m3fn.safetensors")
        .current_dir(place.path(""));
    let script = "mount -t overlay overlay -o lowerdir=models,upperdir=upper,workdir=work layered \
                  || exit 77; exec \"$@\"";
    let mut mounted = started_by("unshare", &["-rm", "sh", "-c", script, "sh"], &reading);
    match mounted.output() {
        Ok(output) if output.status.code() == Some(0) => {
            assert_eq!(read_figures(output.into())["tensors"], 77);
        }
        Ok(output) if !matches!(output.status.code(), Some(1 | 77)) => {
            panic!("{}", String::from_utf8_lossy(&output.stderr));
        }
        _ => eprintln!("skipped: no overlay file system may be mounted here"),
    }
}
