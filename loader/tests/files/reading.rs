//! Weights that are read instead of mapped, and what may happen to a file meanwhile.

use std::fs::{self, OpenOptions};
use std::path::{Path, PathBuf};

use backends::NullSink;
use backends::parameters::UnfilledModule;
use backends::weight::Weight;
use burn::module::Module;
use burn::tensor::backend::Backend;
use burn_flex::{Flex, FlexDevice};
use loader::{
    Component, ElementType, LoadError, LoadMethod, LoadObserver, LoadReport, ReadMethod, Weights,
    load_by, read_through,
};
use serde_json::json;
use tempfile::{TempDir, tempdir};

use crate::modules::{Linear, Names, Norm, values};
use crate::writer::{Writer, write};

/// A parameter of each kind.
#[derive(Module, Debug)]
struct Kinds<B: Backend> {
    txt_norm: Norm<B>,
    img_in: Linear<B>,
    txt_in: Linear<B>,
}

fn kinds(weights: &Weights, rows: usize, columns: usize) -> UnfilledModule<Kinds<Flex>> {
    let names = Names::default();
    let linear = |name: &str| {
        let format = weights.format(&format!("{name}.weight"));
        names.linear(name, [rows, columns], format)
    };
    let module = Kinds {
        txt_norm: names.norm("txt_norm", 4),
        img_in: linear("img_in"),
        txt_in: linear("txt_in"),
    };
    names.of(module)
}

fn load_kinds(
    weights: &Weights,
    method: LoadMethod,
    observer: &mut dyn LoadObserver,
) -> Result<(Kinds<Flex>, LoadReport), LoadError> {
    let shape = weights.shape("img_in.weight").unwrap();
    let module = kinds(weights, shape[0], shape[1]);
    load_by(method, module, weights, &FlexDevice, observer)
}

/// The bytes of a weight, as the module has them.
fn bytes(weight: &Weight<Flex>) -> Vec<u8> {
    match weight {
        Weight::Packed(weight) => weight.bytes.val().into_data().to_vec::<u8>().unwrap(),
        Weight::Dense(weight) => weight.val().into_data().as_bytes().to_vec(),
    }
}

/// An FP8 and a BF16 weight `[60, 100]`, and a norm.
fn small() -> Writer {
    let codes: Vec<u8> = (0..6000u32).map(|i| (i * 31 % 127) as u8).collect();
    let floats: Vec<u8> = (0..12_000u32).map(|i| (i * 17 % 120) as u8).collect();
    Writer::default()
        .bf16("txt_norm.weight", &[4], &[1.0, 2.0, -0.5, 0.0])
        .tensor("img_in.weight", ElementType::F8E4M3, &[60, 100], &codes)
        .f32("img_in.weight_scale", &[], &[0.5])
        .tensor("txt_in.weight", ElementType::BF16, &[60, 100], &floats)
}

fn assert_same_as_mapped(path: &Path) -> LoadReport {
    let weights = Weights::open(path, Component::Transformer).unwrap();
    let (mapped, in_place) = load_kinds(&weights, LoadMethod::InPlace, &mut ()).unwrap();
    let (read, report) = load_kinds(&weights, LoadMethod::Read, &mut ()).unwrap();
    assert_eq!(in_place.method, ReadMethod::Mapped);
    assert_ne!(report.method, ReadMethod::Mapped);
    assert_eq!((report.mapped_bytes, report.bytes), (0, in_place.bytes));
    assert_eq!(bytes(&read.img_in.weight), bytes(&mapped.img_in.weight));
    assert_eq!(bytes(&read.txt_in.weight), bytes(&mapped.txt_in.weight));
    assert_eq!(values(&read.txt_norm.weight), [1.0, 2.0, -0.5, 0.0]);
    let Weight::Packed(weight) = &read.img_in.weight else {
        panic!("not FP8")
    };
    assert_eq!(values(&weight.scale), [0.5]);
    report
}

#[test]
fn what_is_read_is_what_would_be_mapped() {
    let dir = tempdir().unwrap();
    let path = small().write(dir.path().join("x.safetensors"));
    let report = assert_same_as_mapped(&path);
    assert!(
        report.ring_bytes > 0 && report.ring_bytes < 1 << 20,
        "{report:?}"
    );
    let odd = small().misaligned().write(dir.path().join("y.safetensors"));
    let weights = Weights::open(&odd, Component::Transformer).unwrap();
    let (read, _) = load_kinds(&weights, LoadMethod::Read, &mut ()).unwrap();
    let even = Weights::open(&path, Component::Transformer).unwrap();
    let (mapped, _) = load_kinds(&even, LoadMethod::InPlace, &mut ()).unwrap();
    assert_eq!(bytes(&read.txt_in.weight), bytes(&mapped.txt_in.weight));
}

