//! The linear layers as compositions of Burn's own operations, for every backend.

use std::ops::Range;

use burn::tensor::backend::Backend;
use burn::tensor::ops::{FloatTensor, IntTensor};
use burn::tensor::{DType, FloatDType, Int, IntDType, Tensor, TensorData, TensorPrimitive};

use super::codec::Fp8Format;
use super::ops::{Activation, Epilogue};
use crate::fused::FusedOps;

/// Weight elements decoded at a time: 64 MiB as `f32`.
const DECODE_CHUNK: usize = 16 << 20;

/// How many rows of a weight of `width` input features are decoded at a time.
pub(crate) fn rows_at_once(width: usize) -> usize {
    (DECODE_CHUNK / width.max(1)).max(1)
}

/// See [`Fp8Ops::fp8_linear`](super::Fp8Ops::fp8_linear).
pub(crate) fn fp8_linear<B: FusedOps>(
    x: FloatTensor<B>,
    weight: IntTensor<B>,
    scale: FloatTensor<B>,
    format: Fp8Format,
    epilogue: Epilogue<B>,
) -> FloatTensor<B> {
    let weight = Tensor::<B, 2, Int>::from_primitive(weight);
    let decode = |rows: Range<usize>, dtype| {
        let rows = weight.clone().narrow(0, rows.start, rows.len());
        decode_all(rows, format).cast(dtype)
    };
    decoded_linear(x, weight.dims(), decode, Some(scale), epilogue)
}

/// `y = epilogue((x · weightᵀ) * scale)` for a weight `[out, in]` of which
/// `decode(rows, dtype)` gives some rows; never more of it is in memory than a chunk.
pub(crate) fn decoded_linear<B: FusedOps>(
    x: FloatTensor<B>,
    [out, width]: [usize; 2],
    decode: impl Fn(Range<usize>, FloatDType) -> Tensor<B, 2>,
    scale: Option<FloatTensor<B>>,
    epilogue: Epilogue<B>,
) -> FloatTensor<B> {
    let x = float::<B, 2>(x);
    let dtype: FloatDType = x.dtype().into();
    let rows_at_once = rows_at_once(width);
    let products = (0..out)
        .step_by(rows_at_once)
        .map(|start| {
            let rows = start..out.min(start + rows_at_once);
            x.clone().matmul(decode(rows, dtype).transpose())
        })
        .collect();
    let y = Tensor::cat(products, 1);
    let y = match scale {
        Some(scale) => float(scaled(y, scale, dtype)),
        None => y,
    };
    finish(y, epilogue)
}

/// `x * scale` in f32, rounded to `dtype`.
///
/// * `x`: float `[rows, width]`.
/// * `scale`: f32 `[1]`, or `[width]` with one for each column.
pub(crate) fn scaled<B: Backend>(
    x: Tensor<B, 2>,
    scale: FloatTensor<B>,
    dtype: FloatDType,
) -> FloatTensor<B> {
    let y = x.cast(FloatDType::F32) * float::<B, 1>(scale).unsqueeze::<2>();
    y.cast(dtype).into_primitive().tensor()
}

/// See [`Fp8Ops::fp8_rows`](super::Fp8Ops::fp8_rows).
pub(crate) fn fp8_rows<B: Backend>(
    weight: IntTensor<B>,
    scale: FloatTensor<B>,
    indices: IntTensor<B>,
    format: Fp8Format,
    dtype: FloatDType,
) -> FloatTensor<B> {
    let weight = Tensor::<B, 2, Int>::from_primitive(weight);
    let codes = weight.select(0, Tensor::from_primitive(indices.clone()));
    scaled_rows(decode_all(codes, format), scale, indices, dtype)
}

/// Rows of a weight `x * scale` in f32, rounded to `dtype`.
///
/// * `x`: float `[n, width]`, the rows that `indices` name.
/// * `scale`: f32 `[1]`, or one for each row of the weight.
pub(crate) fn scaled_rows<B: Backend>(
    x: Tensor<B, 2>,
    scale: FloatTensor<B>,
    indices: IntTensor<B>,
    dtype: FloatDType,
) -> FloatTensor<B> {
    let scale = float::<B, 1>(scale);
    let scale = match scale.dims() {
        [1] => scale.unsqueeze::<2>(),
        _ => scale
            .select(0, Tensor::from_primitive(indices))
            .unsqueeze_dim(1),
    };
    let y = x.cast(FloatDType::F32) * scale;
    y.cast(dtype).into_primitive().tensor()
}

