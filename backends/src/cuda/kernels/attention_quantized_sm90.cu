// Attention within one sequence on eight bits, on Hopper: softmax(q k^T * scale) v with queries and
// keys as integers, weights and values as E4M3 codes, f32 statistics and sums (after "SageAttention2",
// Zhang et al., 2024). Only in programs compiled for sm_90a.
//
// Eight bits come in tiles, as shared memory holds them: [heads, tiles, 128, 128], tiles =
// ceil(tokens / 128), in which 16-byte chunk c of row r is at place c ^ (r % 8). Rows of q and k are
// those of a token: its dim, and zeros from there on; rows of tokens that there are not may hold
// anything. Their tiles are multiplied by q_scales and k_scales [heads, tiles]. v and v_powers are what
// fp8_quantize_values writes. dim <= 128 is a multiple of 8. Tiles begin at multiples of 16 bytes.
//
// Without row_scales, out is bf16, as in attention.cu. With row_scales, f32 [tokens], results are E4M3 codes,
// which row_scales multiply: dim is a multiple of 16 then, and out begins at a multiple of 16 bytes. All
// rows have one scale, the power of two that brings the largest value into E4M3's range: no result is
// larger, and a power of two takes no bit from one. Where rows of out lie in two places, theirs do.
//
// As attention_sm90.cu, with these differences: a tile comes by one copy in bulk; the computing warpgroups
// take no turns, which gains nothing here; and a tile of values is multiplied by a power of two of its
// own, which goes into the exponent of the weights, relative to the largest power so far.
//
// Launch: 384 threads; grid x = tiles, y = heads; 180368 bytes of dynamic shared memory.

#if defined(__CUDA_ARCH_FEAT_SM90_ALL)

// Warpgroups that compute.
constexpr int ATTENTION_QUANTIZED_GROUPS = 2;
constexpr int ATTENTION_QUANTIZED_THREADS = 128 * (1 + ATTENTION_QUANTIZED_GROUPS);
constexpr int ATTENTION_QUANTIZED_QUERIES = 64 * ATTENTION_QUANTIZED_GROUPS;
constexpr int ATTENTION_QUANTIZED_TILE = 128 * 128;
static_assert(ATTENTION_QUANTIZED_QUERIES == 128, "a block's queries are a tile, which has one scale");
// Places for tiles of keys, and as many for tiles of values.
constexpr int ATTENTION_QUANTIZED_PLACES = 4;
// Bytes of the queries, then of the tiles, then of the results: two for each element, in halves of 64
// of them side by side.
constexpr int ATTENTION_QUANTIZED_TILES_AT = ATTENTION_QUANTIZED_TILE;
constexpr int ATTENTION_QUANTIZED_RESULTS_AT =
    ATTENTION_QUANTIZED_TILES_AT + 2 * ATTENTION_QUANTIZED_PLACES * ATTENTION_QUANTIZED_TILE;
constexpr int ATTENTION_QUANTIZED_BARRIERS_AT = ATTENTION_QUANTIZED_RESULTS_AT + 2 * ATTENTION_QUANTIZED_QUERIES * 128;
constexpr int ATTENTION_QUANTIZED_POWER_AT =
    ATTENTION_QUANTIZED_BARRIERS_AT + 4 * ATTENTION_QUANTIZED_PLACES * ATTENTION_SM90_BARRIER;
// The name of the barrier between who finds the largest power and who needs it.
constexpr int ATTENTION_QUANTIZED_POWER_FOUND = 1;
// The largest weight of a row is 2^8 where its maximum is new, and below 448, the largest code, until
// that is outgrown: small weights keep as many bits as can be.
constexpr float ATTENTION_QUANTIZED_LARGEST = 8.0f;
constexpr float ATTENTION_QUANTIZED_HEADROOM = 0.75f;
// Added to an integer below 2^22 in magnitude, which a score is, this gives the bits of that number plus
// 1.5 * 2^23: a cheap conversion, whose offset goes into what is added to the exponents anyway.
constexpr int ATTENTION_QUANTIZED_FLOAT = 0x4b400000;
constexpr float ATTENTION_QUANTIZED_FLOAT_OFFSET = 12582912.0f;
// A score that so becomes the lowest number: its weight is 0, since scales are at least INT8_LEAST_SCALE.
constexpr int ATTENTION_QUANTIZED_HIDDEN = (int)(0xff7fffffu - ATTENTION_QUANTIZED_FLOAT);

