// y = (x - mean) / sqrt(variance + eps) * (1 + scale[b]) + shift[b] for each row of
// x [batch, tokens, cols]; shift and scale are [cols] of each batch, at the given strides.
//
// Launch: grid x = batch * tokens; 128 threads where cols <= 4096, else 256 (any whole number of
// warps is right; a row of up to 32 elements a thread is read once).

constexpr int LAYER_NORM_GROUPS = 4;

// Normalised elements of one group, modulated and stored.
template <class T>
__device__ __forceinline__ void layer_norm_store(const float (&x)[GROUP], float mean, float inverse, const T* shift,
                                                 const T* scale, bool modulation_vector, T* y, int left,
                                                 bool y_vector) {
    float add[GROUP], multiply[GROUP], out[GROUP];
    load_some(shift, left, modulation_vector, add);
    load_some(scale, left, modulation_vector, multiply);
#pragma unroll
    for (int e = 0; e < GROUP; ++e) out[e] = (x[e] - mean) * inverse * (1.0f + multiply[e]) + add[e];
    store_some(y, left, y_vector, out);
}

template <class T>
__device__ __forceinline__ void layer_norm_modulate(const T* x, const T* shift, const T* scale, T* y, int cols,
                                                    int tokens, long long shift_batch_stride,
                                                    long long scale_batch_stride, float eps) {
    const long long row = blockIdx.x;
    const long long batch = row / tokens;
    x += row * cols;
    y += row * cols;
    shift += batch * shift_batch_stride;
    scale += batch * scale_batch_stride;
    const bool x_vector = is_aligned(x, 16);
    const bool y_vector = is_aligned(y, 16);
    const bool modulation_vector = is_aligned(shift, 16) && is_aligned(scale, 16);
    const int step = blockDim.x * GROUP;
    const int first = threadIdx.x * GROUP;
    const float count = (float)cols;

    if (cols <= LAYER_NORM_GROUPS * step) {
        float held[LAYER_NORM_GROUPS][GROUP];
        float sum = 0.0f;
#pragma unroll
        for (int g = 0; g < LAYER_NORM_GROUPS; ++g) {
            load_some(x + first + g * step, cols - first - g * step, x_vector, held[g]);
#pragma unroll
            for (int e = 0; e < GROUP; ++e) sum += held[g][e];
        }
        const float mean = sum_block(sum) / count;
        float squares = 0.0f;
#pragma unroll
        for (int g = 0; g < LAYER_NORM_GROUPS; ++g) {
#pragma unroll
            for (int e = 0; e < GROUP; ++e) {
                const float d = first + g * step + e < cols ? held[g][e] - mean : 0.0f;
                squares = fmaf(d, d, squares);
            }
        }
        const float inverse = 1.0f / sqrtf(sum_block(squares) / count + eps);
#pragma unroll
        for (int g = 0; g < LAYER_NORM_GROUPS; ++g) {
            const int i = first + g * step;
            if (i < cols)
                layer_norm_store(held[g], mean, inverse, shift + i, scale + i, modulation_vector, y + i, cols - i,
                                 y_vector);
        }
        return;
    }

    float sum = 0.0f;
    for (int i = first; i < cols; i += step) {
        float v[GROUP];
        load_some(x + i, cols - i, x_vector, v);
#pragma unroll
        for (int e = 0; e < GROUP; ++e) sum += v[e];
    }
    const float mean = sum_block(sum) / count;
    float squares = 0.0f;
    for (int i = first; i < cols; i += step) {
        float v[GROUP];
        load_some(x + i, cols - i, x_vector, v);
#pragma unroll
        for (int e = 0; e < GROUP; ++e) {
            const float d = i + e < cols ? v[e] - mean : 0.0f;
            squares = fmaf(d, d, squares);
        }
    }
    const float inverse = 1.0f / sqrtf(sum_block(squares) / count + eps);
    for (int i = first; i < cols; i += step) {
        float v[GROUP];
        load_some(x + i, cols - i, x_vector, v);
        layer_norm_store(v, mean, inverse, shift + i, scale + i, modulation_vector, y + i, cols - i, y_vector);
    }
}

extern "C" __global__ void layer_norm_modulate_bf16(const bf16* x, const bf16* shift, const bf16* scale, bf16* y,
                                                    int cols, int tokens, long long shift_batch_stride,
                                                    long long scale_batch_stride, float eps) {
    layer_norm_modulate(x, shift, scale, y, cols, tokens, shift_batch_stride, scale_batch_stride, eps);
}

extern "C" __global__ void layer_norm_modulate_f32(const float* x, const float* shift, const float* scale, float* y,
                                                   int cols, int tokens, long long shift_batch_stride,
                                                   long long scale_batch_stride, float eps) {
    layer_norm_modulate(x, shift, scale, y, cols, tokens, shift_batch_stride, scale_batch_stride, eps);
}
