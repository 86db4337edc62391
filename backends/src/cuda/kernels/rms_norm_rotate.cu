// RMS norm over each head's vector (where w is given), then rotation by its token's angles.
//
// x and y hold the heads of a token side by side (stride dim); tokens and batches lie at the given
// strides, so y can be a part of a longer sequence. cos and sin are [tokens, dim / 2], and shared
// by the batches. Angle k rotates elements 2k and 2k + 1, or with `halves` k and k + dim / 2.
// dim is even and at most 256. x may be y.
//
// Launch: 256 threads, any grid x; grid z = batch. Blocks that leave no heads for a second turn:
// with n = tokens * ceil(heads / 4), for dim <= 64 ceil(n / 32), for dim <= 128 ceil(n / 16), else
// ceil(n / 8).
//
// rms_norm_rotate_joined: the tokens of one or two sequences, each after tokens of another tensor
// with a weight and angles of its own; there must be both weights. `first` is
// [1, length0 + length1, heads, dim], in which the sequences' tokens follow each other, as do their
// angles; `second` is [2, tokens, heads, dim], and its angles are shared. Sequence i goes to
// yi [1, lengthi + tokens, heads, dim].
//
// Launch: as above, for the tokens of the longer sequence; grid z = sequences.

constexpr int ROTATE_THREADS = 256;
// Of a multiprocessor, in bf16: what keeps its memory busy.
constexpr int ROTATE_BLOCKS = 4;
// Heads that a thread has at a time, which share their angles and the weight.
constexpr int ROTATE_HEADS = 4;

// A token's first head, where its result goes, the weight (or none) and the angles.
template <class T>
struct RotatedToken {
    const T* x;
    T* y;
    const float* w;
    const float* cos;
    const float* sin;
};

// A lane's part of a vector, four pairs of elements: eight elements side by side or, with HALVES,
// four of each half. VECTOR: parts are whole, at aligned addresses.
template <bool HALVES, bool VECTOR>
struct RotatedPart {
    int at[2];
    int left[2];

    __device__ __forceinline__ RotatedPart(int lane, int dim) {
        const int pairs = dim / 2 - 4 * lane;
        at[0] = HALVES ? 4 * lane : GROUP * lane;
        at[1] = at[0] + (HALVES ? dim / 2 : GROUP / 2);
        left[0] = HALVES ? pairs : 2 * pairs;
        left[1] = HALVES ? pairs : 2 * pairs - GROUP / 2;
    }

    // Zeros for what there is not.
    template <class T>
    __device__ __forceinline__ void read(const T* p, bool exists, Packed<T>& group) const {
        if (VECTOR && !HALVES) {
            group = load_packed(p + at[0], exists && left[0] > 0);
        } else {
            float a[4], b[4];
            load_some(p + at[0], exists ? left[0] : 0, VECTOR, a);
            load_some(p + at[1], exists ? left[1] : 0, VECTOR, b);
            const float v[GROUP] = {a[0], a[1], a[2], a[3], b[0], b[1], b[2], b[3]};
            pack(group, v);
        }
    }

    template <class T>
    __device__ __forceinline__ void write(T* p, const float (&v)[GROUP]) const {
        if (VECTOR) {
            Packed<T> group;
            pack(group, v);
            if (left[0] <= 0) return;
            if (HALVES) store_halves(p + at[0], p + at[1], group);
            else store_packed(p + at[0], group);
        } else {
            const float a[4] = {v[0], v[1], v[2], v[3]}, b[4] = {v[4], v[5], v[6], v[7]};
            store_some(p + at[0], left[0], false, a);
            store_some(p + at[1], left[1], false, b);
        }
    }
};

// Elements rotated by their pairs' angles.
template <bool HALVES>
__device__ __forceinline__ void rotate_pairs(float (&v)[GROUP], const float (&cos)[4], const float (&sin)[4]) {
#pragma unroll
    for (int i = 0; i < 4; ++i) {
        float& first = v[HALVES ? i : 2 * i];
        float& second = v[HALVES ? 4 + i : 2 * i + 1];
        const float rotated = first * cos[i] - second * sin[i];
        second = second * cos[i] + first * sin[i];
        first = rotated;
    }
}

