//! Two streams of layers at the same time.

use std::sync::Arc;

use burn_cubecl::cubecl::cuda::CudaRuntime;
use burn_cubecl::cubecl::prelude::ComputeClient;
use burn_cuda::Cuda;
use cudarc::driver::DriverError;

use super::engine::{Engine, Scope};
use super::layer_norm::Norm;
use super::linear::{Linear, Stored};
use super::round::Round;
use super::rounded::LinearRounded;
use super::tensor::{Tensor, dims, over};
use crate::fp8::{
    Activations, Chain, ChainCall, Epilogue, Fp8Codes, Layer, LayerWeight, NormCall, Output,
    RoundedRows, StreamCall, StreamResult, Update,
};
use crate::low_rank::LowRank;

/// See [`Fp8Ops::streams`](crate::fp8::Fp8Ops::streams): all of both is one run, one beside the other. Where
/// our kernels and cuBLASLt do not know all of it, each is computed by itself.
pub(super) fn streams<const N: usize>(
    calls: [StreamCall<Cuda, N>; 2],
) -> [StreamResult<Cuda, N>; 2] {
    let [Some((first, first_result)), Some((second, second_result))] = calls.clone().map(Plan::new)
    else {
        return calls.map(StreamCall::compute);
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
    [first_result, second_result]
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
    Round(Box<Round>),
    Linear(Box<Linear>),
    Rounded(Box<LinearRounded>),
}

impl Plan {
    /// With the places of its results; `None` where a step is not known.
    fn new<const N: usize>(call: StreamCall<Cuda, N>) -> Option<(Self, StreamResult<Cuda, N>)> {
        let takes_rounded = call.takes_rounded();
        let norm = call.norm;
        let [batch, tokens, _]: [usize; 3] = dims(&norm.x);
        let mut plan = Self {
            engine: Engine::of(&norm.x.device).ok()?,
            client: norm.x.client.clone(),
            rows: batch * tokens,
            steps: vec![],
        };
        let (sum, x) = plan.norm(norm, takes_rounded)?;
        let outputs: Option<Vec<Tensor>> = call
            .chains
            .into_iter()
            .map(|chain| plan.chain(x.clone(), chain))
            .collect();
        let outputs = outputs?.try_into().ok()?;
        Some((plan, StreamResult { sum, outputs }))
    }

    /// Where the sum and the normalised tokens will be.
    fn norm(&mut self, call: NormCall<Cuda>, rounded: bool) -> Option<(Tensor, Activations<Cuda>)> {
        let update = match call.update {
            None => None,
            Some(Update { gate, output }) => {
                let output = match output {
                    Output::Known(output) => output,
                    Output::Of(ChainCall { x, chain }) => {
                        let y = self.chain(x, chain)?;
                        // Only what is there already could be converted.
                        if y.dtype != call.x.dtype {
                            return None;
                        }
                        let shape = call.x.meta.shape().clone();
                        over(&y, y.handle.clone(), shape, y.dtype)
                    }
                };
                let output = Output::Known(output);
                Some(Update { gate, output })
            }
        };
        let (_, norm) = Norm::new(NormCall { update, ..call }, rounded)?;
        let results = (norm.sum(), norm.y());
        self.steps.push(Step::Norm(Box::new(norm)));
        Some(results)
    }

    fn chain(&mut self, x: Activations<Cuda>, chain: Chain<Cuda>) -> Option<Tensor> {
        let mut layers = chain.into_layers();
        let y = self.layer(x, layers.next()?)?;
        layers.try_fold(y, |y, layer| self.layer(Activations::Exact(y), layer))
    }

    fn layer(&mut self, x: Activations<Cuda>, layer: Layer<Cuda>) -> Option<Tensor> {
        let addend = match (&x, layer.adapter) {
            (_, None) => None,
            (Activations::Exact(x), Some(adapter)) => Some(self.adapter(x.clone(), adapter)?),
            (Activations::Rounded(_), Some(_)) => return None,
        };
        let epilogue = Epilogue {
            bias: layer.bias,
            addend,
            activation: layer.activation,
        };
        match (layer.weight, x) {
            (LayerWeight::Dense(weight), Activations::Exact(x)) => {
                self.linear(x, Stored::Dense(weight), epilogue)
            }
            (LayerWeight::Fp8(weight), Activations::Exact(x)) => {
                self.linear(x, Stored::from(weight), epilogue)
            }
            (LayerWeight::Rounding(weight), Activations::Rounded(x)) => {
                self.linear_rounded(x, weight, epilogue)
            }
            (LayerWeight::Rounding(weight), Activations::Exact(x)) => {
                let x = self.round(x)?;
                self.linear_rounded(x, weight, epilogue)
            }
            (_, Activations::Rounded(_)) => None,
        }
    }

    fn adapter(&mut self, x: Tensor, adapter: LowRank<Cuda>) -> Option<Tensor> {
        let [down, up] = [adapter.down, adapter.up]
            .map(|matrix| Stored::Dense(matrix.into_primitive().tensor()));
        let x = self.linear(x, down, Epilogue::NONE)?;
        self.linear(x, up, Epilogue::NONE)
    }

    fn round(&mut self, x: Tensor) -> Option<RoundedRows<Cuda>> {
        let (_, round) = Round::new(x)?;
        let rows = round.rows();
        self.steps.push(Step::Round(Box::new(round)));
        Some(rows)
    }

    fn linear(&mut self, x: Tensor, weight: Stored, epilogue: Epilogue<Cuda>) -> Option<Tensor> {
        let (_, linear) = Linear::new(x, weight, epilogue)?;
        let y = linear.y();
        self.steps.push(Step::Linear(Box::new(linear)));
        Some(y)
    }

    fn linear_rounded(
        &mut self,
        x: RoundedRows<Cuda>,
        weight: Fp8Codes<Cuda>,
        epilogue: Epilogue<Cuda>,
    ) -> Option<Tensor> {
        let (_, linear) = LinearRounded::new(x, weight, epilogue)?;
        let y = linear.y();
        self.steps.push(Step::Rounded(Box::new(linear)));
        Some(y)
    }

    /// Starts all steps, one after the other.
    fn run(&self, scope: &Scope<'_>) -> Result<(), DriverError> {
        self.steps.iter().try_for_each(|step| match step {
            Step::Norm(norm) => norm.run(scope),
            Step::Round(round) => round.run(scope),
            Step::Linear(linear) => linear.run(scope),
            Step::Rounded(linear) => linear.run(scope),
        })
    }
}
