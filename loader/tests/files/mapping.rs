//! On a CPU the file is the storage.

use backends::parameters::UnfilledModule;
use backends::weight::Weight;
use backends::{Fp8Format, PackedFormat, WeightFormat};
use burn::module::Module;
use burn::tensor::Tensor;
use burn::tensor::backend::Backend;
use burn_flex::{Flex, FlexDevice};
use loader::{Component, Weights, load};
use serde_json::json;
use tempfile::tempdir;

use crate::modules::{Linear, Names, Norm};
use crate::writer::write;

/// The address of a tensor's first byte.
fn address<const D: usize, K: burn::tensor::BasicOps<Flex, Primitive: IntoFlex>>(
    tensor: Tensor<Flex, D, K>,
) -> usize {
    tensor.into_primitive().into_flex().bytes().as_ptr() as usize
}

trait IntoFlex {
    fn into_flex(self) -> burn_flex::FlexTensor;
}

impl IntoFlex for burn_flex::FlexTensor {
    fn into_flex(self) -> burn_flex::FlexTensor {
        self
    }
}

impl IntoFlex for burn::tensor::TensorPrimitive<Flex> {
    fn into_flex(self) -> burn_flex::FlexTensor {
        self.tensor()
    }
}

/// Two layers, one of which is FP8.
#[derive(Module, Debug)]
struct Pair<B: Backend> {
    txt_norm: Norm<B>,
    img_in: Linear<B>,
    txt_in: Linear<B>,
}

fn pair(rows: usize, columns: usize) -> UnfilledModule<Pair<Flex>> {
    let names = Names::default();
    let fp8 = WeightFormat::Packed(PackedFormat::Fp8(Fp8Format::E4M3));
    let module = Pair {
        txt_norm: names.norm("txt_norm", 4),
        img_in: names.linear("img_in", [rows, columns], fp8),
        txt_in: names.linear("txt_in", [rows, columns], WeightFormat::Dense),
    };
    names.of(module)
}

#[test]
fn weights_are_the_mapping_of_the_file() {
    // Gigabytes of both kinds; the file has holes instead.
    let (rows, columns) = (1 << 14, 1 << 15);
    let elements = (rows * columns) as u64;
    let dir = tempdir().unwrap();
    let tensor = |dtype: &str, shape: &[usize], begin: u64, end: u64| {
        let offsets = [begin, end];
        json!({"dtype": dtype, "shape": shape, "data_offsets": offsets})
    };
    let (first, second, third) = (16, 16 + elements, 16 + 3 * elements);
    let header = json!({
        "txt_norm.weight": tensor("F32", &[4], 0, first),
        "img_in.weight": tensor("F8_E4M3", &[rows, columns], first, second),
        "txt_in.weight": tensor("BF16", &[rows, columns], second, third),
    });
    let header = format!("{:<512}", header.to_string());
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend(header.as_bytes());
    let path = write(dir.path().join("x.safetensors"), &bytes);
    let file = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
    file.set_len(520 + third).unwrap();

    let weights = Weights::open(&path, Component::Transformer).unwrap();
    let before = backends::host_memory::host_memory();
    let (module, report) = load(pair(rows, columns), &weights, &FlexDevice, &mut ()).unwrap();
    assert_eq!(report.mapped_bytes, 3 * elements);
    if let (Some(before), Some(peak)) = (before, report.peak_anonymous_bytes) {
        let grown = peak.saturating_sub(before.anonymous);
        assert!(
            grown < 64 << 20,
            "{grown} bytes of anonymous memory for a mapped file"
        );
    }
    let (Weight::Packed(codes), Weight::Dense(dense)) =
        (&module.img_in.weight, &module.txt_in.weight)
    else {
        panic!("stored otherwise")
    };
    // Both lie in one mapping, as far apart as in the file.
    let distance = address(dense.val()) - address(codes.bytes.val());
    assert_eq!(distance as u64, elements);
    // The mapping outlives the checkpoint, and the file's name.
    drop((weights, dir));
    assert_eq!(
        codes
            .bytes
            .val()
            .slice([0..1, 0..3])
            .into_data()
            .to_vec::<u8>()
            .unwrap(),
        [0; 3]
    );
}
