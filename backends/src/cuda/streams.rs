//! Two streams of layers at the same time.

use std::sync::Arc;

use burn_cubecl::cubecl::cuda::CudaRuntime;
use burn_cubecl::cubecl::prelude::ComputeClient;
use burn_cuda::Cuda;
use cudarc::driver::DriverError;

use super::engine::Engine;
use super::layer_norm::{Inputs, Norm};
use super::linear::{self, Linear, Stored};
use super::linear_quantized::{self, LinearRounded, has_use};
use super::quantize::{self, Quantize};
use super::scope::Scope;
use super::tensor::{Element, Typed, engine_of, over, raw, typed};
use crate::fp8::{
    Chain, ChainCall, Layer, LayerWeight, NormCall, Output, StreamCall, StreamResult, Update,
};
use crate::kernels::{Activations, Epilogue, Fp8Codes, QuantizedLinear, QuantizedRows};
use crate::low_rank::LowRank;

/// Computes both streams in one run, one beside the other, or hands them back where our kernels and
/// cuBLASLt do not know all of it.
pub(super) fn streams<const N: usize>(
    calls: [StreamCall<Cuda, N>; 2],
) -> Result<[StreamResult<Cuda, N>; 2], [StreamCall<Cuda, N>; 2]> {
    let [Some((first, first_result)), Some((second, second_result))] = calls.clone().map(Plan::new)
    else {
        return Err(calls);
    };
    let (few, many) = match first.rows < second.rows {
        true => (&first, &second),
        false => (&second, &first),
    };
    first.engine.run(&first.client, |scope| {
        // What is beside begins a little later: the few rows are not to wait for the many to be done.
        scope.beside(|| many.run(scope))?;
        few.run(scope)
    });
    Ok([first_result, second_result])
}

/// What a stream goes through, step by step. What steps give each other has its memory, and holds nothing
/// until they have been started.
struct Plan {
    engine: Arc<Engine>,
    client: ComputeClient<CudaRuntime>,
    rows: usize,
    steps: Vec<Step>,
}

enum Step {
    Norm(Box<Norm>),
    Quantize(Box<Quantize>),
    Linear(Box<Linear>),
    Rounded(Box<LinearRounded>),
}

impl Plan {
    /// With the places of its results; `None` where a step is not known.
    fn new<const N: usize>(call: StreamCall<Cuda, N>) -> Option<(Self, StreamResult<Cuda, N>)> {
        let takes_rounded = call.takes_rounded();
        let norm = call.norm;
        let [batch, tokens, _] = norm.x.dims();
        let mut plan = Self {
            engine: Engine::of(&norm.x.device()).ok()?,
            client: raw(norm.x.clone()).client,
            rows: batch * tokens,
            steps: vec![],
        };
        let (sum, x) = plan.norm(norm, takes_rounded)?;
        let outputs: Option<Vec<Typed<2>>> = call
            .chains
            .into_iter()
            .map(|chain| plan.chain(x.clone(), chain))
            .collect();
        let outputs = outputs?.try_into().ok()?;
        Some((plan, StreamResult { sum, outputs }))
    }

    /// Where the sum and the normalised tokens will be.
    fn norm(
        &mut self,
        call: NormCall<Cuda>,
        rounded: bool,
    ) -> Option<(Typed<3>, Activations<Cuda>)> {
        let (engine, element) = engine_of(&call.x)?;
        let [batch, tokens, channels] = call.x.dims();
        if rounded && !has_use(&engine, element, batch * tokens, channels) {
            return None;
        }
        let update = match call.update {
            None => None,
            Some(Update { gate, output }) => {
                let output = match output {
                    Output::Known(output) => output,
                    Output::Of(ChainCall { x, chain }) => {
                        let y = self.chain(x, chain)?;
                        // Only what is there already could be converted.
                        if y.dtype() != call.x.dtype() {
                            return None;
                        }
                        let y = raw(y);
                        let shape = call.x.shape();
                        typed(over(&y, y.handle.clone(), shape, y.dtype))
                    }
                };
                Some([output, gate].map(raw))
            }
        };
        let inputs = Inputs {
            x: raw(call.x),
            update,
            shift: raw(call.shift),
            scale: raw(call.scale),
            epsilon: call.epsilon,
        };
        let norm = Norm::new(element, inputs, rounded);
        let results = (typed(norm.sum()), norm.y());
        self.steps.push(Step::Norm(Box::new(norm)));
        Some(results)
    }

