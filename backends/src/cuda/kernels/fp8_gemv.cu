// y[r, o] = scale * sum_i x[r, i] * decode(w[o, i]) + bias[o] for a few rows r: the matrix is read
// once, straight from its FP8 codes.
//
// Launch: bf16: 256 threads; grid x = ceil(out / 16), grid y = ceil(rows / 8).
// f32: 128 threads; grid x = ceil(out / 8), grid y = ceil(rows / 8).

constexpr int FP8_GEMV_ROWS = 8;

// The operands, from the first of at most 8 rows on.
template <class T>
struct Fp8Gemv {
    const T* x;
    const unsigned char* w;
    const float* scale;
    const float* bias;
    T* y;
    int rows;
    int in;
    int out;
    Fp8Format format;
};

template <class T>
__device__ __forceinline__ Fp8Gemv<T> fp8_gemv_rows(const T* x, const unsigned char* w, const float* scale,
                                                    const float* bias, T* y, int rows, int in, int out, int format) {
    const int first = blockIdx.y * FP8_GEMV_ROWS;
    return Fp8Gemv<T>{x + (long long)first * in,  w,  scale, bias, y + (long long)first * out,
                      min(rows - first, FP8_GEMV_ROWS), in, out,   fp8_format(format)};
}

// Whether runs of 16 elements are at aligned addresses.
template <class T>
__device__ __forceinline__ bool is_vector(const Fp8Gemv<T>& p) {
    return p.in % 16 == 0 && is_aligned(p.w, 16) && is_aligned(p.x, 16);
}

template <class T>
__device__ __forceinline__ void fp8_gemv_store(const Fp8Gemv<T>& p, int row, int output, float sum) {
    store(p.y + (long long)row * p.out + output, *p.scale * sum + (p.bias == nullptr ? 0.0f : p.bias[output]));
}

// Any vectors, element by element: the warps of the block take the outputs in turns.
template <class T>
__device__ __forceinline__ void fp8_gemv_by_element(const Fp8Gemv<T>& p, int first, int end) {
    const int lane = threadIdx.x % 32;
    for (int output = first + threadIdx.x / 32; output < min(end, p.out); output += blockDim.x / 32) {
        float sums[FP8_GEMV_ROWS] = {};
        for (int i = lane; i < p.in; i += 32) {
            const float weight = decode_fp8(p.w[(long long)output * p.in + i], p.format);
#pragma unroll
            for (int r = 0; r < FP8_GEMV_ROWS; ++r)
                sums[r] = fmaf(load(p.x + (long long)min(r, p.rows - 1) * p.in + i), weight, sums[r]);
        }
#pragma unroll
        for (int r = 0; r < FP8_GEMV_ROWS; ++r) {
            const float sum = sum_lanes<32>(sums[r]);
            if (lane == 0 && r < p.rows) fp8_gemv_store(p, r, output, sum);
        }
    }
}

// In bf16 by tensor cores: sixteen outputs are the rows of the left operand, x is the right one. The
// order of the elements within a chunk is free, as long as both operands agree: lane i has sixteen of
// them side by side, of the outputs i / 4 and i / 4 + 8 and of row i / 4 of x.

constexpr int FP8_GEMV_WARPS = 8;
// Blocks of a multiprocessor: warps enough to wait for memory while others decode.
constexpr int FP8_GEMV_BLOCKS = 3;
constexpr int FP8_GEMV_OUTPUTS = 16;
// Codes of each output that a warp multiplies at a time, and how many times it reads ahead.
constexpr int FP8_GEMV_CHUNK = 64;
constexpr int FP8_GEMV_AHEAD = 2;

// Sixteen codes of two outputs.
struct Fp8GemvCodes {
    uint4 low;
    uint4 high;
};

__device__ __forceinline__ Fp8GemvCodes fp8_gemv_load(const unsigned char* low, const unsigned char* high,
                                                      bool exists) {
    const uint4 none = make_uint4(0u, 0u, 0u, 0u);
    return Fp8GemvCodes{exists ? __ldg((const uint4*)low) : none, exists ? __ldg((const uint4*)high) : none};
}

// Eight elements of x, those of each four in the order 0, 2, 1, 3: that of the codes, which leave
// their word two by two.
__device__ __forceinline__ uint4 fp8_gemv_permute(const Packed<bf16>& x) {
    const uint4 v = x.words[0];
    return make_uint4(__byte_perm(v.x, v.y, 0x5410), __byte_perm(v.x, v.y, 0x7632), __byte_perm(v.z, v.w, 0x5410),
                      __byte_perm(v.z, v.w, 0x7632));
}