struct AttentionQuantizedShape {
    int tokens, heads, dim;
    float scale;

    __device__ __forceinline__ int tiles() const { return (tokens + 127) / 128; }
    // Bytes of a head's codes.
    __device__ __forceinline__ long long head_codes() const { return (long long)tiles() * ATTENTION_QUANTIZED_TILE; }
};

// The block's shared memory: queries, tiles, a place for the results, barriers.
struct AttentionQuantizedMemory {
    unsigned int queries;

    // The tile in a place: keys first, then values.
    __device__ __forceinline__ unsigned int tile(int place) const {
        return queries + ATTENTION_QUANTIZED_TILES_AT + place * ATTENTION_QUANTIZED_TILE;
    }
    __device__ __forceinline__ unsigned int full(int place) const {
        return queries + ATTENTION_QUANTIZED_BARRIERS_AT + place * ATTENTION_SM90_BARRIER;
    }
    __device__ __forceinline__ unsigned int free(int place) const {
        return full(2 * ATTENTION_QUANTIZED_PLACES + place);
    }
    // Where the largest power of all heads' values goes.
    __device__ __forceinline__ unsigned int largest_power() const { return queries + ATTENTION_QUANTIZED_POWER_AT; }
};

// Where results go: bf16, or codes where there are scales.
struct AttentionQuantizedResults {
    void *out, *out_rest;
    float *scales, *scales_rest;
    int split;
};

// Finds the largest of so many powers. By one warp.
__device__ __forceinline__ void attention_quantized_largest_power(const float* powers, int count,
                                                                  const AttentionQuantizedMemory& memory) {
    float largest = minus_infinity();
    for (int i = threadIdx.x % 32; i < count; i += 32) largest = fmaxf(largest, powers[i]);
#pragma unroll
    for (int step = 16; step > 0; step /= 2) largest = fmaxf(largest, __shfl_xor_sync(0xffffffffu, largest, step));
    if (threadIdx.x % 32 == 0) store_shared(memory.largest_power(), __float_as_uint(largest));
    named_arrive(ATTENTION_QUANTIZED_POWER_FOUND, 32 + 128 * ATTENTION_QUANTIZED_GROUPS);
}

// Writes a warp's 16 rows from `warp_row` of the group's on, as codes, by way of its own part of `place`:
// chunk c of row r, 16 bytes, is at c ^ (r % 8). `codes` is at the group's first query, `left` of which exist.
__device__ __forceinline__ void attention_quantized_store(unsigned int place, const float (&sums)[16][4],
                                                          const float (&factors)[2], int warp_row, int lane,
                                                          const SplitTokens<unsigned char>& codes,
                                                          long long token_stride, int left, int dim) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
        const int row = warp_row + half * 8 + lane / 4;
#pragma unroll
        for (int m = 0; m < 16; ++m) {
            const unsigned int pair =
                e4m3_pair(sums[m][half * 2] * factors[half], sums[m][half * 2 + 1] * factors[half]);
            store_shared_half(place + row * 128 + (m / 2 ^ row % 8) * 16 + m % 2 * 8 + lane % 4 * 2, pair);
        }
    }
    __syncwarp();
#pragma unroll
    for (int i = lane; i < 16 * 8; i += 32) {
        const int row = warp_row + i / 8;
        const int chunk = i % 8;
        const uint4 words = load_shared(place + row * 128 + (chunk ^ row % 8) * 16);
        if (row < left && chunk * 16 < dim)
            __stwb((uint4*)(codes.base(row) + row * token_stride + chunk * 16), words);
    }
}

