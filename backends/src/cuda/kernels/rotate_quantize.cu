// rms_norm_rotate_joined of queries and of keys, of pairs side by side and bf16, as integers of 8 bits in
// tiles, as attention_quantized reads them. qi and ki hold tiles of sequence i, their scales
// [heads, tiles, 2] what they are multiplied by: the tile's largest magnitude over 127, but no less than
// INT8_LEAST_SCALE; and the length of the longest of its rows. Rows of tokens that there are not are zeros.
//
// Launch: 512 threads; grid x = tiles of the longer sequence, y = ceil(heads / 6), z = 2 * sequences. dim <=
// 128. Tiles begin at multiples of 8 bytes.

constexpr int ROTATE_QUANTIZE_THREADS = 512;
// Heads of a block, one after the other: all but the first find their angles, which take more than a head's
// tokens, in the cache.
constexpr int ROTATE_QUANTIZE_HEADS = 6;
constexpr float INT8_LARGEST = 127.0f;
// What a score changes by then is next to nothing, and ATTENTION_QUANTIZED_HIDDEN times the scales of
// queries and keys is still far below any score.
constexpr float INT8_LEAST_SCALE = 1.0f / 512.0f;

// The nearest integers to eight numbers times `by`, at most INT8_LARGEST, as bytes: they are the lowest ones of
// the sums with 1.5 * 2^23, cheaper than conversions.
__device__ __forceinline__ uint2 int8_codes(const float (&v)[GROUP], float by) {
    unsigned int words[2];
#pragma unroll
    for (int i = 0; i < 2; ++i) {
        unsigned int codes[4];
#pragma unroll
        for (int e = 0; e < 4; ++e) codes[e] = __float_as_uint(fmaf(v[4 * i + e], by, 12582912.0f));
        words[i] = __byte_perm(__byte_perm(codes[0], codes[1], 0x40), __byte_perm(codes[2], codes[3], 0x40), 0x5410);
    }
    return make_uint2(words[0], words[1]);
}

// A tile of up to ROTATE_QUANTIZE_HEADS heads, by LANES lanes for each token. `y` and `scale` are at the
// first of `tiles` tiles of the first head.
template <int LANES, bool VECTOR>
__device__ __forceinline__ void rotate_quantize_tile(const JoinedTokens<bf16>& joined, signed char* y, float2* scale,
                                                     int all, int tiles, int heads, int dim, float eps) {
    constexpr int AT_ONCE = ROTATE_QUANTIZE_THREADS / LANES;
    constexpr int TURNS = 128 / AT_ONCE;
    const int lane = threadIdx.x % LANES;
    const int first_row = threadIdx.x / LANES;
    const int first_head = blockIdx.y * ROTATE_QUANTIZE_HEADS;
    const int count = min(heads - first_head, ROTATE_QUANTIZE_HEADS);
    const int first_token = blockIdx.x * 128 + first_row;
    const RotatedPart<false, VECTOR> part(lane, dim);
    const float part_of_mean = 1.0f / (float)dim;
    // Of a token that there is not, the last one's angles.
    const auto at = [&](int turn) {
        return joined.token(min(first_token + turn * AT_ONCE, all - 1), heads, dim, nullptr);
    };
    const auto read = [&](int turn, int head, Packed<bf16>& held) {
        part.read(at(turn).x + (first_head + head) * dim, first_token + turn * AT_ONCE < all, held);
    };

#pragma unroll 1
    for (int head = 0; head < count; ++head) {
        Packed<bf16> held[TURNS];
#pragma unroll
        for (int turn = 0; turn < TURNS; ++turn) read(turn, head, held[turn]);
        float v[TURNS][GROUP], squares[TURNS];
        const auto sum_squares = [&](int turn) {
            float own[GROUP];
#pragma unroll
            for (int e = 0; e < GROUP; ++e) own[e] = v[turn][e] * v[turn][e];
            squares[turn] = sum_group(own);
        };
#pragma unroll
        for (int turn = 0; turn < TURNS; ++turn) {
            unpack(held[turn], v[turn]);
            sum_squares(turn);
        }
        const float inverses = rsqrtf(fmaf(sum_each<LANES>(squares), part_of_mean, eps));
        // Of an element, and of a row's sum of squares.
        float largest[2] = {};
#pragma unroll
        for (int turn = 0; turn < TURNS; ++turn) {
            float weight[GROUP], cos[4], sin[4];
            Packed<float> weights;
            part.read(at(turn).w, true, weights);
            load_some(at(turn).cos + 4 * lane, dim / 2 - 4 * lane, VECTOR, cos);
            load_some(at(turn).sin + 4 * lane, dim / 2 - 4 * lane, VECTOR, sin);
            unpack(weights, weight);
            const float inverse = __shfl_sync(0xffffffffu, inverses, turn, LANES);
#pragma unroll
            for (int e = 0; e < GROUP; ++e) v[turn][e] *= inverse * weight[e];
            rotate_pairs<false>(v[turn], cos, sin);
#pragma unroll
            for (int e = 0; e < GROUP; ++e) largest[0] = fmaxf(largest[0], fabsf(v[turn][e]));
            sum_squares(turn);
        }
        largest[1] = sum_each<LANES>(squares);
        max_block(largest);
        const float by = fmaxf(largest[0] / INT8_LARGEST, INT8_LEAST_SCALE);
        const float inverse = 1.0f / by;
        const long long tile = (long long)(first_head + head) * tiles + blockIdx.x;
        if (threadIdx.x == 0) scale[tile] = make_float2(by, sqrtf(largest[1]));
#pragma unroll
        for (int turn = 0; turn < TURNS; ++turn) {
            const int row = first_row + turn * AT_ONCE;
            const int chunk = part.at[0] / 16 ^ row % 8;
            if (part.at[0] < 128)
                *(uint2*)(y + (tile * 128 + row) * 128 + chunk * 16 + part.at[0] % 16) = int8_codes(v[turn], inverse);
        }
    }
}

