// Attention within one sequence on eight bits, on Hopper: softmax(q k^T * scale) v with queries and
// keys as integers, weights and values as E4M3 codes, f32 statistics and sums (after "SageAttention2",
// Zhang et al., 2024). Only in programs compiled for sm_90a.
//
// Eight bits come in tiles, as shared memory holds them: [heads, tiles, 128, 128], tiles =
// ceil(tokens / 128), in which 16-byte chunk c of row r is at place c ^ (r % 8). Rows of q and k are
// those of a token: its dim, and zeros from there on; rows of tokens that there are not may hold
// anything. Their q_scales and k_scales [heads, tiles, 2] say what a tile is multiplied by, and the length
// of its longest row then. v and v_powers are what fp8_quantize_values writes. dim <= 128 is a multiple
// of 8. Tiles begin at multiples of 16 bytes.
//
// Without row_scales, out is bf16, as in attention.cu. With row_scales, f32 [tokens], results are E4M3 codes,
// which row_scales multiply: dim is a multiple of 16 then, and out begins at a multiple of 16 bytes. All
// rows have one scale, the power of two that brings the largest value into E4M3's range: no result is
// larger, and a power of two takes no bit from one. Where rows of out lie in two places, theirs do.
//
// As attention_sm90.cu, with these differences: a tile comes by one copy in bulk; and a tile of values is
// multiplied by a power of two of its own, which goes into the exponent of the weights, relative to the largest
// power so far.
//
// Launch: 512 threads; grid x = ceil(tokens / 192), y = heads; 204944 bytes of dynamic shared memory.

#if defined(__CUDA_ARCH_FEAT_SM90_ALL)

constexpr int ATTENTION_QUANTIZED_TILE = 128 * 128;
// Places for tiles of keys, and as many for tiles of values.
constexpr int ATTENTION_QUANTIZED_PLACES = 4;
// Bytes of the queries, then of the tiles, then of the results: two for each element, in halves of 64
// of them side by side.
constexpr int ATTENTION_QUANTIZED_TILES_AT = ATTENTION_SM90_QUERIES * 128;
constexpr int ATTENTION_QUANTIZED_RESULTS_AT =
    ATTENTION_QUANTIZED_TILES_AT + 2 * ATTENTION_QUANTIZED_PLACES * ATTENTION_QUANTIZED_TILE;
constexpr int ATTENTION_QUANTIZED_BARRIERS_AT = ATTENTION_QUANTIZED_RESULTS_AT + 2 * ATTENTION_SM90_QUERIES * 128;
constexpr int ATTENTION_QUANTIZED_POWER_AT =
    ATTENTION_QUANTIZED_BARRIERS_AT + 4 * ATTENTION_QUANTIZED_PLACES * ATTENTION_SM90_BARRIER;
// The name of the barrier between who finds the largest power and who needs it.
constexpr int ATTENTION_QUANTIZED_POWER_FOUND = 1;
// Of scores that AttentionQuantizedLinear takes, the farthest from 0, as a power of two. What integers and their
// longest row are off by adds less than a tenth. From the lowest score up to the largest are then 110 powers, and
// the exponent of a weight is 127 + LEVEL + LEAST_SHIFT - 110 at least, above 0; and where a row's maximum is
// still that of its first keys, 127 + LEVEL + 110 at most, below 255.
constexpr float ATTENTION_QUANTIZED_REACH = 50.0f;

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
    named_arrive(ATTENTION_QUANTIZED_POWER_FOUND, 32 + 128 * ATTENTION_SM90_GROUPS);
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
    const int first_query = blockIdx.x * ATTENTION_SM90_QUERIES;
    const int queries = min(ATTENTION_SM90_QUERIES, tiles * 128 - first_query) * 128;
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
            block_arrive_for(full, n == 0 ? TILE + queries : TILE);
            if (n == 0) copy_bulk(memory.queries, q + first_query * 128ll, queries, full);
            copy_bulk(memory.tile(place), (values != 0 ? v : k) + (long long)(tiles - 1 - number) * TILE, TILE, full);
        }
    }
}

// These two leave products under way. Operands are at their first row; the latter's at the step's first token.

__device__ __forceinline__ void attention_quantized_scores(AttentionQuantizedScores& scores, unsigned long long q,
                                                           unsigned long long k) {
    wgmma_fence();
#pragma unroll
    for (int d = 0; d < 128; d += 32) wgmma_shared_int8(scores, wgmma_further(q, d), wgmma_further(k, d), d > 0);
    wgmma_commit();
}