// Moves the queries, and all keys and values, from the last tile to the first. Tile number n (from 0,
// in this order) is in place n % ATTENTION_QUANTIZED_PLACES. Pointers are at the head's first tile. By
// one thread.
__device__ __forceinline__ void attention_quantized_move(const unsigned char* q, const unsigned char* k,
                                                         const unsigned char* v, const AttentionQuantizedShape& shape,
                                                         const AttentionQuantizedMemory& memory) {
    constexpr int PLACES = ATTENTION_QUANTIZED_PLACES;
    constexpr int TILE = ATTENTION_QUANTIZED_TILE;
    const int tiles = shape.tiles();
    // Keys of tile n, then values of tile n - 1. The queries come with the first keys.
#pragma unroll 1
    for (int n = 0; n <= tiles; ++n) {
#pragma unroll 1
        for (int values = 0; values < 2; ++values) {
            const int number = n - values;
            if (number < 0 || number >= tiles) continue;
            const int place = values * PLACES + number % PLACES;
            const unsigned int full = memory.full(place);
            block_wait(memory.free(place), (number / PLACES & 1) ^ 1);
            block_arrive_for(full, n == 0 ? 2 * TILE : TILE);
            if (n == 0) copy_bulk(memory.queries, q + blockIdx.x * TILE, TILE, full);
            copy_bulk(memory.tile(place), (values != 0 ? v : k) + (long long)(tiles - 1 - number) * TILE, TILE, full);
        }
    }
}

// These two leave products under way.

__device__ __forceinline__ void attention_quantized_scores(int (&scores)[16][4], unsigned int q_rows,
                                                           unsigned int k_tile) {
#pragma unroll
    for (int d = 0; d < 128; d += 32)
        wgmma_shared_int8(scores, wgmma_operand(q_rows + d, 16), wgmma_operand(k_tile + d, 16), d > 0);
    wgmma_commit();
}

__device__ __forceinline__ void attention_quantized_values(float (&sums)[16][4], const unsigned int (&weights)[4][4],
                                                           unsigned int v_tile) {
#pragma unroll
    for (int j = 0; j < 4; ++j) wgmma_registers_fp8(sums, weights[j], wgmma_operand(v_tile + j * 32, 16));
    wgmma_commit();
}

// The largest score of two rows, which four lanes share, as attention_sm90_largest.
__device__ __forceinline__ void attention_quantized_largest(const int (&scores)[16][4], float (&largest)[2]) {
    int parts[4] = {scores[0][0], scores[0][1], scores[0][2], scores[0][3]};
#pragma unroll
    for (int m = 1; m < 16; ++m) {
#pragma unroll
        for (int e = 0; e < 4; ++e) parts[e] = max(parts[e], scores[m][e]);
    }
    int both[2] = {max(parts[0], parts[1]), max(parts[2], parts[3])};
#pragma unroll
    for (int step = 1; step <= 2; ++step) {
#pragma unroll
        for (int half = 0; half < 2; ++half)
            both[half] = max(both[half], __shfl_xor_sync(0xffffffffu, both[half], step));
    }
#pragma unroll
    for (int half = 0; half < 2; ++half) largest[half] = (float)both[half];
}

