// RMS norm over each head's vector (where w is given), then rotation by its token's angles.
//
// x and y hold the heads of a token side by side (stride dim); tokens and batches lie at the given
// strides, so y can be a part of a longer sequence. cos and sin are [tokens, dim / 2], and shared
// by the batches. Angle k rotates elements 2k and 2k + 1, or with `halves` k and k + dim / 2.
// dim is even and at most 256. x may be y.
//
// Launch: 256 threads, any grid x; grid z = batch. Blocks that leave no vector for a second turn:
// for dim <= 64 ceil(tokens * heads / 32), for dim <= 128 ceil(tokens * heads / 16), else
// ceil(tokens * heads / 8).

constexpr int ROTATE_THREADS = 256;

// LANES lanes of a warp to each vector; each lane has four pairs of elements: `a` and `b` are
// eight elements side by side, or four of each half.
template <class T, int LANES>
__device__ __forceinline__ void rms_norm_rotate_by_lanes(const T* x, const float* w, const float* cos,
                                                         const float* sin, T* y, int tokens, int heads, int dim,
                                                         long long x_token_stride, long long y_token_stride,
                                                         float eps, bool halves) {
    constexpr int VECTORS = ROTATE_THREADS / LANES;
    const int lane = threadIdx.x % LANES;
    const int half = dim / 2;
    const int pair = 4 * lane;
    const int pairs = half - pair;
    // Where a and b begin, and how many elements exist from there on.
    const int at_a = halves ? pair : 2 * pair;
    const int at_b = at_a + (halves ? half : 4);
    const int left_a = halves ? pairs : 2 * pairs;
    const int left_b = halves ? pairs : 2 * pairs - 4;
    // b is at a multiple of four elements only where a half is.
    const int alignment = 4 * (int)sizeof(T);
    const bool even = half % 4 == 0;
    const bool angles_vector = even && is_aligned(cos, 16) && is_aligned(sin, 16);
    const bool w_vector = even && w != nullptr && is_aligned(w, 16);
    // A launch has no more than 2^31 vectors; division of 64-bit numbers takes as long as the rest.
    const unsigned int vectors = (unsigned int)tokens * (unsigned int)heads;

    for (unsigned int base = blockIdx.x * VECTORS; base < vectors; base += gridDim.x * VECTORS) {
        // All lanes of the warp stay for the sums, those without a vector too.
        const unsigned int vector = base + threadIdx.x / LANES;
        const bool exists = vector < vectors;
        const long long token = vector / (unsigned int)heads;
        const int head = (int)(vector % (unsigned int)heads);
        const T* from = x + token * x_token_stride + head * dim;
        T* to = y + token * y_token_stride + head * dim;
        const bool x_vector = even && is_aligned(from, alignment);
        const bool y_vector = even && is_aligned(to, alignment);
        float a[4], b[4];
        load_some(from + at_a, exists ? left_a : 0, x_vector, a);
        load_some(from + at_b, exists ? left_b : 0, x_vector, b);
        // Asked for before the sum, whose waits they would follow otherwise.
        float c[4], s[4];
        load_some(cos + token * half + pair, exists ? pairs : 0, angles_vector, c);
        load_some(sin + token * half + pair, exists ? pairs : 0, angles_vector, s);
        if (w != nullptr) {
            float squares = 0.0f;
#pragma unroll
            for (int e = 0; e < 4; ++e) squares = fmaf(a[e], a[e], fmaf(b[e], b[e], squares));
            const float inverse = rsqrtf(sum_lanes<LANES>(squares) / (float)dim + eps);
            float weight_a[4], weight_b[4];
            load_some(w + at_a, left_a, w_vector, weight_a);
            load_some(w + at_b, left_b, w_vector, weight_b);
#pragma unroll
            for (int e = 0; e < 4; ++e) {
                a[e] *= inverse * weight_a[e];
                b[e] *= inverse * weight_b[e];
            }
        }
        if (exists && pairs > 0) {
            float rotated_a[4], rotated_b[4];
            if (halves) {
#pragma unroll
                for (int e = 0; e < 4; ++e) {
                    rotated_a[e] = a[e] * c[e] - b[e] * s[e];
                    rotated_b[e] = b[e] * c[e] + a[e] * s[e];
                }
            } else {
#pragma unroll
                for (int e = 0; e < 4; e += 2) {
                    rotated_a[e] = a[e] * c[e / 2] - a[e + 1] * s[e / 2];
                    rotated_a[e + 1] = a[e + 1] * c[e / 2] + a[e] * s[e / 2];
                    rotated_b[e] = b[e] * c[2 + e / 2] - b[e + 1] * s[2 + e / 2];
                    rotated_b[e + 1] = b[e + 1] * c[2 + e / 2] + b[e] * s[2 + e / 2];
                }
            }
            store_some(to + at_a, left_a, y_vector, rotated_a);
            store_some(to + at_b, left_b, y_vector, rotated_b);
        }
    }
}

template <class T>
__device__ __forceinline__ void rms_norm_rotate(const T* x, const float* w, const float* cos, const float* sin, T* y,
                                                int tokens, int heads, int dim, long long x_token_stride,
                                                long long y_token_stride, long long x_batch_stride,
                                                long long y_batch_stride, float eps, int halves) {
    x += blockIdx.z * x_batch_stride;
    y += blockIdx.z * y_batch_stride;
    if (dim <= 64)
        rms_norm_rotate_by_lanes<T, 8>(x, w, cos, sin, y, tokens, heads, dim, x_token_stride, y_token_stride, eps,
                                       halves != 0);
    else if (dim <= 128)
        rms_norm_rotate_by_lanes<T, 16>(x, w, cos, sin, y, tokens, heads, dim, x_token_stride, y_token_stride, eps,
                                        halves != 0);
    else
        rms_norm_rotate_by_lanes<T, 32>(x, w, cos, sin, y, tokens, heads, dim, x_token_stride, y_token_stride, eps,
                                        halves != 0);
}

extern "C" __global__ void __launch_bounds__(ROTATE_THREADS)
    rms_norm_rotate_bf16(const bf16* x, const float* w, const float* cos, const float* sin, bf16* y, int tokens,
                         int heads, int dim, long long x_token_stride, long long y_token_stride,
                         long long x_batch_stride, long long y_batch_stride, float eps, int halves) {
    rms_norm_rotate(x, w, cos, sin, y, tokens, heads, dim, x_token_stride, y_token_stride, x_batch_stride,
                    y_batch_stride, eps, halves);
}

extern "C" __global__ void __launch_bounds__(ROTATE_THREADS)
    rms_norm_rotate_f32(const float* x, const float* w, const float* cos, const float* sin, float* y, int tokens,
                        int heads, int dim, long long x_token_stride, long long y_token_stride,
                        long long x_batch_stride, long long y_batch_stride, float eps, int halves) {
    rms_norm_rotate(x, w, cos, sin, y, tokens, heads, dim, x_token_stride, y_token_stride, x_batch_stride,
                    y_batch_stride, eps, halves);
}
