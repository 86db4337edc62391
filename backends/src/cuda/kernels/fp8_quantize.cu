// Rounds activations to E4M3, each row by a scale of its own, for products on FP8 tensor cores; and
// what else such a product needs: the weight's scale once for each output, and the bias in bf16.
//
// scales[row] = max |x[row]| / 448 (1 for a row of zeros or nearly so), codes[row] = x[row] / scales[row].
//
// Launch: grid x = rows; any whole number of warps, at most 512 threads. ceil(cols / 8) threads, if
// those are enough, read a row once. Only in programs for sm_89 and later.

#if __CUDA_ARCH__ >= 890

constexpr float FP8_LARGEST = 448.0f;
// Smaller numbers have no inverse that f32 can hold beside such a factor: they count as 0.
constexpr float FP8_LEAST = 1e-30f;

// Codes of a group of numbers that are already divided by their scale.
__device__ __forceinline__ void fp8_quantize_store(const float (&v)[GROUP], unsigned char* codes, int left,
                                                   bool vector) {
    if (vector && left >= GROUP) {
        const unsigned int low = e4m3_pair(v[0], v[1]) | e4m3_pair(v[2], v[3]) << 16;
        const unsigned int high = e4m3_pair(v[4], v[5]) | e4m3_pair(v[6], v[7]) << 16;
        *(uint2*)codes = make_uint2(low, high);
    } else {
#pragma unroll
        for (int e = 0; e < GROUP; ++e)
            if (e < left) codes[e] = (unsigned char)e4m3_pair(v[e], 0.0f);
    }
}

extern "C" __global__ void __launch_bounds__(512)
    fp8_quantize_bf16(const bf16* x, unsigned char* codes, float* scales, int cols, const float* weight_scale,
                      float* weight_scales, const float* bias, bf16* narrow_bias, int outputs) {
    const int step = blockDim.x * GROUP;
    const int first = threadIdx.x * GROUP;
    const long long row = blockIdx.x;
    x += row * cols;
    codes += row * cols;
    const bool x_vector = is_aligned(x, 16);
    const bool codes_vector = is_aligned(codes, GROUP);
    float held[GROUP];
    load_some(x + first, cols - first, x_vector, held);

    for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < outputs; i += gridDim.x * blockDim.x) {
        weight_scales[i] = *weight_scale;
        if (bias != nullptr) store(narrow_bias + i, bias[i]);
    }

    float largest = 0.0f;
#pragma unroll
    for (int e = 0; e < GROUP; ++e) largest = fmaxf(largest, fabsf(held[e]));
    for (int at = first + step; at < cols; at += step) {
        float v[GROUP];
        load_some(x + at, cols - at, x_vector, v);
#pragma unroll
        for (int e = 0; e < GROUP; ++e) largest = fmaxf(largest, fabsf(v[e]));
    }
    largest = max_block(largest);
    const bool empty = largest < FP8_LEAST;
    const float inverse = empty ? 1.0f : FP8_LARGEST / largest;
    if (threadIdx.x == 0) scales[row] = empty ? 1.0f : largest / FP8_LARGEST;

#pragma unroll
    for (int e = 0; e < GROUP; ++e) held[e] *= inverse;
    fp8_quantize_store(held, codes + first, cols - first, codes_vector);
    for (int at = first + step; at < cols; at += step) {
        float v[GROUP];
        load_some(x + at, cols - at, x_vector, v);
#pragma unroll
        for (int e = 0; e < GROUP; ++e) v[e] *= inverse;
        fp8_quantize_store(v, codes + at, cols - at, codes_vector);
    }
}

#endif

// y = activation(y * scales[row] + bias), in place, where a product cannot scale its rows itself.
// `gelu`: 0 is none, 1 the tanh form of GELU.
//
// Launch: 256 threads, any grid; ceil(n / 2048) blocks leave one group of 8 to each thread.
extern "C" __global__ void scale_rows_bf16(bf16* y, const float* scales, const float* bias, long long rows, int cols,
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
            if (bias != nullptr && at + e < cols) v[e] += bias[at + e];
            if (gelu != 0) v[e] = gelu_tanh(y, v[e]);
        }
        store_some(to, cols - at, vector, v);
    }
}
