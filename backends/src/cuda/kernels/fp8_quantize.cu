// Quantizes activations to E4M3, each row by a scale of its own, for products on FP8 tensor cores.
//
// scales[row] = max |x[row]| / 448 (1 for a row of zeros or nearly so), codes[row] = x[row] / scales[row].
//
// Launch: 128 threads; grid x = ceil(rows / 4) where cols <= 3072, else rows. Only in programs for
// sm_89 and later.

#if __CUDA_ARCH__ >= 890

constexpr int FP8_QUANTIZE_WARPS = 4;

// The largest value over the THREADS threads that share a row: a warp's or a block's.
template <int THREADS>
__device__ __forceinline__ float max_row(float value) {
    return THREADS == 32 ? max_lanes<32>(value) : max_block(value);
}

// A row by THREADS threads: held, where it is aligned and they can hold it, else read twice.
template <int THREADS>
__device__ __forceinline__ void fp8_quantize_row(const bf16* x, unsigned char* codes, float* scale, int cols) {
    constexpr int STEP = THREADS * GROUP;
    const int first = (int)threadIdx.x % THREADS * GROUP;
    const bool x_vector = is_aligned(x, 16);
    const bool codes_vector = is_aligned(codes, GROUP);
    float largest = 0.0f;

    if (cols <= held_cols(THREADS) && cols % GROUP == 0 && x_vector && codes_vector) {
        Packed<bf16> held[ROW_GROUPS];
#pragma unroll
        for (int g = 0; g < ROW_GROUPS; ++g) held[g] = load_packed(x + first + g * STEP, first + g * STEP < cols);
#pragma unroll
        for (int g = 0; g < ROW_GROUPS; ++g) {
            float v[GROUP];
            unpack(held[g], v);
            largest = largest_magnitude(v, largest);
        }
        const Fp8RowScale by = fp8_row_scale(max_row<THREADS>(largest));
        if (first == 0) *scale = by.scale;
#pragma unroll
        for (int g = 0; g < ROW_GROUPS; ++g) {
            float v[GROUP];
            unpack(held[g], v);
            if (first + g * STEP < cols) fp8_store_codes(v, by.inverse, codes + first + g * STEP, GROUP, true);
        }
        return;
    }

    for (int i = first; i < cols; i += STEP) {
        float v[GROUP];
        load_some(x + i, cols - i, x_vector, v);
        largest = largest_magnitude(v, largest);
    }
    const Fp8RowScale by = fp8_row_scale(max_row<THREADS>(largest));
    if (first == 0) *scale = by.scale;
    for (int i = first; i < cols; i += STEP) {
        float v[GROUP];
        load_some(x + i, cols - i, x_vector, v);
        fp8_store_codes(v, by.inverse, codes + i, cols - i, codes_vector);
    }
}

extern "C" __global__ void __launch_bounds__(32 * FP8_QUANTIZE_WARPS, 4)
    fp8_quantize_bf16(const bf16* x, unsigned char* codes, float* scales, int rows, int cols) {
    if (cols <= held_cols(32)) {
        const long long row = (long long)blockIdx.x * FP8_QUANTIZE_WARPS + threadIdx.x / 32;
        if (row < rows) fp8_quantize_row<32>(x + row * cols, codes + row * cols, scales + row, cols);
    } else {
        const long long row = blockIdx.x;
        fp8_quantize_row<32 * FP8_QUANTIZE_WARPS>(x + row * cols, codes + row * cols, scales + row, cols);
    }
}

#endif

// y = activation(y * scales[row] + bias), in place, where a product cannot scale its rows itself.
// `gelu`: 0 is none, 1 the tanh form of GELU.
//
// Launch: 256 threads, any grid; ceil(n / 2048) blocks leave one group of 8 to each thread.
extern "C" __global__ void scale_rows_bf16(bf16* y, const float* scales, const bf16* bias, long long rows, int cols,
                                           int gelu) {
    const bool vector = cols % GROUP == 0 && is_aligned(y, 16);
    const int groups = (cols + GROUP - 1) / GROUP;
    const long long all = rows * groups;
    for (long long i = (long long)blockIdx.x * blockDim.x + threadIdx.x; i < all; i += (long long)gridDim.x * blockDim.x) {
        const long long row = i / groups;
        const int at = (int)(i - row * groups) * GROUP;
        bf16* to = y + row * cols + at;
        const float scale = scales[row];
        float v[GROUP];
        load_some(to, cols - at, vector, v);
#pragma unroll
        for (int e = 0; e < GROUP; ++e) {
            v[e] *= scale;
            if (bias != nullptr && at + e < cols) v[e] += load(bias + at + e);
            if (gelu != 0) v[e] = gelu_tanh(y, v[e]);
        }
        store_some(to, cols - at, vector, v);
    }
}