// Four codes of each of two outputs times four elements of x, for all lanes. `special` collects what
// tells codes without a number, which come out as if they had one.
__device__ __forceinline__ void fp8_gemv_multiply(float (&c)[4], unsigned int low, unsigned int high, unsigned int x0,
                                                  unsigned int x1, const Fp8Format& f, unsigned int& special) {
    const unsigned int left[4] = {decode_fp8_halves(low << 8, f), decode_fp8_halves(high << 8, f),
                                  decode_fp8_halves(low, f), decode_fp8_halves(high, f)};
    special |= ((low & 0x7f7f7f7fu) + f.to_special) | ((high & 0x7f7f7f7fu) + f.to_special);
    multiply_add(c, left, x0, x1);
}

// The warps share the chunks of the codes; their sums meet in shared memory. False, and no results,
// where some code has no number.
__device__ __forceinline__ bool fp8_gemv_by_tensor_cores(const Fp8Gemv<bf16>& p, int first_output) {
    constexpr int STEP = FP8_GEMV_WARPS * FP8_GEMV_CHUNK;
    const int lane = threadIdx.x % 32;
    const int group = lane / 4;
    const int first = threadIdx.x / 32 * FP8_GEMV_CHUNK + lane % 4 * 16;
    const int last_output = p.out - 1;
    const unsigned char* low = p.w + (long long)min(first_output + group, last_output) * p.in + first;
    const unsigned char* high = p.w + (long long)min(first_output + group + 8, last_output) * p.in + first;
    const bf16* x = p.x + (long long)min(group, p.rows - 1) * p.in + first;
    const bool row_exists = group < p.rows;

    Fp8GemvCodes codes[FP8_GEMV_AHEAD];
    Packed<bf16> right[FP8_GEMV_AHEAD][2];
#pragma unroll
    for (int j = 0; j < FP8_GEMV_AHEAD; ++j) {
        const bool exists = first + j * STEP < p.in;
        codes[j] = fp8_gemv_load(low + j * STEP, high + j * STEP, exists);
        right[j][0] = load_packed(x + j * STEP, exists && row_exists);
        right[j][1] = load_packed(x + j * STEP + GROUP, exists && row_exists);
    }
    float c[2][4] = {};
    unsigned int special = 0u;
    // All lanes of the warp stay for the products, those beyond the last element too.
    for (int left = p.in - first; left + first % FP8_GEMV_CHUNK > 0; left -= FP8_GEMV_AHEAD * STEP) {
        low += FP8_GEMV_AHEAD * STEP;
        high += FP8_GEMV_AHEAD * STEP;
        x += FP8_GEMV_AHEAD * STEP;
#pragma unroll
        for (int j = 0; j < FP8_GEMV_AHEAD; ++j) {
            const uint4 a = codes[j].low, b = codes[j].high;
            const uint4 v = fp8_gemv_permute(right[j][0]), w = fp8_gemv_permute(right[j][1]);
            const bool exists = left > (FP8_GEMV_AHEAD + j) * STEP;
            codes[j] = fp8_gemv_load(low + j * STEP, high + j * STEP, exists);
            right[j][0] = load_packed(x + j * STEP, exists && row_exists);
            right[j][1] = load_packed(x + j * STEP + GROUP, exists && row_exists);
            fp8_gemv_multiply(c[0], a.x, b.x, v.x, v.y, p.format, special);
            fp8_gemv_multiply(c[1], a.y, b.y, v.z, v.w, p.format, special);
            fp8_gemv_multiply(c[0], a.z, b.z, w.x, w.y, p.format, special);
            fp8_gemv_multiply(c[1], a.w, b.w, w.z, w.w, p.format, special);
        }
    }
    if (__syncthreads_or((special & 0x80808080u) != 0u) != 0) return false;

    __shared__ float sums[FP8_GEMV_WARPS][FP8_GEMV_OUTPUTS][FP8_GEMV_ROWS];
    float(&own)[FP8_GEMV_OUTPUTS][FP8_GEMV_ROWS] = sums[threadIdx.x / 32];
    const int row = lane % 4 * 2;
    own[group][row] = c[0][0] + c[1][0], own[group][row + 1] = c[0][1] + c[1][1];
    own[group + 8][row] = c[0][2] + c[1][2], own[group + 8][row + 1] = c[0][3] + c[1][3];
    __syncthreads();
    for (int i = threadIdx.x; i < FP8_GEMV_OUTPUTS * p.rows; i += blockDim.x) {
        const int output = i % FP8_GEMV_OUTPUTS;
        float sum = 0.0f;
#pragma unroll
        for (int warp = 0; warp < FP8_GEMV_WARPS; ++warp) sum += sums[warp][output][i / FP8_GEMV_OUTPUTS];
        if (first_output + output < p.out) fp8_gemv_store(p, i / FP8_GEMV_OUTPUTS, first_output + output, sum);
    }
    return true;
}

