// y[r, o] = scale * sum_i x[r, i] * decode(w[o, i]) + bias[o] for a few rows r: the matrix is read
// once, straight from its FP8 codes.
//
// Launch: 128 threads; grid x = ceil(out / 8), grid y = ceil(rows / 8).

constexpr int FP8_GEMV_THREADS = 128;
// Outputs of each warp: what is loaded of x serves all of them.
constexpr int FP8_GEMV_OUTPUTS = 2;
constexpr int FP8_GEMV_ROWS = 8;

// Sixteen codes of each output.
__device__ __forceinline__ void fp8_gemv_load(const unsigned char* const (&weights)[FP8_GEMV_OUTPUTS], int at,
                                              uint4 (&codes)[FP8_GEMV_OUTPUTS]) {
#pragma unroll
    for (int o = 0; o < FP8_GEMV_OUTPUTS; ++o) codes[o] = *(const uint4*)(weights[o] + at);
}

// Sixteen weights of each output times those of x, for vectors at aligned addresses.
template <class T, int ROWS>
__device__ __forceinline__ void fp8_gemv_accumulate(float (&sums)[FP8_GEMV_OUTPUTS][ROWS],
                                                    const uint4 (&codes)[FP8_GEMV_OUTPUTS], const T* x, int rows,
                                                    int in, const Fp8Format& f) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
        float weights[FP8_GEMV_OUTPUTS][GROUP];
#pragma unroll
        for (int o = 0; o < FP8_GEMV_OUTPUTS; ++o) {
            const uint2 a = decode_fp8_word(half == 0 ? codes[o].x : codes[o].z, f);
            const uint2 b = decode_fp8_word(half == 0 ? codes[o].y : codes[o].w, f);
            const unsigned int pairs[4] = {a.x, a.y, b.x, b.y};
#pragma unroll
            for (int i = 0; i < 4; ++i) {
                weights[o][2 * i] = low_to_float(pairs[i]);
                weights[o][2 * i + 1] = high_to_float(pairs[i]);
            }
        }
#pragma unroll
        for (int r = 0; r < ROWS; ++r) {
            // A row beyond the last is a copy of the last, and is not stored.
            const T* row = x + (long long)(r < rows ? r : rows - 1) * in;
            float v[GROUP];
            load_vector(row + half * GROUP, v);
#pragma unroll
            for (int e = 0; e < GROUP; ++e)
#pragma unroll
                for (int o = 0; o < FP8_GEMV_OUTPUTS; ++o) sums[o][r] = fmaf(v[e], weights[o][e], sums[o][r]);
        }
    }
}

template <class T, int ROWS>
__device__ __forceinline__ void fp8_gemv_rows(const T* x, const unsigned char* w, const float* scale,
                                              const float* bias, T* y, int rows, int in, int out, int format) {
    const Fp8Format f = fp8_format(format);
    const int lane = threadIdx.x % 32;
    const int first = (blockIdx.x * (FP8_GEMV_THREADS / 32) + threadIdx.x / 32) * FP8_GEMV_OUTPUTS;
    if (first >= out) return;

    const unsigned char* weights[FP8_GEMV_OUTPUTS];
#pragma unroll
    for (int o = 0; o < FP8_GEMV_OUTPUTS; ++o) weights[o] = w + (long long)min(first + o, out - 1) * in;

    float sums[FP8_GEMV_OUTPUTS][ROWS] = {};
    if (in % 16 == 0 && is_aligned(w, 16) && is_aligned(x, 16)) {
        // The next codes are under way while these are used; eight rows have work enough without.
        constexpr bool AHEAD = ROWS < FP8_GEMV_ROWS;
        uint4 codes[FP8_GEMV_OUTPUTS], next[FP8_GEMV_OUTPUTS];
        if (AHEAD && lane * 16 < in) fp8_gemv_load(weights, lane * 16, next);
        for (int i = lane * 16; i < in; i += 32 * 16) {
            if (AHEAD) {
#pragma unroll
                for (int o = 0; o < FP8_GEMV_OUTPUTS; ++o) codes[o] = next[o];
                if (i + 32 * 16 < in) fp8_gemv_load(weights, i + 32 * 16, next);
            } else {
                fp8_gemv_load(weights, i, codes);
            }
            fp8_gemv_accumulate<T, ROWS>(sums, codes, x + i, rows, in, f);
        }
    } else {
        for (int i = lane; i < in; i += 32) {
#pragma unroll
            for (int o = 0; o < FP8_GEMV_OUTPUTS; ++o) {
                const float weight = decode_fp8(weights[o][i], f);
#pragma unroll
                for (int r = 0; r < ROWS; ++r)
                    sums[o][r] = fmaf(load(x + (long long)min(r, rows - 1) * in + i), weight, sums[o][r]);
            }
        }
    }

#pragma unroll
    for (int o = 0; o < FP8_GEMV_OUTPUTS; ++o) {
#pragma unroll
        for (int r = 0; r < ROWS; ++r) {
            const float sum = sum_lanes<32>(sums[o][r]);
            if (lane == 0 && r < rows && first + o < out)
                store(y + (long long)r * out + first + o,
                      *scale * sum + (bias == nullptr ? 0.0f : bias[first + o]));
        }
    }
}

template <class T>
__device__ __forceinline__ void fp8_gemv(const T* x, const unsigned char* w, const float* scale, const float* bias,
                                         T* y, int rows, int in, int out, int format) {
    const int first_row = blockIdx.y * FP8_GEMV_ROWS;
    x += (long long)first_row * in;
    y += (long long)first_row * out;
    rows = min(rows - first_row, FP8_GEMV_ROWS);
    if (rows <= 1) fp8_gemv_rows<T, 1>(x, w, scale, bias, y, rows, in, out, format);
    else if (rows == 2) fp8_gemv_rows<T, 2>(x, w, scale, bias, y, rows, in, out, format);
    else if (rows <= 4) fp8_gemv_rows<T, 4>(x, w, scale, bias, y, rows, in, out, format);
    else fp8_gemv_rows<T, 8>(x, w, scale, bias, y, rows, in, out, format);
}

extern "C" __global__ void __launch_bounds__(FP8_GEMV_THREADS, 4)
    fp8_gemv_bf16(const bf16* x, const unsigned char* w, const float* scale, const float* bias, bf16* y, int rows,
                  int in, int out, int format) {
    fp8_gemv(x, w, scale, bias, y, rows, in, out, format);
}

extern "C" __global__ void __launch_bounds__(FP8_GEMV_THREADS, 4)
    fp8_gemv_f32(const float* x, const unsigned char* w, const float* scale, const float* bias, float* y, int rows,
                 int in, int out, int format) {
    fp8_gemv(x, w, scale, bias, y, rows, in, out, format);
}