// Up to ROTATE_HEADS heads of one token from `head` on, `heads` of them, by LANES lanes of a warp,
// all of which stay for the sums.
template <class T, int LANES, bool HALVES, bool VECTOR>
__device__ __forceinline__ void rotate_heads(const RotatedToken<T>& token, int head, int heads, int dim, float eps) {
    const int lane = threadIdx.x % LANES;
    const RotatedPart<HALVES, VECTOR> part(lane, dim);
    const int pairs = heads > 0 ? dim / 2 - 4 * lane : 0;
    Packed<T> held[ROTATE_HEADS];
#pragma unroll
    for (int h = 0; h < ROTATE_HEADS; ++h) part.read(token.x + (head + h) * dim, h < heads, held[h]);
    // Asked for before the sums, whose waits they would follow otherwise.
    float cos[4], sin[4], weight[GROUP];
    load_some(token.cos + 4 * lane, pairs, VECTOR, cos);
    load_some(token.sin + 4 * lane, pairs, VECTOR, sin);
    if (token.w != nullptr) {
        Packed<float> group;
        part.read(token.w, true, group);
        unpack(group, weight);
    }

    const float part_of_mean = 1.0f / (float)dim;
#pragma unroll
    for (int h = 0; h < ROTATE_HEADS; ++h) {
        float v[GROUP];
        unpack(held[h], v);
        if (token.w != nullptr) {
            float squares[GROUP];
#pragma unroll
            for (int e = 0; e < GROUP; ++e) squares[e] = v[e] * v[e];
            const float inverse = rsqrtf(fmaf(sum_lanes<LANES>(sum_group(squares)), part_of_mean, eps));
#pragma unroll
            for (int e = 0; e < GROUP; ++e) v[e] *= inverse * weight[e];
        }
        rotate_pairs<HALVES>(v, cos, sin);
        if (h < heads) part.write(token.y + (head + h) * dim, v);
    }
}

// The turns of the block's lanes among `tokens`, each of which `place` finds by its number.
template <class T, int LANES, bool HALVES, bool VECTOR, class Place>
__device__ __forceinline__ void rotate_by_lanes(int tokens, int heads, int dim, float eps, Place place) {
    constexpr int PARTS = ROTATE_THREADS / LANES;
    // A launch has no more than 2^31 of them; division of 64-bit numbers takes as long as the rest.
    const unsigned int of_token = (unsigned int)(heads + ROTATE_HEADS - 1) / ROTATE_HEADS;
    const unsigned int all = (unsigned int)tokens * of_token;
    for (unsigned int base = blockIdx.x * PARTS; base < all; base += gridDim.x * PARTS) {
        // Lanes without heads stay at the last ones.
        const unsigned int own = base + threadIdx.x / LANES;
        const unsigned int i = min(own, all - 1);
        const int head = (int)(i % of_token) * ROTATE_HEADS;
        const int count = own < all ? min(heads - head, ROTATE_HEADS) : 0;
        rotate_heads<T, LANES, HALVES, VECTOR>(place((int)(i / of_token)), head, count, dim, eps);
    }
}

template <class T, bool HALVES, class Place>
__device__ __forceinline__ void rotate_tokens(int tokens, int heads, int dim, float eps, bool vector, Place place) {
    if (!vector) rotate_by_lanes<T, 32, HALVES, false>(tokens, heads, dim, eps, place);
    else if (dim <= 64) rotate_by_lanes<T, 8, HALVES, true>(tokens, heads, dim, eps, place);
    else if (dim <= 128) rotate_by_lanes<T, 16, HALVES, true>(tokens, heads, dim, eps, place);
    else rotate_by_lanes<T, 32, HALVES, true>(tokens, heads, dim, eps, place);
}

// Whether a weight, or none, and angles of vectors of this size can be read in whole parts.
__device__ __forceinline__ bool is_vector(const float* w, const float* cos, const float* sin, int dim) {
    return dim % GROUP == 0 && is_aligned(w, 16) && is_aligned(cos, 16) && is_aligned(sin, 16);
}

template <class T>
__device__ __forceinline__ void rms_norm_rotate(const T* x, const float* w, const float* cos, const float* sin, T* y,
                                                int tokens, int heads, int dim, long long x_token_stride,
                                                long long y_token_stride, long long x_batch_stride,
                                                long long y_batch_stride, float eps, int halves) {
    x += blockIdx.z * x_batch_stride;
    y += blockIdx.z * y_batch_stride;
    const bool vector = is_vector(w, cos, sin, dim) && is_aligned(x, 16) && is_aligned(y, 16) &&
                        x_token_stride % GROUP == 0 && y_token_stride % GROUP == 0;
    const auto place = [=](int token) {
        const long long angles = (long long)token * (dim / 2);
        return RotatedToken<T>{x + token * x_token_stride, y + token * y_token_stride, w, cos + angles, sin + angles};
    };
    if (halves) rotate_tokens<T, true>(tokens, heads, dim, eps, vector, place);
    else rotate_tokens<T, false>(tokens, heads, dim, eps, vector, place);
}