#[test]
#[cfg(unix)]
fn links_and_files_without_write_permission() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempdir().unwrap();
    let path = small().write(dir.path().join("real"));
    fs::set_permissions(&path, fs::Permissions::from_mode(0o444)).unwrap();
    let link = dir.path().join("link.safetensors");
    std::os::unix::fs::symlink(&path, &link).unwrap();
    assert_same_as_mapped(&link);
}

#[test]
#[cfg(target_os = "linux")]
fn a_file_system_in_memory() {
    let Ok(dir) = TempDir::new_in("/dev/shm") else {
        eprintln!("skipped: no /dev/shm");
        return;
    };
    assert_same_as_mapped(&small().write(dir.path().join("x.safetensors")));
}

#[test]
fn a_parameter_without_elements() {
    #[derive(Module, Debug)]
    struct Empty<B: Backend> {
        txt_norm: Norm<B>,
        img_in: Norm<B>,
    }
    let dir = tempdir().unwrap();
    let path = Writer::default()
        .bf16("txt_norm.weight", &[4], &[1.0; 4])
        .tensor("img_in.weight", ElementType::F8E4M3, &[0], &[])
        .write(dir.path().join("x.safetensors"));
    let weights = Weights::open(&path, Component::Transformer).unwrap();
    for method in [LoadMethod::InPlace, LoadMethod::Read] {
        let names = Names::default();
        let module = Empty::<Flex> {
            txt_norm: names.norm("txt_norm", 4),
            img_in: names.norm("img_in", 0),
        };
        let module = names.of(module);
        let (module, _) = load_by(method, module, &weights, &FlexDevice, &mut ()).unwrap();
        assert_eq!(values(&module.img_in.weight), [0.0; 0]);
        assert_eq!(values(&module.txt_norm.weight), [1.0; 4]);
    }
    let mut sink = NullSink::new();
    read_through(&weights, &mut sink, &mut ()).unwrap();
    assert_eq!(sink.bytes_written(), 8);
}

/// A file of holes with two weights of many times a buffer's size.
fn large(dir: &TempDir, name: &str) -> PathBuf {
    let (rows, columns) = (1 << 14, 1 << 13);
    let elements = (rows * columns) as u64;
    let tensor = |dtype: &str, shape: &[usize], begin: u64, end: u64| {
        let offsets = [begin, end];
        json!({"dtype": dtype, "shape": shape, "data_offsets": offsets})
    };
    let header = json!({
        "txt_norm.weight": tensor("F32", &[4], 0, 16),
        "img_in.weight": tensor("F8_E4M3", &[rows, columns], 16, 16 + elements),
        "txt_in.weight": tensor("F8_E4M3", &[rows, columns], 16 + elements, 16 + 2 * elements),
    });
    let header = format!("{:<504}", header.to_string());
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend(header.as_bytes());
    let path = write(dir.path().join(name), &bytes);
    let file = OpenOptions::new().write(true).open(&path).unwrap();
    file.set_len(512 + 16 + 2 * elements).unwrap();
    path
}

/// Does something once, when the first bytes are in place.
struct Meanwhile<F: FnMut()> {
    action: F,
    done: bool,
    stop: bool,
}

impl<F: FnMut()> LoadObserver for Meanwhile<F> {
    fn progress(&mut self, bytes_done: u64, _bytes_total: u64) {
        if bytes_done > 0 && !self.done {
            self.done = true;
            (self.action)();
        }
    }

    fn cancelled(&self) -> bool {
        self.stop && self.done
    }
}

fn meanwhile<F: FnMut()>(action: F) -> Meanwhile<F> {
    Meanwhile {
        action,
        done: false,
        stop: false,
    }
}

#[test]
fn a_file_truncated_while_it_is_read() {
    let dir = tempdir().unwrap();
    let path = large(&dir, "x.safetensors");
    let weights = Weights::open(&path, Component::Transformer).unwrap();
    let mut truncate = meanwhile(|| {
        let file = OpenOptions::new().write(true).open(&path).unwrap();
        file.set_len(180 << 20).unwrap();
    });
    let error = load_kinds(&weights, LoadMethod::Read, &mut truncate).unwrap_err();
    assert!(matches!(error, LoadError::Changed { .. }), "{error}");
}