/// See [`Fp8Ops::dense_rows`](super::Fp8Ops::dense_rows).
pub(crate) fn dense_rows<B: Backend>(
    weight: FloatTensor<B>,
    indices: IntTensor<B>,
    dtype: FloatDType,
) -> FloatTensor<B> {
    let rows = float::<B, 2>(weight).select(0, Tensor::from_primitive(indices));
    rows.cast(dtype).into_primitive().tensor()
}

/// See [`Fp8Ops::dense_linear`](super::Fp8Ops::dense_linear).
pub(crate) fn dense_linear<B: FusedOps>(
    x: FloatTensor<B>,
    weight: FloatTensor<B>,
    epilogue: Epilogue<B>,
) -> FloatTensor<B> {
    let x = float::<B, 2>(x);
    let weight = float::<B, 2>(weight).cast(x.dtype()).transpose();
    finish(x.matmul(weight), epilogue)
}

/// Wraps a float primitive.
pub(super) fn float<B: Backend, const D: usize>(primitive: FloatTensor<B>) -> Tensor<B, D> {
    Tensor::from_primitive(TensorPrimitive::Float(primitive))
}

/// Does what follows a product, and unwraps.
pub(crate) fn finish<B: FusedOps>(y: Tensor<B, 2>, epilogue: Epilogue<B>) -> FloatTensor<B> {
    let Epilogue {
        bias,
        addend,
        activation,
    } = epilogue;
    let dtype = y.dtype();
    let y = match bias {
        Some(bias) => y + float::<B, 1>(bias).cast(dtype).unsqueeze::<2>(),
        None => y,
    };
    let y = match addend {
        Some(addend) => y + float::<B, 2>(addend),
        None => y,
    };
    let y = y.into_primitive().tensor();
    match activation {
        Activation::None => y,
        Activation::GeluTanh => B::gelu_tanh(y),
    }
}

/// U8 codes `[rows, in]` as f32 values of the same shape, by table look-up.
pub(crate) fn decode_all<B: Backend>(codes: Tensor<B, 2, Int>, format: Fp8Format) -> Tensor<B, 2> {
    let shape = codes.dims();
    let device = codes.device();
    let table = Tensor::<B, 1>::from_data(TensorData::from(*format.table()), (&device, DType::F32));
    let indices = codes.cast(IntDType::I32).reshape([shape[0] * shape[1]]);
    table.select(0, indices).reshape(shape)
}

#[cfg(all(test, feature = "flex"))]
mod tests {
    //! The processor's own kernels against the portable bodies on the same processor.

    use burn::module::Param;
    use burn_flex::Flex;

    use super::super::by_row::{fp8_linear_by_row, fp8_linear_rounded_by_row};
    use super::*;
    use crate::fp8::{Arithmetic, Fp8Ops};
    use crate::test_random::random;
    use crate::weight::{Fp8Weight, Weight};

    /// All finite codes in turn.
    fn codes(shape: [usize; 2], format: Fp8Format) -> Tensor<Flex, 2, Int> {
        let finite = (0..=255u8).filter(|&code| format.decode(code).is_finite());
        let codes: Vec<u8> = finite
            .cycle()
            .step_by(37)
            .take(shape[0] * shape[1])
            .collect();
        Tensor::from_data(
            TensorData::new(codes, shape),
            (&Default::default(), DType::U8),
        )
    }

    fn close(what: &str, fast: FloatTensor<Flex>, portable: FloatTensor<Flex>) {
        let [fast, portable] = [fast, portable].map(float::<Flex, 2>);
        assert_eq!(fast.dims(), portable.dims(), "{what}");
        let largest = portable.clone().abs().max().into_scalar();
        let distance = (fast - portable).abs().max().into_scalar();
        assert!(
            largest > 0.0 && distance <= largest * 1e-5,
            "{what}: {distance} of {largest}"
        );
    }

