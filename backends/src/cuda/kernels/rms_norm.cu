// y = x / sqrt(mean(x^2) + eps) * w for each of `rows` rows of `cols`.
//
// Launch: 256 threads, any grid. Blocks that leave no row for a second turn: for cols <= 64
// ceil(rows / 32), for cols <= 128 ceil(rows / 16), for cols <= 1024 ceil(rows / 8), else `rows`.

constexpr int RMS_NORM_THREADS = 256;
constexpr int RMS_NORM_GROUPS = 4;

template <class T>
__device__ __forceinline__ void rms_norm_store(const float (&x)[GROUP], float inverse, const float* w, bool w_vector,
                                               T* y, int left, bool y_vector) {
    float weight[GROUP], out[GROUP];
    load_some(w, left, w_vector, weight);
#pragma unroll
    for (int e = 0; e < GROUP; ++e) out[e] = x[e] * inverse * weight[e];
    store_some(y, left, y_vector, out);
}

// LANES lanes of a warp to each row, GROUPS groups to each lane.
template <class T, int LANES, int GROUPS>
__device__ __forceinline__ void rms_norm_by_lanes(const T* x, const float* w, T* y, long long rows, int cols,
                                                  float eps) {
    constexpr int ROWS = RMS_NORM_THREADS / LANES;
    const int lane = threadIdx.x % LANES;
    const bool w_vector = is_aligned(w, 16);
    for (long long base = (long long)blockIdx.x * ROWS; base < rows; base += (long long)gridDim.x * ROWS) {
        // All lanes of the warp stay for the sums, those without a row too.
        const long long row = base + threadIdx.x / LANES;
        const int width = row < rows ? cols : 0;
        const T* from = x + row * cols;
        const bool x_vector = is_aligned(from, 16);
        float held[GROUPS][GROUP];
        float squares = 0.0f;
#pragma unroll
        for (int g = 0; g < GROUPS; ++g) {
            const int i = (g * LANES + lane) * GROUP;
            load_some(from + i, width - i, x_vector, held[g]);
#pragma unroll
            for (int e = 0; e < GROUP; ++e) squares = fmaf(held[g][e], held[g][e], squares);
        }
        const float inverse = 1.0f / sqrtf(sum_lanes<LANES>(squares) / (float)cols + eps);
        T* to = y + row * cols;
        const bool y_vector = is_aligned(to, 16);
#pragma unroll
        for (int g = 0; g < GROUPS; ++g) {
            const int i = (g * LANES + lane) * GROUP;
            if (i < width) rms_norm_store(held[g], inverse, w + i, w_vector, to + i, width - i, y_vector);
        }
    }
}

// The whole block to each row; a row of up to 32 elements a thread is read once.
template <class T>
__device__ __forceinline__ void rms_norm_by_block(const T* x, const float* w, T* y, long long rows, int cols,
                                                  float eps) {
    constexpr int STEP = RMS_NORM_THREADS * GROUP;
    const int first = threadIdx.x * GROUP;
    const bool w_vector = is_aligned(w, 16);
    for (long long row = blockIdx.x; row < rows; row += gridDim.x) {
        const T* from = x + row * cols;
        T* to = y + row * cols;
        const bool x_vector = is_aligned(from, 16);
        const bool y_vector = is_aligned(to, 16);
        float held[RMS_NORM_GROUPS][GROUP];
        float squares = 0.0f;
#pragma unroll
        for (int g = 0; g < RMS_NORM_GROUPS; ++g) {
            load_some(from + first + g * STEP, cols - first - g * STEP, x_vector, held[g]);
#pragma unroll
            for (int e = 0; e < GROUP; ++e) squares = fmaf(held[g][e], held[g][e], squares);
        }
        for (int i = first + RMS_NORM_GROUPS * STEP; i < cols; i += STEP) {
            float v[GROUP];
            load_some(from + i, cols - i, x_vector, v);
#pragma unroll
            for (int e = 0; e < GROUP; ++e) squares = fmaf(v[e], v[e], squares);
        }
        const float inverse = 1.0f / sqrtf(sum_block(squares) / (float)cols + eps);
#pragma unroll
        for (int g = 0; g < RMS_NORM_GROUPS; ++g) {
            const int i = first + g * STEP;
            if (i < cols) rms_norm_store(held[g], inverse, w + i, w_vector, to + i, cols - i, y_vector);
        }
        for (int i = first + RMS_NORM_GROUPS * STEP; i < cols; i += STEP) {
            float v[GROUP];
            load_some(from + i, cols - i, x_vector, v);
            rms_norm_store(v, inverse, w + i, w_vector, to + i, cols - i, y_vector);
        }
    }
}

template <class T>
__device__ __forceinline__ void rms_norm(const T* x, const float* w, T* y, long long rows, int cols, float eps) {
    if (cols <= 64) rms_norm_by_lanes<T, 8, 1>(x, w, y, rows, cols, eps);
    else if (cols <= 128) rms_norm_by_lanes<T, 16, 1>(x, w, y, rows, cols, eps);
    else if (cols <= 1024) rms_norm_by_lanes<T, 32, 4>(x, w, y, rows, cols, eps);
    else rms_norm_by_block(x, w, y, rows, cols, eps);
}

extern "C" __global__ void __launch_bounds__(RMS_NORM_THREADS)
    rms_norm_bf16(const bf16* x, const float* w, bf16* y, long long rows, int cols, float eps) {
    rms_norm(x, w, y, rows, cols, eps);
}

extern "C" __global__ void __launch_bounds__(RMS_NORM_THREADS)
    rms_norm_f32(const float* x, const float* w, float* y, long long rows, int cols, float eps) {
    rms_norm(x, w, y, rows, cols, eps);
}