#[test]
fn a_file_written_to_while_it_is_read() {
    let dir = tempdir().unwrap();
    let path = large(&dir, "x.safetensors");
    let weights = Weights::open(&path, Component::Transformer).unwrap();
    let mut touch = meanwhile(|| {
        let file = OpenOptions::new().write(true).open(&path).unwrap();
        let later = std::time::SystemTime::now() + std::time::Duration::from_secs(5);
        file.set_modified(later).unwrap();
    });
    let error = load_kinds(&weights, LoadMethod::Read, &mut touch).unwrap_err();
    assert!(matches!(error, LoadError::Changed { .. }), "{error}");
}

#[test]
fn a_file_replaced_while_it_is_read_is_read_to_its_end() {
    let dir = tempdir().unwrap();
    let path = large(&dir, "x.safetensors");
    let other = small().write(dir.path().join("y.safetensors"));
    let weights = Weights::open(&path, Component::Transformer).unwrap();
    let mut replace = meanwhile(|| fs::rename(&other, &path).unwrap());
    let (module, _) = load_kinds(&weights, LoadMethod::Read, &mut replace).unwrap();
    assert_eq!(module.img_in.weight.shape(), [1 << 14, 1 << 13]);
}

#[test]
fn a_file_replaced_before_it_is_read() {
    let dir = tempdir().unwrap();
    let path = large(&dir, "x.safetensors");
    let weights = Weights::open(&path, Component::Transformer).unwrap();
    let same_length = large(&dir, "y.safetensors");
    fs::rename(same_length, &path).unwrap();
    for method in [LoadMethod::InPlace, LoadMethod::Read] {
        let error = load_kinds(&weights, method, &mut ()).unwrap_err();
        assert!(matches!(error, LoadError::Changed { .. }), "{error}");
    }
}

#[test]
fn stopped_midway_it_can_be_loaded_again() {
    let dir = tempdir().unwrap();
    let path = large(&dir, "x.safetensors");
    let weights = Weights::open(&path, Component::Transformer).unwrap();
    let mut stop = Meanwhile {
        stop: true,
        ..meanwhile(|| ())
    };
    let error = load_kinds(&weights, LoadMethod::Read, &mut stop).unwrap_err();
    assert!(error.is_cancelled(), "{error}");
    load_kinds(&weights, LoadMethod::Read, &mut ()).unwrap();
}

#[test]
fn two_at_once() {
    let dir = tempdir().unwrap();
    let path = small().write(dir.path().join("x.safetensors"));
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| assert_same_as_mapped(&path));
        }
    });
}

#[test]
fn the_rate_of_a_disk_is_found_in_a_limited_time() {
    let dir = tempfile::tempdir().unwrap();
    let weights = Weights::open(&large(&dir, "large.safetensors"), Component::Transformer).unwrap();
    let second = std::time::Duration::from_secs(1);
    assert!(loader::read_rate(&weights, second).unwrap() > 0.0);
    // One read is always made.
    let began = std::time::Instant::now();
    assert!(loader::read_rate(&weights, std::time::Duration::ZERO).unwrap() > 0.0);
    assert!(began.elapsed() < second);
    let path = weights.source().to_path_buf();
    std::fs::write(&path, b"short").unwrap();
    let error = loader::read_rate(&weights, second).unwrap_err();
    assert!(matches!(error, LoadError::Changed { .. }), "{error}");
}

#[test]
fn a_null_device_receives_every_byte() {
    let dir = tempdir().unwrap();
    let path = large(&dir, "x.safetensors");
    let weights = Weights::open(&path, Component::Transformer).unwrap();
    let mut sink = NullSink::new();
    let report = read_through(&weights, &mut sink, &mut ()).unwrap();
    assert_eq!((report.tensors, report.bytes), (3, 16 + (2 << 27)));
    assert_eq!(sink.bytes_written(), report.bytes);
}

#[test]
fn a_device_that_is_too_small_refuses_before_anything_is_read() {
    let dir = tempdir().unwrap();
    let path = large(&dir, "x.safetensors");
    let weights = Weights::open(&path, Component::Transformer).unwrap();
    let mut sink = NullSink::with_capacity(200 << 20);
    let error = read_through(&weights, &mut sink, &mut ()).unwrap_err();
    assert_eq!(sink.bytes_written(), 0);
    let LoadError::OutOfMemory { needed, free, .. } = error else {
        panic!("{error}")
    };
    assert_eq!(needed, 1 << 27);
    assert!(free < needed, "{free}");
}