    fn raw<const D: usize>(tensor: &Tensor<Flex, D>) -> FloatTensor<Flex> {
        tensor.clone().into_primitive().tensor()
    }

    /// One row, fewer outputs than threads, odd sizes, several tiles.
    const SHAPES: [[usize; 3]; 8] = [
        [1, 3072, 700],
        [2, 1025, 130],
        [100, 2048, 77],
        [127, 70, 101],
        [5, 7, 1],
        [33, 129, 301],
        [64, 256, 2000],
        [3, 1, 5],
    ];

    const ACTIVATIONS: [Activation; 2] = [Activation::None, Activation::GeluTanh];

    #[test]
    fn fp8_linear_agrees() {
        for format in [Fp8Format::E4M3, Fp8Format::E5M2] {
            for ([rows, input, output], activation) in shapes_and_activations() {
                let x = random([rows, input]);
                let weight = codes([output, input], format).into_primitive();
                let scale = Tensor::<Flex, 1>::from_floats([0.37], &Default::default());
                let scale = raw(&scale);
                let epilogue = Epilogue {
                    bias: Some(raw(&random([output]))),
                    addend: (rows % 2 == 1).then(|| raw(&random([rows, output]))),
                    activation,
                };
                close(
                    &format!("{format:?} {rows}x{input}x{output} {activation:?}"),
                    Flex::fp8_linear(
                        raw(&x),
                        weight.clone(),
                        scale.clone(),
                        format,
                        epilogue.clone(),
                    ),
                    fp8_linear::<Flex>(raw(&x), weight, scale, format, epilogue),
                );
            }
        }
    }

    #[test]
    fn a_scale_for_each_row_is_the_product_with_the_decoded_and_scaled_weight() {
        let device = Default::default();
        for ([rows, input, output], activation) in shapes_and_activations() {
            if output == 1 {
                continue;
            }
            let format = Fp8Format::E4M3;
            let x = random([rows, input]);
            let codes = codes([output, input], format);
            let scales: Vec<f32> = (0..output).map(|row| 0.1 + row as f32 * 0.01).collect();
            let scales = Tensor::<Flex, 1>::from_floats(scales.as_slice(), &device);
            let epilogue = Epilogue {
                bias: Some(raw(&random([output]))),
                addend: (rows % 2 == 1).then(|| raw(&random([rows, output]))),
                activation,
            };
            let weight = decode_all(codes.clone(), format) * scales.clone().unsqueeze_dim(1);
            let expected = dense_linear::<Flex>(raw(&x), raw(&weight), epilogue.clone());
            let call = |linear: fn(_, _, _, _, _) -> FloatTensor<Flex>| {
                let codes = codes.clone().into_primitive();
                linear(raw(&x), codes, raw(&scales), format, epilogue.clone())
            };
            let what = format!("{rows}x{input}x{output} {activation:?}");
            for (by, found) in [
                ("processor", call(Flex::fp8_linear)),
                ("portable", call(fp8_linear::<Flex>)),
                ("in two steps", call(fp8_linear_by_row::<Flex>)),
            ] {
                close(&format!("{what} {by}"), found, expected.clone());
            }
            // Activations that are rounded to FP8 are scaled by row too.
            let rounded = Flex::round_rows(raw(&x));
            let exact = float::<Flex, 2>(rounded.values.clone());
            let exact = raw(&(exact * float::<Flex, 2>(rounded.scales.clone())));
            let expected = dense_linear::<Flex>(exact, raw(&weight), epilogue.clone());
            let call = |linear: fn(_, _, _, _, _) -> FloatTensor<Flex>| {
                let (x, codes) = (rounded.clone(), codes.clone().into_primitive());
                linear(x, codes, raw(&scales), format, epilogue.clone())
            };
            for (by, found) in [
                ("rounded", call(Flex::fp8_linear_rounded)),
                (
                    "rounded in two steps",
                    call(fp8_linear_rounded_by_row::<Flex>),
                ),
            ] {
                close(&format!("{what} {by}"), found, expected.clone());
            }
        }
    }