extern "C" __global__ void __launch_bounds__(ROTATE_QUANTIZE_THREADS, 2)
    rms_norm_rotate_joined_quantize_bf16(const bf16* first_q, const float* first_q_w, const float* first_q_cos,
                                         const float* first_q_sin, const bf16* second_q, const float* second_q_w,
                                         const float* second_q_cos, const float* second_q_sin, const bf16* first_k,
                                         const float* first_k_w, const float* first_k_cos, const float* first_k_sin,
                                         const bf16* second_k, const float* second_k_w, const float* second_k_cos,
                                         const float* second_k_sin, signed char* q0, signed char* q1, signed char* k0,
                                         signed char* k1, float2* q_scales0, float2* q_scales1, float2* k_scales0,
                                         float2* k_scales1, int length0, int length1, int tokens, int heads, int dim,
                                         float eps) {
    const int sequence = blockIdx.z / 2;
    const bool keys = blockIdx.z % 2 != 0;
    const JoinedTokens<bf16> joined =
        keys ? joined_tokens(first_k, first_k_w, first_k_cos, first_k_sin, second_k, second_k_w, second_k_cos,
                             second_k_sin, length0, length1, tokens, heads, dim, sequence)
             : joined_tokens(first_q, first_q_w, first_q_cos, first_q_sin, second_q, second_q_w, second_q_cos,
                             second_q_sin, length0, length1, tokens, heads, dim, sequence);
    const int all = joined.length + tokens;
    const int tiles = (all + 127) / 128;
    if (blockIdx.x >= tiles) return;
    signed char* y = sequence == 0 ? keys ? k0 : q0 : keys ? k1 : q1;
    float2* scales = sequence == 0 ? keys ? k_scales0 : q_scales0 : keys ? k_scales1 : q_scales1;
    if (joined.is_vector(dim))
        rotate_quantize_tile<16, true>(joined, y, scales, all, tiles, heads, dim, eps);
    else
        rotate_quantize_tile<16, false>(joined, y, scales, all, tiles, heads, dim, eps);
}