// Computes on 64 of the queries of the block's head. `powers` and `k_scales` are at the head's. q_scale is all that
// multiplies scores beside k_scales, for weights that are powers of two.
__device__ __forceinline__ void attention_quantized_compute(const AttentionQuantizedResults& results,
                                                            const float* powers, const float* k_scales, float q_scale,
                                                            const AttentionQuantizedShape& shape,
                                                            const AttentionQuantizedMemory& memory) {
    constexpr int PLACES = ATTENTION_QUANTIZED_PLACES;
    const int group = threadIdx.x / 128 - 1;
    const int lane = threadIdx.x % 32;
    const unsigned int q_rows = memory.queries + group * 64 * 128;
    const int tiles = shape.tiles();

    float sums[16][4] = {};
    int scores[16][4] = {};
    unsigned int weights[4][4];
    float maxima[2] = {minus_infinity(), minus_infinity()};
    float totals[2] = {};
    // What sums are to be multiplied by is two to this.
    float power = minus_infinity();

    // Each round starts the scores of one tile and the sums of the tile before, and exponentiates while the
    // latter are under way.
#pragma unroll 1
    for (int n = 0; n < tiles; ++n) {
        const int tile = tiles - 1 - n;
        const int place = n % PLACES;
        const int before = PLACES + (n + PLACES - 1) % PLACES;
        const float tile_power = powers[tile];
        const float log2_scale = q_scale * k_scales[tile];
        block_wait(memory.full(place), n / PLACES & 1);
        wgmma_fence();
        attention_quantized_scores(scores, q_rows, memory.tile(place));
        if (n > 0) {
            block_wait(memory.full(before), (n - 1) / PLACES & 1);
            attention_quantized_values(sums, weights, memory.tile(before));
            wgmma_wait<1>(scores);
        } else {
            wgmma_wait<0>(scores);
        }
        if (lane == 0) block_arrive(memory.free(place));

        if (n == 0) {
            const int keys = shape.tokens - tile * 128;
            attention_sm90_hide(scores, {keys, keys}, lane, ATTENTION_QUANTIZED_HIDDEN);
        }
        float largest[2];
        attention_quantized_largest(scores, largest);
        const float largest_power = fmaxf(power, tile_power);
        const float grown = exp2_approx(power - largest_power);
        const float shift = tile_power - largest_power;
        bool outgrown = power != largest_power;
        power = largest_power;
        float factors[2], base[2];
#pragma unroll
        for (int half = 0; half < 2; ++half) {
            const float maximum = largest[half] * log2_scale;
            const bool above = maximum > maxima[half] + ATTENTION_QUANTIZED_HEADROOM;
            const float kept = above ? maximum : maxima[half];
            const float factor = above ? exp2_approx(maxima[half] - maximum) : 1.0f;
            outgrown |= above;
            maxima[half] = kept;
            totals[half] *= factor;
            factors[half] = factor * grown;
            base[half] = fmaf(ATTENTION_QUANTIZED_FLOAT_OFFSET, log2_scale,
                              kept - ATTENTION_QUANTIZED_LARGEST - shift);
        }

        float numbers[16][4];
        float total[2][2] = {};
#pragma unroll
        for (int m = 0; m < 16; ++m) {
#pragma unroll
            for (int e = 0; e < 4; ++e) {
                const float score = __int_as_float(scores[m][e] + ATTENTION_QUANTIZED_FLOAT);
                numbers[m][e] = exp2_approx(fmaf(score, log2_scale, -base[e / 2]));
                total[e / 2][e % 2] += numbers[m][e];
            }
        }

        // The last round's weights and sums are free again.
        wgmma_wait<0>(sums);
        if (n > 0 && lane == 0) block_arrive(memory.free(before));
        if (__any_sync(0xffffffffu, outgrown)) {
#pragma unroll
            for (int m = 0; m < 16; ++m) {
#pragma unroll
                for (int e = 0; e < 4; ++e) sums[m][e] *= factors[e / 2];
            }
        }

        // The order of values within 16 tokens is this one's: see fp8_quantize_values.
#pragma unroll
        for (int m = 0; m < 16; m += 2) {
#pragma unroll
            for (int half = 0; half < 2; ++half)
                weights[m / 4][m % 4 + half] =
                    e4m3_pair(numbers[m][half * 2], numbers[m][half * 2 + 1]) |
                    e4m3_pair(numbers[m + 1][half * 2], numbers[m + 1][half * 2 + 1]) << 16;
        }
        const float unshift = exp2_approx(-shift);
#pragma unroll
        for (int half = 0; half < 2; ++half)
            totals[half] = fmaf(total[half][0] + total[half][1], unshift, totals[half]);
    }
    const int last = (tiles - 1) % PLACES + PLACES;
    block_wait(memory.full(last), (tiles - 1) / PLACES & 1);
    wgmma_fence();
    attention_quantized_values(sums, weights, memory.tile(last));
    wgmma_wait<0>(sums);

    const float unit = exp2_approx(power);
    float factors[2] = {attention_sm90_inverse(totals[0]) * unit, attention_sm90_inverse(totals[1]) * unit};
    constexpr int HALF = 64 * 128;
    const unsigned int place = memory.queries + ATTENTION_QUANTIZED_RESULTS_AT + group * 2 * HALF;
    const int thread = threadIdx.x % 128;
    const int q_start = blockIdx.x * ATTENTION_QUANTIZED_QUERIES + group * 64;
    const int left = shape.tokens - q_start;
    const int token_stride = shape.heads * shape.dim;
    const long long first = (long long)q_start * token_stride + blockIdx.y * shape.dim;
    if (results.scales == nullptr) {
        const SplitTokens<bf16> out{(bf16*)results.out, (bf16*)results.out_rest, results.split};
        attention_sm90_store<HALF>(place, sums, factors, thread / 32 * 16, lane, out.from(q_start, first), token_stride,
                                   left, shape.dim, true);
        return;
    }
    named_sync(ATTENTION_QUANTIZED_POWER_FOUND, 32 + 128 * ATTENTION_QUANTIZED_GROUPS);
    const float largest = load_shared_float(memory.largest_power());
    const float inverse = exp2_approx(-largest);
    factors[0] *= inverse, factors[1] *= inverse;
    const SplitTokens<unsigned char> codes{(unsigned char*)results.out, (unsigned char*)results.out_rest,
                                           results.split};
    attention_quantized_store(place, sums, factors, thread / 32 * 16, lane, codes.from(q_start, first), token_stride,
                              left, shape.dim);
    if (blockIdx.y == 0 && thread < min(left, 64)) {
        const SplitTokens<float> scales{results.scales, results.scales_rest, results.split};
        scales.base(q_start + thread)[q_start + thread] = exp2_approx(largest);
    }
}

