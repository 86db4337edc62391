//! Tensors one after the other, by copies of whole blocks.

use burn_cuda::Cuda;

use crate::cuda::engine::Engine;
use crate::cuda::tensor::{Tensor, Typed, contiguous, over, raw, typed};
use crate::kernels::Concatenate;

/// Copies each part to its place. A part is one block of the result only where no dimension
/// before the joined one has more than one element.
pub(super) fn concatenate<const D: usize>(
    call: Concatenate<Cuda, D>,
) -> Result<Typed<D>, Concatenate<Cuda, D>> {
    let Some(engine) = engine_for(&call) else {
        return Err(call);
    };
    let Concatenate { parts, dim } = call;
    let parts: Vec<Tensor> = parts
        .into_iter()
        .map(|part| contiguous(raw(part)))
        .collect();
    let first = &parts[0];
    let mut shape = first.meta.shape().clone();
    shape[dim] = parts.iter().map(|part| part.meta.shape()[dim]).sum();
    let size = first.dtype.size();
    let y = engine.run(&first.client, |scope| {
        let y = scope.empty(shape.num_elements() * size);
        let mut offset = 0;
        for part in &parts {
            let bytes = part.meta.shape().num_elements() * size;
            let target = scope.pointer(&y) + offset;
            scope.copy(scope.pointer(&part.handle), target, bytes)?;
            offset += bytes as u64;
        }
        Ok(y)
    });
    Ok(typed(over(first, y, shape, first.dtype)))
}

/// The engine that can copy the parts; `None` where a part is not one block of the result.
fn engine_for<const D: usize>(call: &Concatenate<Cuda, D>) -> Option<std::sync::Arc<Engine>> {
    let first = call.parts.first()?;
    let shape = first.dims();
    let alike = call.parts.iter().all(|part| part.dtype() == first.dtype());
    let in_blocks = shape[..call.dim].iter().all(|&size| size == 1);
    (alike && in_blocks)
        .then(|| Engine::of(&first.device()).ok())
        .flatten()
}
