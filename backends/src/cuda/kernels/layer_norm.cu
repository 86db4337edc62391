// y = (x - mean) / sqrt(variance + eps) * (1 + scale[b]) + shift[b] for each row of
// x [batch, tokens, cols]; shift and scale are [cols] of each batch, at the given strides.
//
// gated_add_layer_norm: the same of sum = residual + gate[b] * x, which it stores too, and which is
// normalised as it is stored. sum may be residual.
//
// ..._quantize: instead of y its E4M3 codes [batch, tokens, cols] and one scale for each row, those
// that fp8_quantize finds for y in bf16. Only in programs for sm_89 and later.
//
// Launch: 128 threads; grid x = ceil(tokens / 4), grid y = batch.

constexpr int LAYER_NORM_WARPS = 4;
// Of a multiprocessor: the registers that this leaves hold two rows in bf16.
constexpr int LAYER_NORM_BLOCKS = 4;

// The operands; those of the batch, where there is one for each.
template <class T>
struct LayerNorm {
    const T* residual;
    const T* x;
    const T* gate;
    T* sum;
    const T* shift;
    const T* scale;
    T* y;
    unsigned char* codes;
    float* scales;
    int cols;
    float eps;
};

__device__ __forceinline__ void modulate(float (&x)[GROUP], float mean, float inverse, const float (&shift)[GROUP],
                                         const float (&scale)[GROUP]) {
#pragma unroll
    for (int e = 0; e < GROUP; ++e) x[e] = fmaf((x[e] - mean) * inverse, 1.0f + scale[e], shift[e]);
}

// Starts to copy [cols] to shared memory, by all threads of the block.
template <class T>
__device__ __forceinline__ void copy_constants(T* target, const T* source, int cols) {
    constexpr int WIDTH = 16 / (int)sizeof(T);
    for (int i = threadIdx.x * WIDTH; i < cols; i += blockDim.x * WIDTH)
        copy_async(shared_address(target + i), source + i, true);
}

