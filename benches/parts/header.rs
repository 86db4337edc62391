//! Parsing and checking the header of the real transformer's file.

use criterion::Criterion;
use loader::Header;
use tests::RealHeader;

pub(crate) fn bench(criterion: &mut Criterion) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("transformer.safetensors");
    let header = RealHeader::read("qwen_image_fp8_e4m3fn");
    assert_eq!(header.tensors.len(), 1933);
    header.write_sparse(&path).expect("a sparse file");
    let mut group = criterion.benchmark_group("header");
    group.bench_function("transformer_1933", |bencher| {
        bencher.iter(|| Header::open(&path).expect("a header"));
    });
    group.finish();
}
