//! Parsing and checking the header of the real transformer's file.

use std::ops::ControlFlow;

use criterion::Criterion;
use loader::published::{Filling, Overwrite, write};
use loader::{Header, Published};

pub(crate) fn bench(criterion: &mut Criterion) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("transformer.safetensors");
    let layout = Published::Transformer.layout();
    assert_eq!(layout.tensors().len(), 1933);
    let watch = &mut |_, _| ControlFlow::Continue(());
    write(&path, &layout, Filling::Holes, Overwrite::Refuse, watch).expect("a sparse file");
    let mut group = criterion.benchmark_group("header");
    group.bench_function("transformer_1933", |bencher| {
        bencher.iter(|| Header::open(&path).expect("a header"));
    });
    group.finish();
}