    #[test]
    fn dense_linear_agrees_in_every_dtype() {
        for dtype in [FloatDType::F32, FloatDType::BF16, FloatDType::F16] {
            for ([rows, input, output], activation) in shapes_and_activations() {
                let x = random([rows, input]);
                let weight = random([output, input]).cast(dtype);
                let epilogue = Epilogue {
                    activation,
                    ..Epilogue::NONE
                };
                close(
                    &format!("{dtype:?} {rows}x{input}x{output} {activation:?}"),
                    Flex::dense_linear(raw(&x), raw(&weight), epilogue.clone()),
                    dense_linear::<Flex>(raw(&x), raw(&weight), epilogue),
                );
            }
        }
    }

    fn shapes_and_activations() -> impl Iterator<Item = ([usize; 3], Activation)> {
        let each = |shape| ACTIVATIONS.map(|activation| (shape, activation));
        SHAPES.into_iter().flat_map(each)
    }

    #[test]
    fn an_activation_is_what_follows_the_layer_without() {
        let device = Default::default();
        let format = Fp8Format::E4M3;
        let fp8 = Weight::<Flex>::Fp8(Fp8Weight {
            bytes: Param::initialized(Default::default(), codes([130, 70], format)),
            scale: Param::from_tensor(Tensor::from_floats([0.002], &device)),
            format,
            arithmetic: Arithmetic::Exact,
        });
        let dense = Weight::Dense(Param::from_tensor(random([130, 70]) * 0.1));
        let bias = Param::from_tensor(random([130]));
        for weight in [fp8, dense] {
            // Few rows and many go different ways.
            for rows in [1, 5, 200] {
                let x = random([1, rows, 70]);
                let plain = weight.linear(x.clone(), Some(&bias), None, Activation::None);
                let expected = crate::fused::gelu_tanh(plain.clone());
                let found = weight.linear(x, Some(&bias), None, Activation::GeluTanh);
                let moved = (plain - expected.clone()).abs().max().into_scalar();
                assert!(moved > 0.01, "{rows} rows: GELU changes nothing");
                found.into_data().assert_eq(&expected.into_data(), true);
            }
        }
    }

    #[test]
    fn an_embedding_row_is_its_decoded_codes() {
        let device = Default::default();
        let format = Fp8Format::E4M3;
        let weight = Weight::<Flex>::Fp8(Fp8Weight {
            bytes: Param::initialized(Default::default(), codes([9, 4], format)),
            scale: Param::from_tensor(Tensor::from_floats([0.5], &device)),
            format,
            arithmetic: Arithmetic::Exact,
        });
        let ids = Tensor::<Flex, 1, Int>::from_ints([8, 0, 8], &device);
        let rows: Vec<f32> = weight
            .rows(ids, FloatDType::F32)
            .into_data()
            .iter()
            .collect();
        let all: Vec<u8> = codes([9, 4], format).into_data().iter().collect();
        let expected: Vec<f32> = [8, 0, 8]
            .iter()
            .flat_map(|row| &all[row * 4..row * 4 + 4])
            .map(|&code| format.decode(code) * 0.5)
            .collect();
        assert_eq!(rows, expected);

        let scales = [0.5, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 0.25];
        let by_row = Weight::<Flex>::Fp8(Fp8Weight {
            bytes: Param::initialized(Default::default(), codes([9, 4], format)),
            scale: Param::from_tensor(Tensor::from_floats(scales, &device)),
            format,
            arithmetic: Arithmetic::Exact,
        });
        let ids = Tensor::<Flex, 1, Int>::from_ints([8, 0, 2], &device);
        let rows = by_row.rows(ids, FloatDType::F32).into_data();
        let expected = [8, 0, 2].iter().flat_map(|&row| {
            let codes = &all[row * 4..row * 4 + 4];
            codes
                .iter()
                .map(move |&code| format.decode(code) * scales[row])
        });
        let rows: Vec<f32> = rows.iter().collect();
        assert_eq!(rows, expected.collect::<Vec<_>>());
    }
}
