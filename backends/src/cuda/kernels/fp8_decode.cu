// Decodes FP8 weights to the activations' dtype; the bf16 variant also rounds a bias, where there is
// one, which saves a kernel of its own.
//
// Launch: 256 threads, any grid; ceil(n / 8192) blocks for bf16 and ceil(n / 4096) for f32 leave one
// tile to each.

constexpr int FP8_DECODE_THREADS = 256;
// Vectors in flight in each thread. One thread's vector writes 16 bytes, so that a warp reads and
// writes without gaps.
constexpr int FP8_DECODE_VECTORS = 4;

// Four codes at a 4-byte aligned address to 16 bytes of f32.
__device__ __forceinline__ void decode_fp8_vector(const unsigned int (&words)[1], float* out, const Fp8Format& f) {
    const uint2 pairs = decode_fp8_word(words[0], f);
    *(float4*)out = make_float4(low_to_float(pairs.x), high_to_float(pairs.x), low_to_float(pairs.y),
                                high_to_float(pairs.y));
}

// Eight codes to 16 bytes of bf16.
__device__ __forceinline__ void decode_fp8_vector(const unsigned int (&words)[2], bf16* out, const Fp8Format& f) {
    const uint2 a = decode_fp8_word(words[0], f);
    const uint2 b = decode_fp8_word(words[1], f);
    *(uint4*)out = make_uint4(a.x, a.y, b.x, b.y);
}

__device__ __forceinline__ void load_fp8_words(const unsigned char* codes, unsigned int (&words)[1]) {
    words[0] = *(const unsigned int*)codes;
}

__device__ __forceinline__ void load_fp8_words(const unsigned char* codes, unsigned int (&words)[2]) {
    const uint2 a = *(const uint2*)codes;
    words[0] = a.x, words[1] = a.y;
}

template <class T>
__device__ __forceinline__ void fp8_decode(const unsigned char* codes, T* out, long long n, int format) {
    constexpr int WIDTH = 16 / (int)sizeof(T);
    constexpr int TILE = FP8_DECODE_THREADS * FP8_DECODE_VECTORS * WIDTH;
    const Fp8Format f = fp8_format(format);
    const bool vector = is_aligned(codes, WIDTH) && is_aligned(out, 16);
    for (long long tile = (long long)blockIdx.x * TILE; tile < n; tile += (long long)gridDim.x * TILE) {
        if (vector && tile + TILE <= n) {
            unsigned int words[FP8_DECODE_VECTORS][WIDTH / 4];
#pragma unroll
            for (int i = 0; i < FP8_DECODE_VECTORS; ++i)
                load_fp8_words(codes + tile + (i * FP8_DECODE_THREADS + (int)threadIdx.x) * WIDTH, words[i]);
#pragma unroll
            for (int i = 0; i < FP8_DECODE_VECTORS; ++i)
                decode_fp8_vector(words[i], out + tile + (i * FP8_DECODE_THREADS + (int)threadIdx.x) * WIDTH, f);
        } else {
            for (long long i = tile + threadIdx.x; i < n && i < tile + TILE; i += FP8_DECODE_THREADS)
                store(out + i, decode_fp8(codes[i], f));
        }
    }
}

extern "C" __global__ void __launch_bounds__(FP8_DECODE_THREADS)
    fp8_decode_bf16(const unsigned char* codes, bf16* out, long long n, int format, const float* bias,
                    bf16* narrow_bias, int outputs) {
    if (bias != nullptr) {
        const int step = gridDim.x * FP8_DECODE_THREADS;
        for (int i = blockIdx.x * FP8_DECODE_THREADS + threadIdx.x; i < outputs; i += step)
            store(narrow_bias + i, bias[i]);
    }
    fp8_decode(codes, out, n, format);
}

extern "C" __global__ void __launch_bounds__(FP8_DECODE_THREADS)
    fp8_decode_f32(const unsigned char* codes, float* out, long long n, int format) {
    fp8_decode(codes, out, n, format);
}
