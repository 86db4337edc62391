//! Tensors one after the other, by copies of whole blocks.

use super::engine::Engine;
use super::tensor::{Tensor, contiguous, over};

/// The parts along a dimension before which there is none of more than one element; `None` if
/// there is, since a part would not be one block of the result then.
pub(super) fn concatenate(parts: &[Tensor], dim: usize) -> Option<Tensor> {
    let first = parts.first()?;
    let engine = Engine::of(&first.device).ok()?;
    let mut shape = first.meta.shape().clone();
    if (0..dim).any(|axis| shape[axis] != 1) || parts.iter().any(|part| part.dtype != first.dtype) {
        return None;
    }
    shape[dim] = parts.iter().map(|part| part.meta.shape()[dim]).sum();
    let parts: Vec<Tensor> = parts.iter().cloned().map(contiguous).collect();
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
    Some(over(first, y, shape.clone(), first.dtype))
}