__device__ __forceinline__ void attention_quantized_values(float (&sums)[16][4],
                                                           const AttentionQuantizedWeights& weights,
                                                           unsigned long long v) {
    wgmma_fence();
#pragma unroll
    for (int j = 0; j < ATTENTION_SM90_STEP / 32; ++j)
        wgmma_registers_fp8(sums, weights[j], wgmma_further(v, j * 32));
    wgmma_commit();
}

// The farthest that a score can be from 0, with queries of this length. By each warp.
__device__ __forceinline__ float attention_quantized_reach(const float2* k_scales, int tiles, float q_length,
                                                           float log2_scale) {
    float longest = 0.0f;
    for (int i = threadIdx.x % 32; i < tiles; i += 32) longest = fmaxf(longest, k_scales[i].y);
    return max_lanes<32>(longest) * q_length * log2_scale;
}

// Computes on 64 of the queries of the block's head. `powers` and `k_scales` are at the head's. q_scale is all that
// multiplies scores beside k_scales, for weights that are powers of two.
template <class Weighing>
__device__ __forceinline__ void attention_quantized_compute(const AttentionQuantizedResults& results,
                                                            const float* powers, const float2* k_scales,
                                                            float q_scale, const AttentionQuantizedShape& shape,
                                                            const AttentionQuantizedMemory& memory) {
    constexpr int PLACES = ATTENTION_QUANTIZED_PLACES;
    constexpr int STEP = ATTENTION_SM90_STEP;
    constexpr int STEPS = 128 / STEP;
    const int group = threadIdx.x / 128 - 1;
    const int lane = threadIdx.x % 32;
    const unsigned long long q = wgmma_operand(memory.queries + group * 64 * 128, 16);
    const unsigned long long first_tile = wgmma_operand(memory.tile(0), 16);
    const auto tile_in = [&](int place) { return wgmma_further(first_tile, place * ATTENTION_QUANTIZED_TILE); };
    const int tiles = shape.tiles();

    AttentionSm90Rows rows;
    AttentionQuantizedScores scores;
    AttentionQuantizedWeights weights;
    Weighing weighing;
    // What sums are to be multiplied by is two to this.
    float power = minus_infinity();
    // Of the next tile.
    const float* power_at = powers + tiles - 1;
    const float2* scale_at = k_scales + tiles - 1;
    float next_power = *power_at, next_scale = scale_at->x;

    block_wait(memory.full(0), 0);
    attention_quantized_scores(scores, q, tile_in(0));
    // As in attention_sm90_compute.
    wgmma_wait<0>(scores);
#pragma unroll 1
    for (int n = 0; n < tiles; ++n) {
        const int place = n % PLACES;
        const float tile_power = next_power;
        const float log2_scale = q_scale * next_scale;
        if (n + 1 < tiles) --power_at, --scale_at;
        next_power = *power_at, next_scale = scale_at->x;
        const float largest_power = fmaxf(power, tile_power);
        const float grown = exp2_approx(power - largest_power);
        const bool outgrown = power != largest_power;
        power = largest_power;
        weighing.begin_tile(log2_scale, max(__float2int_rn(tile_power - power), ATTENTION_QUANTIZED_LEAST_SHIFT));
#pragma unroll
        for (int step = 0; step < STEPS; ++step) {
            wgmma_wait<0>(scores);
            wgmma_wait<0>(rows.sums);
            if (lane == 0) {
                if (step == STEPS - 1) block_arrive(memory.free(place));
                if (step == 0 && n > 0) block_arrive(memory.free(PLACES + (n + PLACES - 1) % PLACES));
            }
            if (step == 0 && outgrown) {
                rows.multiply_sums(0, grown);
                rows.multiply_sums(1, grown);
            }
            AttentionQuantizedSeen seen{shape.tokens - (tiles - 1) * 128 - step * STEP - lane % 4 * 2, n == 0};
            // Each comparison with it would be prepared before the loop, in a register of its own.
            asm volatile("" : "+r"(seen.keys));
            AttentionQuantizedScores numbers;
            weighing.take(scores, numbers, seen, rows);

            // After the last step, some that nobody needs.
            const int next = step == STEPS - 1 ? (n + 1) % PLACES : place;
            if (step == STEPS - 1 && n + 1 < tiles) block_wait(memory.full(next), (n + 1) / PLACES & 1);
            attention_quantized_scores(scores, q, wgmma_further(tile_in(next), (step + 1) % STEPS * STEP * 128));

            weighing.weigh(numbers, weights, seen, n == 0 && step == 0, rows, scores);
            if (step == 0) block_wait(memory.full(PLACES + place), n / PLACES & 1);
            attention_quantized_values(rows.sums, weights, wgmma_further(tile_in(PLACES + place), step * STEP));
        }
    }
    wgmma_wait<0>(scores);
    wgmma_wait<0>(rows.sums);

    const float unit = exp2_approx(power);
    float factors[2] = {attention_sm90_inverse(rows.totals[0]) * unit,
                        attention_sm90_inverse(rows.totals[1]) * unit};
    constexpr int HALF = 64 * 128;
    const unsigned int place = memory.queries + ATTENTION_QUANTIZED_RESULTS_AT + group * 2 * HALF;
    const int thread = threadIdx.x % 128;
    const int q_start = blockIdx.x * ATTENTION_SM90_QUERIES + group * 64;
    const int left = shape.tokens - q_start;
    const int token_stride = shape.heads * shape.dim;
    const long long first = (long long)q_start * token_stride + blockIdx.y * shape.dim;
    if (results.scales == nullptr) {
        const SplitTokens<bf16> out{(bf16*)results.out, (bf16*)results.out_rest, results.split};
        attention_sm90_store<HALF>(place, rows.sums, factors, thread / 32 * 16, lane, out.from(q_start, first),
                                   token_stride, left, shape.dim, true);
        return;
    }
    named_sync(ATTENTION_QUANTIZED_POWER_FOUND, 32 + 128 * ATTENTION_SM90_GROUPS);
    const float largest = load_shared_float(memory.largest_power());
    const float inverse = exp2_approx(-largest);
    factors[0] *= inverse, factors[1] *= inverse;
    const SplitTokens<unsigned char> codes{(unsigned char*)results.out, (unsigned char*)results.out_rest,
                                           results.split};
    attention_quantized_store(place, rows.sums, factors, thread / 32 * 16, lane, codes.from(q_start, first),
                              token_stride, left, shape.dim);
    if (blockIdx.y == 0 && thread < min(left, 64)) {
        const SplitTokens<float> scales{results.scales, results.scales_rest, results.split};
        scales.base(q_start + thread)[q_start + thread] = exp2_approx(largest);
    }
}