// What one of the joined sequences is made of; `first` is at its tokens.
template <class T>
struct JoinedTokens {
    const T *first, *second;
    const float *first_w, *first_cos, *first_sin;
    const float *second_w, *second_cos, *second_sin;
    int length;

    // All but the result's alignment.
    __device__ __forceinline__ bool is_vector(int dim) const {
        return ::is_vector(first_w, first_cos, first_sin, dim) && ::is_vector(second_w, second_cos, second_sin, dim) &&
               is_aligned(first, 16) && is_aligned(second, 16);
    }

    // A token whose result goes to `y`.
    __device__ __forceinline__ RotatedToken<T> token(int token, int heads, int dim, T* y) const {
        const bool of_first = token < length;
        const long long from = of_first ? token : token - length;
        const long long angles = from * (dim / 2);
        return RotatedToken<T>{(of_first ? first : second) + from * heads * dim, y, of_first ? first_w : second_w,
                               (of_first ? first_cos : second_cos) + angles,
                               (of_first ? first_sin : second_sin) + angles};
    }
};

// Of the first sequence or of the second.
template <class T>
__device__ __forceinline__ JoinedTokens<T> joined_tokens(const T* first, const float* first_w, const float* first_cos,
                                                         const float* first_sin, const T* second, const float* second_w,
                                                         const float* second_cos, const float* second_sin, int length0,
                                                         int length1, int tokens, int heads, int dim,
                                                         int sequence) {
    const long long start = sequence == 0 ? 0 : length0;
    const long long angles = start * (dim / 2);
    return JoinedTokens<T>{first + start * heads * dim,
                           second + (long long)sequence * tokens * heads * dim,
                           first_w,
                           first_cos + angles,
                           first_sin + angles,
                           second_w,
                           second_cos,
                           second_sin,
                           sequence == 0 ? length0 : length1};
}

template <class T>
__device__ __forceinline__ void rms_norm_rotate_joined(const JoinedTokens<T>& joined, T* y, int tokens, int heads,
                                                       int dim, float eps, int halves) {
    const bool vector = joined.is_vector(dim) && is_aligned(y, 16);
    const auto place = [=](int token) {
        return joined.token(token, heads, dim, y + (long long)token * heads * dim);
    };
    if (halves) rotate_tokens<T, true>(joined.length + tokens, heads, dim, eps, vector, place);
    else rotate_tokens<T, false>(joined.length + tokens, heads, dim, eps, vector, place);
}

extern "C" __global__ void __launch_bounds__(ROTATE_THREADS, ROTATE_BLOCKS)
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

extern "C" __global__ void __launch_bounds__(ROTATE_THREADS, ROTATE_BLOCKS)
    rms_norm_rotate_joined_bf16(const bf16* first, const float* first_w, const float* first_cos, const float* first_sin,
                                const bf16* second, const float* second_w, const float* second_cos,
                                const float* second_sin, bf16* y0, bf16* y1, int length0, int length1, int tokens,
                                int heads, int dim, float eps, int halves) {
    rms_norm_rotate_joined(joined_tokens(first, first_w, first_cos, first_sin, second, second_w, second_cos, second_sin,
                                         length0, length1, tokens, heads, dim, blockIdx.z),
                           blockIdx.z == 0 ? y0 : y1, tokens, heads, dim, eps, halves);
}

extern "C" __global__ void __launch_bounds__(ROTATE_THREADS)
    rms_norm_rotate_joined_f32(const float* first, const float* first_w, const float* first_cos, const float* first_sin,
                               const float* second, const float* second_w, const float* second_cos,
                               const float* second_sin, float* y0, float* y1, int length0, int length1, int tokens,
                               int heads, int dim, float eps, int halves) {
    rms_norm_rotate_joined(joined_tokens(first, first_w, first_cos, first_sin, second, second_w, second_cos, second_sin,
                                         length0, length1, tokens, heads, dim, blockIdx.z),
                           blockIdx.z == 0 ? y0 : y1, tokens, heads, dim, eps, halves);
}