// By one warp, for a row that it can hold, all of whose groups are whole and aligned; `row` below 0
// is none. Sums go element by element of the groups, which keeps the chains of additions short.
//
// What the rows of a batch have in common waits in shared memory: the first level of the cache
// would lose it to the rows.
template <class T, bool ADD, bool QUANTIZE>
__device__ __forceinline__ void layer_norm_by_warp(const LayerNorm<T>& n, long long row) {
    constexpr int STEP = 32 * GROUP;
    const int first = threadIdx.x % 32 * GROUP;
    const int cols = row < 0 ? 0 : n.cols;
    const long long at = row * n.cols + first;
    const float count = (float)cols;
    __shared__ alignas(16) T shifts[held_cols(32)];
    __shared__ alignas(16) T scales[held_cols(32)];
    __shared__ alignas(16) T gates[ADD ? held_cols(32) : 8];

    Packed<T> held[ROW_GROUPS];
#pragma unroll
    for (int g = 0; g < ROW_GROUPS; ++g)
        held[g] = load_packed((ADD ? n.residual : n.x) + at + g * STEP, first + g * STEP < cols);
    if (ADD) copy_constants(gates, n.gate, n.cols);
    copy_async_commit();
    copy_constants(shifts, n.shift, n.cols);
    copy_constants(scales, n.scale, n.cols);
    copy_async_commit();
    if (ADD) {
        Packed<T> added[ROW_GROUPS];
#pragma unroll
        for (int g = 0; g < ROW_GROUPS; ++g)
            added[g] = load_packed(n.x + at + g * STEP, first + g * STEP < cols);
        copy_async_wait<1>();
        __syncthreads();
#pragma unroll
        for (int g = 0; g < ROW_GROUPS; ++g) {
            if (first + g * STEP >= cols) continue;
            float r[GROUP], v[GROUP], gate[GROUP];
            load_vector(gates + first + g * STEP, gate);
            unpack(held[g], r);
            unpack(added[g], v);
#pragma unroll
            for (int e = 0; e < GROUP; ++e) r[e] = fmaf(gate[e], v[e], r[e]);
            pack(held[g], r);
        }
#pragma unroll
        for (int g = 0; g < ROW_GROUPS; ++g)
            if (first + g * STEP < cols) store_packed(n.sum + at + g * STEP, held[g]);
    }

    float sums[GROUP] = {};
#pragma unroll
    for (int g = 0; g < ROW_GROUPS; ++g) {
        float v[GROUP];
        unpack(held[g], v);
#pragma unroll
        for (int e = 0; e < GROUP; ++e) sums[e] += v[e];
    }
    const float mean = sum_lanes<32>(sum_group(sums)) / count;
    float squares[GROUP] = {};
#pragma unroll
    for (int g = 0; g < ROW_GROUPS; ++g) {
        float v[GROUP];
        unpack(held[g], v);
        if (first + g * STEP < cols) {
#pragma unroll
            for (int e = 0; e < GROUP; ++e) squares[e] = fmaf(v[e] - mean, v[e] - mean, squares[e]);
        }
    }
    const float inverse = 1.0f / sqrtf(sum_lanes<32>(sum_group(squares)) / count + n.eps);
    copy_async_wait<0>();
    __syncthreads();

    [[maybe_unused]] float largest = 0.0f;
#pragma unroll
    for (int g = 0; g < ROW_GROUPS; ++g) {
        const bool exists = first + g * STEP < cols;
        float v[GROUP], shift[GROUP], scale[GROUP];
        load_vector(shifts + first + g * STEP, shift);
        load_vector(scales + first + g * STEP, scale);
        unpack(held[g], v);
        modulate(v, mean, inverse, shift, scale);
        if (QUANTIZE) {
#if __CUDA_ARCH__ >= 890
            pack(held[g], v);
            unpack(held[g], v);
            if (exists) largest = largest_magnitude(v, largest);
#endif
        } else if (exists) {
            store_vector(n.y + at + g * STEP, v);
        }
    }
#if __CUDA_ARCH__ >= 890
    if (QUANTIZE) {
        const Fp8RowScale by = fp8_row_scale(max_lanes<32>(largest));
        if (first == 0 && row >= 0) n.scales[row] = by.scale;
#pragma unroll
        for (int g = 0; g < ROW_GROUPS; ++g) {
            float v[GROUP];
            unpack(held[g], v);
            if (first + g * STEP < cols) fp8_store_codes(v, by.inverse, n.codes + at + g * STEP, GROUP, true);
        }
    }
#endif
}

