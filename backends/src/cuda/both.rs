//! Two linear layers at the same time.

use std::sync::Arc;

use burn::tensor::ops::FloatTensor;
use burn_cubecl::cubecl::server::Handle;
use burn_cuda::Cuda;
use cudarc::driver::DriverError;

use super::engine::{Engine, Scope};
use super::linear::{Linear, Stored};
use super::rounded::{Input, LinearRounded, Room};
use super::tensor::Tensor;
use crate::fp8::{Epilogue, Fp8Codes, LinearCall};

/// See [`Fp8Ops::linear_both`](crate::fp8::Fp8Ops::linear_both): the one with fewer rows runs beside the
/// other. What cannot be started as it is, is computed by itself.
pub(super) fn linear_both(calls: [LinearCall<Cuda>; 2]) -> [FloatTensor<Cuda>; 2] {
    let [Some((engine, first)), Some((_, second))] = calls.clone().map(Ready::new) else {
        return calls.map(LinearCall::compute);
    };
    let [first_y, second_y] = engine.run(&first.tensor().client, |scope| {
        let [y, z] = [&first, &second].map(|ready| ready.take(scope));
        let (y_done, z_done) = if first.rows() < second.rows() {
            let y_done = scope.beside(|| first.run(scope, &y))?;
            (y_done, second.run(scope, &z)?)
        } else {
            let z_done = scope.beside(|| second.run(scope, &z))?;
            (first.run(scope, &y)?, z_done)
        };
        // An input's codes give their memory back after this, when all work is in its order.
        Ok([(y, y_done), (z, z_done)])
    });
    let [first_call, second_call] = calls;
    let of = |ready: Ready, (room, done): (Room, bool), call: LinearCall<Cuda>| match done {
        true => ready.result(room.y),
        false => call.compute(),
    };
    [
        of(first, first_y, first_call),
        of(second, second_y, second_call),
    ]
}

/// A layer that can be started.
enum Ready {
    Exact(Box<Linear>),
    Rounded(Box<LinearRounded>),
}

impl Ready {
    fn new(call: LinearCall<Cuda>) -> Option<(Arc<Engine>, Self)> {
        let exact = |(engine, linear)| (engine, Self::Exact(Box::new(linear)));
        match call {
            LinearCall::Dense {
                x,
                weight,
                epilogue,
            } => Linear::new(x, Stored::Dense(weight), epilogue).map(exact),
            LinearCall::Fp8 {
                x,
                weight,
                epilogue,
            } => {
                let Fp8Codes {
                    codes,
                    scale,
                    format,
                } = weight;
                let scale = Box::new(scale);
                let stored = Stored::Fp8 {
                    codes,
                    scale,
                    format,
                };
                Linear::new(x, stored, epilogue).map(exact)
            }
            LinearCall::Rounding {
                x,
                weight,
                epilogue,
            } => Self::rounded(Input::rounding(x)?, weight, epilogue),
            LinearCall::Rounded {
                x,
                weight,
                epilogue,
            } => Self::rounded(Input::of(x)?, weight, epilogue),
        }
    }

    fn rounded(
        input: Input,
        weight: Fp8Codes<Cuda>,
        epilogue: Epilogue<Cuda>,
    ) -> Option<(Arc<Engine>, Self)> {
        let weight = (weight.codes, weight.scale, weight.format);
        let (engine, linear) = LinearRounded::new(input, weight, epilogue)?;
        Some((engine, Self::Rounded(Box::new(linear))))
    }

    /// One of its inputs.
    fn tensor(&self) -> &Tensor {
        match self {
            Self::Exact(linear) => linear.x(),
            Self::Rounded(linear) => linear.tensor(),
        }
    }

    fn take(&self, scope: &Scope<'_>) -> Room {
        match self {
            Self::Exact(linear) => Room {
                y: scope.empty(linear.bytes()),
                rounded: None,
            },
            Self::Rounded(linear) => linear.take(scope),
        }
    }

    fn rows(&self) -> usize {
        match self {
            Self::Exact(linear) => linear.rows(),
            Self::Rounded(linear) => linear.rows(),
        }
    }

    /// In memory that it has taken.
    fn run(&self, scope: &Scope<'_>, room: &Room) -> Result<bool, DriverError> {
        match self {
            Self::Exact(linear) => linear.run(scope, &room.y),
            Self::Rounded(linear) => linear.run(scope, room),
        }
    }

    fn result(&self, y: Handle) -> Tensor {
        match self {
            Self::Exact(linear) => linear.result(y),
            Self::Rounded(linear) => linear.result(y),
        }
    }
}