extern "C" __global__ void __launch_bounds__(32 * FP8_GEMV_WARPS, FP8_GEMV_BLOCKS)
    fp8_gemv_bf16(const bf16* x, const unsigned char* w, const float* scale, const float* bias, bf16* y, int rows,
                  int in, int out, int format) {
    const Fp8Gemv<bf16> p = fp8_gemv_rows(x, w, scale, bias, y, rows, in, out, format);
    const int first = blockIdx.x * FP8_GEMV_OUTPUTS;
    if (is_vector(p) && fp8_gemv_by_tensor_cores(p, first)) return;
    fp8_gemv_by_element(p, first, first + FP8_GEMV_OUTPUTS);
}

// In f32 by lanes, each warp two outputs: what is loaded of x serves both.

constexpr int FP8_GEMV_LANES_WARPS = 4;
constexpr int FP8_GEMV_LANES_OUTPUTS = 2;

// Sixteen weights of each output times those of x.
template <int ROWS>
__device__ __forceinline__ void fp8_gemv_accumulate(float (&sums)[FP8_GEMV_LANES_OUTPUTS][ROWS],
                                                    const uint4 (&codes)[FP8_GEMV_LANES_OUTPUTS],
                                                    const Fp8Gemv<float>& p, int at) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
        float weights[FP8_GEMV_LANES_OUTPUTS][GROUP];
#pragma unroll
        for (int o = 0; o < FP8_GEMV_LANES_OUTPUTS; ++o) {
            const uint2 a = decode_fp8_word(half == 0 ? codes[o].x : codes[o].z, p.format);
            const uint2 b = decode_fp8_word(half == 0 ? codes[o].y : codes[o].w, p.format);
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
            float v[GROUP];
            load_vector(p.x + (long long)min(r, p.rows - 1) * p.in + at + half * GROUP, v);
#pragma unroll
            for (int e = 0; e < GROUP; ++e)
#pragma unroll
                for (int o = 0; o < FP8_GEMV_LANES_OUTPUTS; ++o) sums[o][r] = fmaf(v[e], weights[o][e], sums[o][r]);
        }
    }
}

template <int ROWS>
__device__ __forceinline__ void fp8_gemv_by_lanes(const Fp8Gemv<float>& p, int first) {
    const int lane = threadIdx.x % 32;
    first += threadIdx.x / 32 * FP8_GEMV_LANES_OUTPUTS;
    if (first >= p.out) return;
    const unsigned char* w = p.w + (long long)first * p.in;
    const unsigned char* second = p.w + (long long)min(first + 1, p.out - 1) * p.in;
    // The next codes are under way while these are used.
    Fp8GemvCodes next = fp8_gemv_load(w + lane * 16, second + lane * 16, lane * 16 < p.in);
    float sums[FP8_GEMV_LANES_OUTPUTS][ROWS] = {};
    for (int i = lane * 16; i < p.in; i += 32 * 16) {
        const uint4 codes[FP8_GEMV_LANES_OUTPUTS] = {next.low, next.high};
        const int ahead = i + 32 * 16;
        next = fp8_gemv_load(w + ahead, second + ahead, ahead < p.in);
        fp8_gemv_accumulate<ROWS>(sums, codes, p, i);
    }
#pragma unroll
    for (int o = 0; o < FP8_GEMV_LANES_OUTPUTS; ++o) {
#pragma unroll
        for (int r = 0; r < ROWS; ++r) {
            const float sum = sum_lanes<32>(sums[o][r]);
            if (lane == 0 && r < p.rows && first + o < p.out) fp8_gemv_store(p, r, first + o, sum);
        }
    }
}

extern "C" __global__ void __launch_bounds__(32 * FP8_GEMV_LANES_WARPS)
    fp8_gemv_f32(const float* x, const unsigned char* w, const float* scale, const float* bias, float* y, int rows,
                 int in, int out, int format) {
    const Fp8Gemv<float> p = fp8_gemv_rows(x, w, scale, bias, y, rows, in, out, format);
    constexpr int OUTPUTS = FP8_GEMV_LANES_WARPS * FP8_GEMV_LANES_OUTPUTS;
    const int first = blockIdx.x * OUTPUTS;
    if (!is_vector(p)) fp8_gemv_by_element(p, first, first + OUTPUTS);
    else if (p.rows == 1) fp8_gemv_by_lanes<1>(p, first);
    else if (p.rows == 2) fp8_gemv_by_lanes<2>(p, first);
    else if (p.rows <= 4) fp8_gemv_by_lanes<4>(p, first);
    else fp8_gemv_by_lanes<8>(p, first);
}