extern "C" __global__ void __launch_bounds__(ATTENTION_SM90_THREADS, 1)
    attention_quantized_d128_sm90(const unsigned char* q, const unsigned char* k, const unsigned char* v,
                                  const float2* q_scales, const float2* k_scales, const float* v_powers, void* out,
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
            block_barrier(memory.free(place), 4 * ATTENTION_SM90_GROUPS);
        }
        block_barriers_done();
    }
    __syncthreads();

    if (threadIdx.x < ATTENTION_SM90_MOVERS) {
        give_registers<32>();
        const long long first = head * shape.head_codes();
        if (threadIdx.x == 0) attention_quantized_move(q + first, k + first, v + first, shape, memory);
        if (threadIdx.x / 32 == 1 && row_scales != nullptr)
            attention_quantized_largest_power(v_powers, heads * shape.tiles(), memory);
    } else {
        take_registers<160>();
        const int tiles = shape.tiles();
        const int first_tile = head * tiles;
        // Queries that there are not take the last tile's.
        const int first_query = blockIdx.x * ATTENTION_SM90_QUERIES + (threadIdx.x / 128 - 1) * 64;
        const float2 q_scale = q_scales[first_tile + min(first_query / 128, tiles - 1)];
        const float log2_scale = scale * 1.4426950408889634f;
        const float* powers = v_powers + first_tile;
        k_scales += first_tile;
        const AttentionQuantizedResults results{out, out_rest, row_scales, row_scales_rest, split};
        if (attention_quantized_reach(k_scales, tiles, q_scale.y, log2_scale) <= ATTENTION_QUANTIZED_REACH)
            attention_quantized_compute<AttentionQuantizedLinear>(results, powers, k_scales, q_scale.x * log2_scale,
                                                                  shape, memory);
        else
            attention_quantized_compute<AttentionQuantizedExact>(results, powers, k_scales, q_scale.x * log2_scale,
                                                                 shape, memory);
    }
}

#endif