extern "C" __global__ void __launch_bounds__(ATTENTION_QUANTIZED_THREADS, 1)
    attention_quantized_d128_sm90(const unsigned char* q, const unsigned char* k, const unsigned char* v,
                                  const float* q_scales, const float* k_scales, const float* v_powers, void* out,
                                  void* out_rest, float* row_scales, float* row_scales_rest, int split, int tokens,
                                  int heads, int dim, float scale) {
    extern __shared__ __align__(1024) unsigned char attention_quantized_shared[];
    const AttentionQuantizedShape shape{tokens, heads, dim, scale};
    const AttentionQuantizedMemory memory{shared_address(attention_quantized_shared)};
    const int head = blockIdx.y;
    if (threadIdx.x == 0) {
        for (int place = 0; place < 2 * ATTENTION_QUANTIZED_PLACES; ++place) {
            block_barrier(memory.full(place), 1);
            // One arrival of each computing warp.
            block_barrier(memory.free(place), 4 * ATTENTION_QUANTIZED_GROUPS);
        }
        block_barriers_done();
    }
    __syncthreads();

    if (threadIdx.x < ATTENTION_SM90_MOVERS) {
        give_registers<40>();
        const long long first = head * shape.head_codes();
        if (threadIdx.x == 0) attention_quantized_move(q + first, k + first, v + first, shape, memory);
        if (threadIdx.x / 32 == 1 && row_scales != nullptr)
            attention_quantized_largest_power(v_powers, heads * shape.tiles(), memory);
    } else {
        take_registers<232>();
        const int first_tile = head * shape.tiles();
        const float q_scale = q_scales[first_tile + blockIdx.x] * scale * 1.4426950408889634f;
        const AttentionQuantizedResults results{out, out_rest, row_scales, row_scales_rest, split};
        attention_quantized_compute(results, v_powers + first_tile, k_scales + first_tile, q_scale, shape, memory);
    }
}

#endif
