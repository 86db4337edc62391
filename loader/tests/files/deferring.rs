//! Weights that a load leaves out.

use backends::parameters::UnfilledModule;
use backends::weight::Weight;
use burn::module::Module;
use burn::tensor::DType;
use burn::tensor::backend::Backend;
use burn_flex::{Flex, FlexDevice};
use loader::record::StoredAs;
use loader::{
    Component, Deferred, ElementType, Footprint, GroupBytes, LoadError, LoadMethod, LoadReport,
    Weights, group_bytes, load_deferring,
};

use crate::modules::{Linear, Names, Norm, on_disk, values};
use crate::writer::Writer;

/// A norm, and layers of each way to store a weight.
#[derive(Module, Debug)]
struct Layers<B: Backend> {
    txt_norm: Norm<B>,
    img_in: Linear<B>,
    txt_in: Linear<B>,
    proj_out: Linear<B>,
}

/// FP8 `[2, 300]`, BF16 `[3, 2]` and F64 `[1, 2]`, which becomes F32.
fn file() -> Writer {
    Writer::default()
        .bf16("txt_norm.weight", &[4], &[1.0, 2.0, 3.0, 4.0])
        .tensor(
            "img_in.weight",
            ElementType::F8E4M3,
            &[2, 300],
            &[0x38; 600],
        )
        .f32("img_in.weight_scale", &[], &[0.5])
        .bf16("txt_in.weight", &[3, 2], &[1.0; 6])
        .bf16("txt_in.bias", &[3], &[7.0; 3])
        .zeros("proj_out.weight", ElementType::F64, &[1, 2])
}

fn layers(weights: &Weights, rows: usize) -> UnfilledModule<Layers<Flex>> {
    let names = Names::default();
    let linear = |name: &str, shape| {
        let format = weights.format(&format!("{name}.weight"));
        names.linear(name, shape, format)
    };
    let module = Layers {
        txt_norm: names.norm("txt_norm", 4),
        img_in: linear("img_in", [rows, 300]),
        txt_in: Linear {
            bias: Some(names.float("txt_in.bias", [3])),
            ..linear("txt_in", [3, 2])
        },
        proj_out: linear("proj_out", [1, 2]),
    };
    names.of(module)
}

type Loaded = (Layers<Flex>, Deferred, LoadReport);

fn load(
    method: LoadMethod,
    rows: usize,
    defer: &dyn Fn(&str) -> bool,
) -> Result<Loaded, LoadError> {
    let disk = on_disk(&file(), Component::Transformer);
    let module = layers(&disk.weights, rows);
    load_deferring(method, module, &disk.weights, defer, &FlexDevice, &mut ())
}

/// Tells whether a weight's elements hold memory.
fn is_loaded(weight: &Weight<Flex>) -> bool {
    match weight {
        Weight::Dense(elements) => elements.is_initialized(),
        Weight::Packed(weight) => weight.bytes.is_initialized(),
    }
}

#[test]
fn what_is_named_is_left_out_and_the_rest_is_loaded() {
    for method in [LoadMethod::InPlace, LoadMethod::Read] {
        let (module, deferred, report) = load(method, 2, &|name| name == "img_in.weight").unwrap();
        assert!(!is_loaded(&module.img_in.weight));
        assert!(is_loaded(&module.txt_in.weight));
        let [weight] = deferred.weights() else {
            panic!("{deferred:?}")
        };
        assert_eq!(weight.name, "img_in.weight");
        assert_eq!(
            (weight.bytes(), weight.shape.as_slice()),
            (600, [2, 300].as_slice())
        );
        assert_eq!(weight.stored_as, StoredAs::Codes);
        // The norm, a scale, a weight with its bias, and a weight of F64.
        assert_eq!((report.tensors, report.bytes), (5, 8 + 4 + 12 + 6 + 16));
    }
}

#[test]
fn only_what_goes_to_the_device_as_it_is_can_be_left_out() {
    let (module, deferred, _) = load(LoadMethod::InPlace, 2, &|_| true).unwrap();
    let names = deferred.weights().iter().map(|weight| weight.name.as_str());
    assert_eq!(
        names.collect::<Vec<_>>(),
        ["img_in.weight", "txt_in.weight"]
    );
    assert_eq!(
        deferred.weights()[1].stored_as,
        StoredAs::Floats(DType::BF16)
    );
    assert_eq!(values(&module.txt_norm.weight), [1.0, 2.0, 3.0, 4.0]);
    assert_eq!(values(module.txt_in.bias.as_ref().unwrap()), [7.0; 3]);
    assert!(is_loaded(&module.proj_out.weight));
    let Weight::Packed(weight) = &module.img_in.weight else {
        panic!("not FP8")
    };
    assert_eq!(values(&weight.scale), [0.5]);
}

#[test]
fn what_is_left_out_has_to_fit_all_the_same() {
    let error = load(LoadMethod::InPlace, 3, &|_| true).unwrap_err();
    let LoadError::Misfit { misfit, .. } = error else {
        panic!("{error}")
    };
    assert_eq!(
        misfit.to_string(),
        "1 tensor of the wrong shape (img_in.weight is [2, 300] instead of [3, 300])"
    );
}

#[test]
fn the_bytes_of_groups_are_known_from_the_headers() {
    let disk = on_disk(&file(), Component::Transformer);
    let one = group_bytes(&disk.weights, &|_| Some(7));
    let group = GroupBytes {
        tensors: 2,
        bytes: 600 + 12,
        slot: 768 + 12,
    };
    assert_eq!(one.into_iter().collect::<Vec<_>>(), [(7, group)]);
    let group_of = |name: &str| match name {
        "img_in.weight" => Some(1),
        "txt_norm.weight" => Some(2),
        _ => None,
    };
    let groups = group_bytes(&disk.weights, &group_of);
    let bytes = groups.iter().map(|(&group, bytes)| (group, bytes.bytes));
    assert_eq!(bytes.collect::<Vec<_>>(), [(1, 600)]);
    let footprint = Footprint::of(&disk.weights);
    // What stays: the norm, a scale, a bias, and a weight that was F64.
    assert_eq!(footprint.total() - 612, 16 + 4 + 12 + 8);
}