// By the whole block, for any row. Each thread comes back to its own elements again and again.
template <class T, bool ADD, bool QUANTIZE>
__device__ __forceinline__ void layer_norm_by_block(const LayerNorm<T>& n, long long row) {
    const int cols = n.cols;
    const long long at = row * cols;
    const T* x = n.x + at;
    const bool x_vector = is_aligned(x, 16);
    const bool sum_vector = ADD && is_aligned(n.sum + at, 16);
    const int step = blockDim.x * GROUP;
    const int first = threadIdx.x * GROUP;
    const float count = (float)cols;

    float sum = 0.0f;
    for (int i = first; i < cols; i += step) {
        float v[GROUP];
        load_some(x + i, cols - i, x_vector, v);
        if (ADD) {
            float r[GROUP], gate[GROUP];
            load_some(n.residual + at + i, cols - i, is_aligned(n.residual + at, 16), r);
            load_some(n.gate + i, cols - i, is_aligned(n.gate, 16), gate);
#pragma unroll
            for (int e = 0; e < GROUP; ++e) r[e] = fmaf(gate[e], v[e], r[e]);
            store_some(n.sum + at + i, cols - i, sum_vector, r);
            load_some(n.sum + at + i, cols - i, sum_vector, v);
        }
#pragma unroll
        for (int e = 0; e < GROUP; ++e) sum += v[e];
    }
    const T* normal = ADD ? n.sum + at : x;
    const bool normal_vector = ADD ? sum_vector : x_vector;
    const float mean = sum_block(sum) / count;
    float squares = 0.0f;
    for (int i = first; i < cols; i += step) {
        float v[GROUP];
        load_some(normal + i, cols - i, normal_vector, v);
#pragma unroll
        for (int e = 0; e < GROUP; ++e) {
            const float d = i + e < cols ? v[e] - mean : 0.0f;
            squares = fmaf(d, d, squares);
        }
    }
    const float inverse = 1.0f / sqrtf(sum_block(squares) / count + n.eps);

    const bool shift_vector = is_aligned(n.shift, 16), scale_vector = is_aligned(n.scale, 16);
    const auto result = [&](int i, float(&v)[GROUP]) {
        float shift[GROUP], scale[GROUP];
        load_some(normal + i, cols - i, normal_vector, v);
        load_some(n.shift + i, cols - i, shift_vector, shift);
        load_some(n.scale + i, cols - i, scale_vector, scale);
        modulate(v, mean, inverse, shift, scale);
    };
    if (!QUANTIZE) {
        const bool y_vector = is_aligned(n.y + at, 16);
        for (int i = first; i < cols; i += step) {
            float v[GROUP];
            result(i, v);
            store_some(n.y + at + i, cols - i, y_vector, v);
        }
        return;
    }
#if __CUDA_ARCH__ >= 890
    const auto rounded = [&](int i, float(&v)[GROUP]) {
        result(i, v);
        Packed<T> group;
        pack(group, v);
        unpack(group, v);
#pragma unroll
        for (int e = 0; e < GROUP; ++e)
            if (i + e >= cols) v[e] = 0.0f;
    };
    float largest = 0.0f;
    for (int i = first; i < cols; i += step) {
        float v[GROUP];
        rounded(i, v);
        largest = largest_magnitude(v, largest);
    }
    const Fp8RowScale by = fp8_row_scale(max_block(largest));
    if (first == 0) n.scales[row] = by.scale;
    const bool codes_vector = is_aligned(n.codes + at, GROUP);
    for (int i = first; i < cols; i += step) {
        float v[GROUP];
        rounded(i, v);
        fp8_store_codes(v, by.inverse, n.codes + at + i, cols - i, codes_vector);
    }
#endif
}

template <class T, bool ADD, bool QUANTIZE>
__device__ __forceinline__ void layer_norm(LayerNorm<T> n, int tokens, long long gate_batch_stride,
                                           long long shift_batch_stride, long long scale_batch_stride) {
    const long long batch = blockIdx.y;
    if (ADD) n.gate += batch * gate_batch_stride;
    n.shift += batch * shift_batch_stride;
    n.scale += batch * scale_batch_stride;
    const bool aligned = n.cols % GROUP == 0 && is_aligned(n.x, 16) && is_aligned(n.shift, 16) &&
                         is_aligned(n.scale, 16) &&
                         (!ADD || (is_aligned(n.residual, 16) && is_aligned(n.gate, 16) && is_aligned(n.sum, 16))) &&
                         (QUANTIZE ? is_aligned(n.codes, GROUP) : is_aligned(n.y, 16));
    const int token = blockIdx.x * LAYER_NORM_WARPS;
    if (aligned && n.cols <= held_cols(32)) {
        const int own = token + threadIdx.x / 32;
        layer_norm_by_warp<T, ADD, QUANTIZE>(n, own < tokens ? batch * tokens + own : -1);
        return;
    }
    for (int own = token; own < min(token + LAYER_NORM_WARPS, tokens); ++own)
        layer_norm_by_block<T, ADD, QUANTIZE>(n, batch * tokens + own);
}

