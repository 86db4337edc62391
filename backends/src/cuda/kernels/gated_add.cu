// y = residual + gate[b] * x for tensors [batch, tokens, cols]; gate is [cols] of each batch, at
// the given stride. y may be residual or x.
//
// Launch: grid x = batch * tokens; any number of threads (128 suit 3072 columns).

template <class T>
__device__ __forceinline__ void gated_add(const T* residual, const T* x, const T* gate, T* y, int cols, int tokens,
                                          long long gate_batch_stride) {
    const long long row = blockIdx.x;
    residual += row * cols;
    x += row * cols;
    y += row * cols;
    gate += row / tokens * gate_batch_stride;
    const bool residual_vector = is_aligned(residual, 16), x_vector = is_aligned(x, 16);
    const bool gate_vector = is_aligned(gate, 16), y_vector = is_aligned(y, 16);
    for (int i = threadIdx.x * GROUP; i < cols; i += blockDim.x * GROUP) {
        const int left = cols - i;
        float r[GROUP], v[GROUP], g[GROUP];
        load_some(residual + i, left, residual_vector, r);
        load_some(x + i, left, x_vector, v);
        load_some(gate + i, left, gate_vector, g);
#pragma unroll
        for (int e = 0; e < GROUP; ++e) r[e] = fmaf(g[e], v[e], r[e]);
        store_some(y + i, left, y_vector, r);
    }
}

extern "C" __global__ void gated_add_bf16(const bf16* residual, const bf16* x, const bf16* gate, bf16* y, int cols,
                                          int tokens, long long gate_batch_stride) {
    gated_add(residual, x, gate, y, cols, tokens, gate_batch_stride);
}

extern "C" __global__ void gated_add_f32(const float* residual, const float* x, const float* gate, float* y, int cols,
                                         int tokens, long long gate_batch_stride) {
    gated_add(residual, x, gate, y, cols, tokens, gate_batch_stride);
}