    fn chain(&mut self, x: Activations<Cuda>, chain: Chain<Cuda>) -> Option<Typed<2>> {
        let mut layers = chain.into_layers();
        let y = self.layer(x, layers.next()?)?;
        layers.try_fold(y, |y, layer| self.layer(Activations::Float(y), layer))
    }

    fn layer(&mut self, x: Activations<Cuda>, layer: Layer<Cuda>) -> Option<Typed<2>> {
        let addend = match (&x, layer.adapter) {
            (_, None) => None,
            (Activations::Float(x), Some(adapter)) => Some(self.adapter(x.clone(), adapter)?),
            (Activations::Quantized(_), Some(_)) => return None,
        };
        let epilogue = Epilogue {
            bias: layer.bias,
            addend,
            activation: layer.activation,
        };
        match (layer.weight, x) {
            (LayerWeight::Dense(weight), Activations::Float(x)) => {
                let engine = linear::engine_for(&x, None);
                self.linear(engine, x, Stored::Dense(raw(weight)), epilogue)
            }
            (LayerWeight::Fp8(weight), Activations::Float(x)) => {
                let engine = linear::engine_for(&x, Some(&weight));
                self.linear(engine, x, Stored::from(weight), epilogue)
            }
            (LayerWeight::Rounding(weight), Activations::Quantized(x)) => {
                self.linear_rounded(x, weight, epilogue)
            }
            (LayerWeight::Rounding(weight), Activations::Float(x)) => {
                let x = self.quantize(x)?;
                self.linear_rounded(x, weight, epilogue)
            }
            (_, Activations::Quantized(_)) => None,
        }
    }

    fn adapter(&mut self, x: Typed<2>, adapter: LowRank<Cuda>) -> Option<Typed<2>> {
        let [down, up] = [adapter.down, adapter.up].map(|matrix| Stored::Dense(raw(matrix)));
        let engine = linear::engine_for(&x, None);
        let x = self.linear(engine, x, down, Epilogue::NONE)?;
        let engine = linear::engine_for(&x, None);
        self.linear(engine, x, up, Epilogue::NONE)
    }

    fn quantize(&mut self, x: Typed<2>) -> Option<QuantizedRows<Cuda>> {
        quantize::engine_for(&x)?;
        let quantize = Quantize::new(x);
        let rows = quantize.rows();
        self.steps.push(Step::Quantize(Box::new(quantize)));
        Some(rows)
    }

    fn linear(
        &mut self,
        engine: Option<(Arc<Engine>, Element)>,
        x: Typed<2>,
        weight: Stored,
        epilogue: Epilogue<Cuda>,
    ) -> Option<Typed<2>> {
        let (_, element) = engine?;
        let linear = Linear::new(element, x, weight, epilogue);
        let y = typed(linear.y());
        self.steps.push(Step::Linear(Box::new(linear)));
        Some(y)
    }

    fn linear_rounded(
        &mut self,
        x: QuantizedRows<Cuda>,
        weight: Fp8Codes<Cuda>,
        epilogue: Epilogue<Cuda>,
    ) -> Option<Typed<2>> {
        let call = QuantizedLinear {
            x,
            weight,
            epilogue,
        };
        let (_, layer) = linear_quantized::Layer::of(&call)?;
        let linear = LinearRounded::new(layer, call);
        let y = typed(linear.y());
        self.steps.push(Step::Rounded(Box::new(linear)));
        Some(y)
    }

    /// Starts all steps, one after the other.
    fn run(&self, scope: &Scope<'_>) -> Result<(), DriverError> {
        self.steps.iter().try_for_each(|step| match step {
            Step::Norm(norm) => norm.run(scope),
            Step::Quantize(quantize) => quantize.run(scope),
            Step::Linear(linear) => linear.run(scope),
            Step::Rounded(linear) => linear.run(scope),
        })
    }
}