extern "C" __global__ void __launch_bounds__(32 * LAYER_NORM_WARPS, LAYER_NORM_BLOCKS)
    layer_norm_modulate_bf16(const bf16* x, const bf16* shift, const bf16* scale, bf16* y, int cols, int tokens,
                             long long shift_batch_stride, long long scale_batch_stride, float eps) {
    const LayerNorm<bf16> n{nullptr, x, nullptr, nullptr, shift, scale, y, nullptr, nullptr, cols, eps};
    layer_norm<bf16, false, false>(n, tokens, 0, shift_batch_stride, scale_batch_stride);
}

extern "C" __global__ void __launch_bounds__(32 * LAYER_NORM_WARPS)
    layer_norm_modulate_f32(const float* x, const float* shift, const float* scale, float* y, int cols, int tokens,
                            long long shift_batch_stride, long long scale_batch_stride, float eps) {
    const LayerNorm<float> n{nullptr, x, nullptr, nullptr, shift, scale, y, nullptr, nullptr, cols, eps};
    layer_norm<float, false, false>(n, tokens, 0, shift_batch_stride, scale_batch_stride);
}

extern "C" __global__ void __launch_bounds__(32 * LAYER_NORM_WARPS, LAYER_NORM_BLOCKS)
    gated_add_layer_norm_bf16(const bf16* residual, const bf16* x, const bf16* gate, const bf16* shift,
                              const bf16* scale, bf16* sum, bf16* y, int cols, int tokens, long long gate_batch_stride,
                              long long shift_batch_stride, long long scale_batch_stride, float eps) {
    const LayerNorm<bf16> n{residual, x, gate, sum, shift, scale, y, nullptr, nullptr, cols, eps};
    layer_norm<bf16, true, false>(n, tokens, gate_batch_stride, shift_batch_stride, scale_batch_stride);
}

extern "C" __global__ void __launch_bounds__(32 * LAYER_NORM_WARPS)
    gated_add_layer_norm_f32(const float* residual, const float* x, const float* gate, const float* shift,
                             const float* scale, float* sum, float* y, int cols, int tokens,
                             long long gate_batch_stride, long long shift_batch_stride, long long scale_batch_stride,
                             float eps) {
    const LayerNorm<float> n{residual, x, gate, sum, shift, scale, y, nullptr, nullptr, cols, eps};
    layer_norm<float, true, false>(n, tokens, gate_batch_stride, shift_batch_stride, scale_batch_stride);
}

#if __CUDA_ARCH__ >= 890

extern "C" __global__ void __launch_bounds__(32 * LAYER_NORM_WARPS, LAYER_NORM_BLOCKS)
    layer_norm_modulate_quantize_bf16(const bf16* x, const bf16* shift, const bf16* scale, unsigned char* codes,
                                      float* scales, int cols, int tokens, long long shift_batch_stride,
                                      long long scale_batch_stride, float eps) {
    const LayerNorm<bf16> n{nullptr, x, nullptr, nullptr, shift, scale, nullptr, codes, scales, cols, eps};
    layer_norm<bf16, false, true>(n, tokens, 0, shift_batch_stride, scale_batch_stride);
}

extern "C" __global__ void __launch_bounds__(32 * LAYER_NORM_WARPS, LAYER_NORM_BLOCKS)
    gated_add_layer_norm_quantize_bf16(const bf16* residual, const bf16* x, const bf16* gate, const bf16* shift,
                                       const bf16* scale, bf16* sum, unsigned char* codes, float* scales, int cols,
                                       int tokens, long long gate_batch_stride, long long shift_batch_stride,
                                       long long scale_batch_stride, float eps) {
    const LayerNorm<bf16> n{residual, x, gate, sum, shift, scale, nullptr, codes, scales, cols, eps};
    layer_norm<bf16, true, true>(n, tokens, gate_batch_stride, shift_batch_stride, scale_batch_stride);
}

#endif
