// y = x / max(||x||, 1e-12) * sqrt(channels) * gamma[c] for each pixel of x [batch, channels,
// plane], the norm being over the channels; then SiLU where `silu` is not 0. x may be y.
//
// Launch: 256 threads; grid x = ceil(plane / 64) for bf16 and ceil(plane / 32) for f32,
// grid y = batch.

constexpr int CHANNEL_NORM_WARPS = 8;

// One 32-bit word of each channel's plane: how many pixels it has, and how it is read.
template <class T>
struct PixelWord;

template <>
struct PixelWord<float> {
    static constexpr int PIXELS = 1;
    static __device__ __forceinline__ unsigned int read(const float* p, int count, bool) {
        return count > 0 ? __float_as_uint(*p) : 0u;
    }
    static __device__ __forceinline__ void write(float* p, int count, bool, const float (&v)[1]) {
        if (count > 0) *p = v[0];
    }
    static __device__ __forceinline__ void unpack(unsigned int word, float (&v)[1]) { v[0] = __uint_as_float(word); }
};

template <>
struct PixelWord<bf16> {
    static constexpr int PIXELS = 2;
    static __device__ __forceinline__ unsigned int read(const bf16* p, int count, bool vector) {
        if (vector && count >= 2) return *(const unsigned int*)p;
        const unsigned int low = count > 0 ? p[0].bits : 0u;
        const unsigned int high = count > 1 ? p[1].bits : 0u;
        return low | (high << 16);
    }
    static __device__ __forceinline__ void write(bf16* p, int count, bool vector, const float (&v)[2]) {
        if (vector && count >= 2) {
            *(unsigned int*)p = bf16_pair(v[0], v[1]);
        } else {
            if (count > 0) store(p, v[0]);
            if (count > 1) store(p + 1, v[1]);
        }
    }
    static __device__ __forceinline__ void unpack(unsigned int word, float (&v)[2]) {
        v[0] = low_to_float(word), v[1] = high_to_float(word);
    }
};

// The square root of channels over each of this thread's pixels' norm, of sums over the warps.
template <int PIXELS>
__device__ __forceinline__ void channel_norm_factors(const float (&squares)[PIXELS], int channels,
                                                     float (&factor)[PIXELS]) {
    __shared__ float partial[CHANNEL_NORM_WARPS][32 * PIXELS];
    const int lane = threadIdx.x % 32;
#pragma unroll
    for (int p = 0; p < PIXELS; ++p) partial[threadIdx.x / 32][lane + 32 * p] = squares[p];
    __syncthreads();
#pragma unroll
    for (int p = 0; p < PIXELS; ++p) {
        float sum = 0.0f;
#pragma unroll
        for (int warp = 0; warp < CHANNEL_NORM_WARPS; ++warp) sum += partial[warp][lane + 32 * p];
        factor[p] = sqrtf((float)channels) / fmaxf(sqrtf(sum), 1e-12f);
    }
}

template <class T>
__device__ __forceinline__ void channel_norm_store(unsigned int word, const float (&factor)[PixelWord<T>::PIXELS],
                                                   float gamma, bool silu, T* y, int count, bool vector) {
    float v[PixelWord<T>::PIXELS];
    PixelWord<T>::unpack(word, v);
#pragma unroll
    for (int p = 0; p < PixelWord<T>::PIXELS; ++p) {
        v[p] *= factor[p] * gamma;
        if (silu) v[p] = times_sigmoid(y, v[p], v[p]);
    }
    PixelWord<T>::write(y, count, vector, v);
}

// Each warp takes every eighth channel and holds up to HELD of them; those beyond are read twice.
template <class T, int HELD>
__device__ __forceinline__ void channel_norm_held(const T* x, const float* gamma, T* y, int channels,
                                                  long long plane, int count, bool vector, bool silu) {
    constexpr int PIXELS = PixelWord<T>::PIXELS;
    const int warp = threadIdx.x / 32;
    const long long step = CHANNEL_NORM_WARPS * plane;
    unsigned int held[HELD];
    const T* from = x + warp * plane;
#pragma unroll
    for (int i = 0; i < HELD; ++i, from += step)
        held[i] = PixelWord<T>::read(from, warp + i * CHANNEL_NORM_WARPS < channels ? count : 0, vector);
    float squares[PIXELS] = {};
#pragma unroll
    for (int i = 0; i < HELD; ++i) {
        float v[PIXELS];
        PixelWord<T>::unpack(held[i], v);
#pragma unroll
        for (int p = 0; p < PIXELS; ++p) squares[p] = fmaf(v[p], v[p], squares[p]);
    }
    for (int c = warp + HELD * CHANNEL_NORM_WARPS; c < channels; c += CHANNEL_NORM_WARPS) {
        float v[PIXELS];
        PixelWord<T>::unpack(PixelWord<T>::read(x + c * plane, count, vector), v);
#pragma unroll
        for (int p = 0; p < PIXELS; ++p) squares[p] = fmaf(v[p], v[p], squares[p]);
    }
    float factor[PIXELS];
    channel_norm_factors(squares, channels, factor);
    T* to = y + warp * plane;
#pragma unroll
    for (int i = 0; i < HELD; ++i, to += step) {
        const int c = warp + i * CHANNEL_NORM_WARPS;
        if (c < channels) channel_norm_store(held[i], factor, gamma[c], silu, to, count, vector);
    }
    for (int c = warp + HELD * CHANNEL_NORM_WARPS; c < channels; c += CHANNEL_NORM_WARPS)
        channel_norm_store(PixelWord<T>::read(x + c * plane, count, vector), factor, gamma[c], silu, y + c * plane,
                           count, vector);
}

template <class T>
__device__ __forceinline__ void channel_norm(const T* x, const float* gamma, T* y, int channels, long long plane,
                                             int silu) {
    constexpr int PIXELS = PixelWord<T>::PIXELS;
    const long long pixel = ((long long)blockIdx.x * 32 + threadIdx.x % 32) * PIXELS;
    const long long offset = (long long)blockIdx.y * channels * plane + pixel;
    const int count = at_most_group(plane - pixel);
    x += offset;
    y += offset;
    const bool vector = plane % PIXELS == 0 && is_aligned(x, 4) && is_aligned(y, 4);
    if (channels <= 12 * CHANNEL_NORM_WARPS)
        channel_norm_held<T, 12>(x, gamma, y, channels, plane, count, vector, silu != 0);
    else if (channels <= 24 * CHANNEL_NORM_WARPS)
        channel_norm_held<T, 24>(x, gamma, y, channels, plane, count, vector, silu != 0);
    else
        channel_norm_held<T, 48>(x, gamma, y, channels, plane, count, vector, silu != 0);
}

extern "C" __global__ void __launch_bounds__(32 * CHANNEL_NORM_WARPS, 2)
    channel_norm_bf16(const bf16* x, const float* gamma, bf16* y, int channels, long long plane, int silu) {
    channel_norm(x, gamma, y, channels, plane, silu);
}

extern "C" __global__ void __launch_bounds__(32 * CHANNEL_NORM_WARPS, 2)
    channel_norm_f32(const float* x, const float* gamma, float* y, int channels, long long plane, int silu) {
    channel_norm(x, gamma, y, channels, plane, silu);
}
