// The attention of attention.cu for dim <= 128 on Hopper, whose warpgroup products are needed to
// use its tensor cores fully. Only in programs compiled for sm_90a.
//
// One warpgroup moves keys and values, two compute on 64 queries each. They meet at barriers of
// single tiles only, and the two take turns: one multiplies while the other exponentiates.
//
// Same arguments. Launch: 384 threads; grid x = ceil(q_len / 128), y = heads, z = batch; 163904
// bytes of dynamic shared memory. attention_bf16_d128_sm90 and attention_bf16_d128_sm90_causal.

#if defined(__CUDA_ARCH_FEAT_SM90_ALL)

constexpr int ATTENTION_SM90_THREADS = 384;
constexpr int ATTENTION_SM90_MOVERS = 128;
constexpr int ATTENTION_SM90_QUERIES = 128;
constexpr int ATTENTION_SM90_KEYS = 128;
// Each tile is 128 tokens: 64 of their elements (128 bytes) side by side, then the other 64.
constexpr int ATTENTION_SM90_ROW = 128;
constexpr int ATTENTION_SM90_HALF = 128 * ATTENTION_SM90_ROW;
constexpr int ATTENTION_SM90_TILE = 2 * ATTENTION_SM90_HALF;
// After the queries, two tiles of keys and two of values: for each of these four places a barrier
// that it is full, then for each one that it is free.
constexpr int ATTENTION_SM90_BARRIERS = 5 * ATTENTION_SM90_TILE;
constexpr int ATTENTION_SM90_BARRIER = 8;
constexpr int ATTENTION_SM90_KEYS_AT = 0;
constexpr int ATTENTION_SM90_VALUES_AT = 2;
// Named barriers: of each computing warpgroup alone, and of its turn.
constexpr int ATTENTION_SM90_ALONE = 1;
constexpr int ATTENTION_SM90_TURN = 3;

// `half`: bytes of one half of the tile.
__device__ __forceinline__ unsigned int attention_sm90_offset(int row, int chunk, int half = ATTENTION_SM90_HALF) {
    return chunk / 8 * half + row * ATTENTION_SM90_ROW + ((chunk % 8 ^ (row & 7)) << 4);
}

// Loads 128 tokens, `available` of which exist; the others, and elements from `dim` on, are 0. By
// the moving warpgroup. (A split at 0 has all tokens in one place.)
__device__ __forceinline__ void attention_sm90_load(unsigned int tile, const SplitTokens<const bf16>& source,
                                                    long long token_stride, int available, int dim,
                                                    bool asynchronous) {
    constexpr int STEP = ATTENTION_SM90_MOVERS / 16;
    const int chunk = threadIdx.x % 16;
    const int first_row = threadIdx.x / 16;
    const unsigned int to = tile + attention_sm90_offset(first_row, chunk);
    const bool in_one_place = source.split <= 0 || source.split >= available;
    if (asynchronous && in_one_place) {
        const bf16* from = source.base(0) + first_row * token_stride + chunk * 8;
        const bool exists = chunk * 8 < dim;
#pragma unroll
        for (int i = 0; i < 128 / STEP; ++i) {
            const bool valid = exists && first_row + i * STEP < available;
            copy_async(to + i * STEP * ATTENTION_SM90_ROW, from + i * STEP * token_stride, valid);
        }
    } else {
#pragma unroll 1
        for (int i = 0; i < 128 / STEP; ++i) {
            const int row = first_row + i * STEP;
            const bf16* from = source.base(row) + row * token_stride + chunk * 8;
            const int left = row < available ? dim - chunk * 8 : 0;
            if (asynchronous) {
                copy_async(to + i * STEP * ATTENTION_SM90_ROW, from, left > 0);
            } else {
                store_shared(to + i * STEP * ATTENTION_SM90_ROW, attention_chunk(from, left));
            }
        }
    }
}

// Leaves out the keys that rows do not see: from `seen` on, counted from the tile's first.
template <class T>
__device__ __forceinline__ void attention_sm90_hide(T (&scores)[16][4], const int (&seen)[2], int lane, T hidden) {
#pragma unroll
    for (int m = 0; m < 16; ++m) {
#pragma unroll
        for (int e = 0; e < 4; ++e)
            if (m * 8 + lane % 4 * 2 + e % 2 >= seen[e / 2]) scores[m][e] = hidden;
    }
}

// The largest score of a row, which four lanes share: row lane / 4, or 8 rows further on.
__device__ __forceinline__ float attention_sm90_largest(const float (&scores)[16][4], int half) {
    float largest = scores[0][half * 2];
#pragma unroll
    for (int m = 0; m < 16; ++m) largest = fmaxf(largest, fmaxf(scores[m][half * 2], scores[m][half * 2 + 1]));
    largest = fmaxf(largest, __shfl_xor_sync(0xffffffffu, largest, 1));
    return fmaxf(largest, __shfl_xor_sync(0xffffffffu, largest, 2));
}

// What sums are multiplied by: a row's total is that of four lanes, and 0 where it sees no key.
__device__ __forceinline__ float attention_sm90_inverse(float total) {
    total += __shfl_xor_sync(0xffffffffu, total, 1);
    total += __shfl_xor_sync(0xffffffffu, total, 2);
    return total == 0.0f ? 0.0f : 1.0f / total;
}

// Writes a warp's 16 rows from `warp_row` on, by way of their place in a tile, so that whole lines
// leave. `out` is at the tile's first query, `left` of which exist from there on.
template <int HALF>
__device__ __forceinline__ void attention_sm90_store(unsigned int tile, const float (&sums)[16][4],
                                                     const float (&factors)[2], int warp_row, int lane,
                                                     const SplitTokens<bf16>& out, long long token_stride, int left,
                                                     int dim, bool vector) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
        const int row = warp_row + half * 8 + lane / 4;
#pragma unroll
        for (int m = 0; m < 16; ++m)
            store_shared(tile + attention_sm90_offset(row, m, HALF) + lane % 4 * 4,
                         bf16_pair(sums[m][half * 2] * factors[half], sums[m][half * 2 + 1] * factors[half]));
    }
    __syncwarp();
#pragma unroll 4
    for (int i = lane; i < 16 * 16; i += 32) {
        const int row = warp_row + i / 16;
        const int chunk = i % 16;
        attention_store_chunk(out.base(row) + row * token_stride + chunk * 8,
                              load_shared(tile + attention_sm90_offset(row, chunk, HALF)),
                              row < left ? dim - chunk * 8 : 0, vector);
    }
}

// Queries times keys. The products are under way when this returns.
__device__ __forceinline__ void attention_sm90_scores(float (&scores)[16][4], unsigned int q_rows,
                                                      unsigned int k_tile) {
#pragma unroll
    for (int d = 0; d < 8; ++d) {
        const unsigned int at = d / 4 * ATTENTION_SM90_HALF + d % 4 * 32;
        wgmma_shared(scores, wgmma_operand(q_rows + at, 16), wgmma_operand(k_tile + at, 16), d > 0);
    }
    wgmma_commit();
}

// Adds weights times values. The products are under way when this returns.
__device__ __forceinline__ void attention_sm90_values(float (&sums)[16][4], const unsigned int (&weights)[8][4],
                                                      unsigned int v_tile) {
#pragma unroll
    for (int j = 0; j < 8; ++j)
        wgmma_registers(sums, weights[j],
                        wgmma_operand(v_tile + j * 16 * ATTENTION_SM90_ROW, ATTENTION_SM90_HALF));
    wgmma_commit();
}

// What a block works on. Tiles of keys are taken from the last to the first; tile number n (from 0,
// in this order) is in place n % 2.
struct AttentionSm90Block {
    unsigned int q_tile;
    int q_start;
    // Keys from `keys` on are seen by no token of the block, those before `all_seen` by all.
    int keys, all_seen;

    __device__ __forceinline__ int tiles() const { return (keys + ATTENTION_SM90_KEYS - 1) / ATTENTION_SM90_KEYS; }
    // The tile in a place: 0 and 1 of keys, 2 and 3 of values.
    __device__ __forceinline__ unsigned int tile(int place) const { return q_tile + (1 + place) * ATTENTION_SM90_TILE; }
    __device__ __forceinline__ unsigned int full(int place) const {
        return q_tile + ATTENTION_SM90_BARRIERS + place * ATTENTION_SM90_BARRIER;
    }
    __device__ __forceinline__ unsigned int free(int place) const {
        return q_tile + ATTENTION_SM90_BARRIERS + (4 + place) * ATTENTION_SM90_BARRIER;
    }
};

// Moves the queries, and all keys and values. Pointers are at the first query of the block and at
// the first key and value.
__device__ __forceinline__ void attention_sm90_move(const bf16* q, const bf16* k, SplitTokens<const bf16> v,
                                                    const AttentionShape& shape, const AttentionSm90Block& block,
                                                    bool asynchronous) {
    constexpr int KEYS = ATTENTION_SM90_KEYS;
    const int tiles = block.tiles();
    if (tiles == 0) return;
    attention_sm90_load(block.q_tile, SplitTokens<const bf16>{q, q, 0}, shape.q_token_stride,
                        shape.q_len - block.q_start, shape.dim, asynchronous);
    // Keys of tile n, then values of tile n - 1. A tile is told of when the next one is on its way.
    int unannounced = -1;
#pragma unroll 1
    for (int n = 0; n <= tiles; ++n) {
#pragma unroll 1
        for (int values = 0; values < 2; ++values) {
            const int number = n - values;
            if (number < 0 || number >= tiles) continue;
            const int place = (values != 0 ? ATTENTION_SM90_VALUES_AT : ATTENTION_SM90_KEYS_AT) + number % 2;
            const int start = (tiles - 1 - number) * KEYS;
            block_wait(block.free(place), (number / 2 & 1) ^ 1);
            const long long stride = values != 0 ? shape.v_token_stride : shape.k_token_stride;
            const SplitTokens<const bf16> source = values != 0 ? v : SplitTokens<const bf16>{k, k, 0};
            attention_sm90_load(block.tile(place), source.from(start, start * stride), stride, shape.k_len - start,
                                shape.dim, asynchronous);
            copy_async_commit();
            if (unannounced >= 0) {
                copy_async_wait<1>();
                wgmma_publish();
                block_arrive(block.full(unannounced));
            }
            unannounced = place;
        }
    }
    copy_async_wait<0>();
    wgmma_publish();
    block_arrive(block.full(unannounced));
}

// Computes on 64 of the queries. `thread` counts within the warpgroup, `group` is 0 or 1; `out` is
// at the first query of the block.
template <bool CAUSAL>
__device__ __forceinline__ void attention_sm90_compute(SplitTokens<bf16> out, const AttentionShape& shape,
                                                       const AttentionSm90Block& block, int group, int thread,
                                                       bool out_vector) {
    constexpr int KEYS = ATTENTION_SM90_KEYS;
    const int lane = thread % 32;
    const int warp_row = group * 64 + thread / 32 * 16;
    const int diagonal = shape.k_len - shape.q_len;
    const float log2_scale = shape.scale * 1.4426950408889634f;
    const unsigned int q_rows = block.q_tile + group * 64 * ATTENTION_SM90_ROW;
    const int tiles = block.tiles();

    float sums[16][4] = {};
    float scores[16][4] = {};
    unsigned int weights[8][4];
    float maxima[2] = {minus_infinity(), minus_infinity()};
    float totals[2] = {};

    // The first turn is the first group's.
    if (group == 1) named_arrive(ATTENTION_SM90_TURN, 256);

    // Each round starts the scores of one tile and the sums of the tile before, and exponentiates
    // while the latter are under way.
#pragma unroll 1
    for (int n = 0; n < tiles; ++n) {
        const int tile = tiles - 1 - n;
        const int place = n & 1;
        const int before = ATTENTION_SM90_VALUES_AT + (place ^ 1);
        block_wait(block.full(place), n / 2 & 1);
        named_sync(ATTENTION_SM90_TURN + group, 256);
        wgmma_fence();
        attention_sm90_scores(scores, q_rows, block.tile(place));
        if (n > 0) {
            block_wait(block.full(before), (n - 1) / 2 & 1);
            attention_sm90_values(sums, weights, block.tile(before));
            named_arrive(ATTENTION_SM90_TURN + (group ^ 1), 256);
            wgmma_wait<1>(scores);
        } else {
            named_arrive(ATTENTION_SM90_TURN + (group ^ 1), 256);
            wgmma_wait<0>(scores);
        }
        if (lane == 0) block_arrive(block.free(place));

        if (tile * KEYS + KEYS > block.all_seen) {
            int seen[2];
#pragma unroll
            for (int half = 0; half < 2; ++half) {
                const int row = block.q_start + warp_row + half * 8 + lane / 4;
                seen[half] = (CAUSAL ? min(shape.k_len, row + diagonal + 1) : shape.k_len) - tile * KEYS;
            }
            attention_sm90_hide(scores, seen, lane, minus_infinity());
        }

        float factors[2];
        bool outgrown = false;
#pragma unroll
        for (int half = 0; half < 2; ++half) {
            const float maximum = attention_sm90_largest(scores, half) * log2_scale;
            // See ATTENTION_HEADROOM: a row keeps its maximum until it is outgrown.
            factors[half] = 1.0f;
            if (maximum > maxima[half] + ATTENTION_HEADROOM) {
                factors[half] = exp2_approx(maxima[half] - maximum);
                maxima[half] = maximum;
                outgrown = true;
            }
            totals[half] *= factors[half];
            const float base = maxima[half] == minus_infinity() ? 0.0f : maxima[half];
#pragma unroll
            for (int m = 0; m < 16; ++m) {
#pragma unroll
                for (int e = 0; e < 2; ++e) {
                    const float weight = exp2_approx(fmaf(scores[m][half * 2 + e], log2_scale, -base));
                    totals[half] += weight;
                    scores[m][half * 2 + e] = weight;
                }
            }
        }

        // The last round's weights and sums are free again.
        wgmma_wait<0>(sums);
        if (n > 0 && lane == 0) block_arrive(block.free(before));
        if (__any_sync(0xffffffffu, outgrown)) {
#pragma unroll
            for (int m = 0; m < 16; ++m) {
#pragma unroll
                for (int e = 0; e < 4; ++e) sums[m][e] *= factors[e / 2];
            }
        }
#pragma unroll
        for (int m = 0; m < 16; ++m) {
#pragma unroll
            for (int half = 0; half < 2; ++half)
                weights[m / 2][m % 2 * 2 + half] = bf16_pair(scores[m][half * 2], scores[m][half * 2 + 1]);
        }
    }
    // The turn that the other group has given last.
    if (group == 0) named_sync(ATTENTION_SM90_TURN, 256);
    if (tiles > 0) {
        const int last = ATTENTION_SM90_VALUES_AT + (tiles - 1) % 2;
        block_wait(block.full(last), (tiles - 1) / 2 & 1);
        wgmma_fence();
        attention_sm90_values(sums, weights, block.tile(last));
        wgmma_wait<0>(sums);
    }

    // The result leaves through the queries' place, in which each warp writes and reads its own rows
    // once the warpgroup is done with the queries.
    named_sync(ATTENTION_SM90_ALONE + group, 128);
    const float factors[2] = {attention_sm90_inverse(totals[0]), attention_sm90_inverse(totals[1])};
    attention_sm90_store<ATTENTION_SM90_HALF>(block.q_tile, sums, factors, warp_row, lane, out, shape.out_token_stride,
                         shape.q_len - block.q_start, shape.dim, out_vector);
}

template <bool CAUSAL>
__device__ __forceinline__ void attention_sm90(const bf16* q, const bf16* k, SplitTokens<const bf16> v,
                                               SplitTokens<bf16> out, const AttentionShape& shape) {
    extern __shared__ __align__(1024) unsigned char attention_shared[];
    const int head = blockIdx.y;
    const int kv_head = head / (shape.heads / shape.kv_heads);
    AttentionSm90Block block;
    block.q_tile = shared_address(attention_shared);
    block.q_start = (CAUSAL ? gridDim.x - 1 - blockIdx.x : blockIdx.x) * ATTENTION_SM90_QUERIES;
    block.keys = block.all_seen = shape.k_len;
    if (CAUSAL) {
        const int diagonal = shape.k_len - shape.q_len;
        block.keys = max(min(block.keys, block.q_start + ATTENTION_SM90_QUERIES + diagonal), 0);
        block.all_seen = max(min(block.all_seen, block.q_start + 1 + diagonal), 0);
    }
    if (threadIdx.x == 0) {
        for (int place = 0; place < 4; ++place) {
            block_barrier(block.full(place), ATTENTION_SM90_MOVERS);
            // One arrival of each computing warp.
            block_barrier(block.free(place), 8);
        }
    }
    __syncthreads();

    if (threadIdx.x < ATTENTION_SM90_MOVERS) {
        give_registers<40>();
        const bool asynchronous =
            attention_moves_vectors(q, shape.q_token_stride, shape.q_batch_stride, shape.dim) &&
            attention_moves_vectors(k, shape.k_token_stride, shape.k_batch_stride, shape.dim) &&
            attention_moves_vectors(v, shape.v_token_stride, shape.v_batch_stride, shape.dim);
        attention_sm90_move(q + blockIdx.z * shape.q_batch_stride + block.q_start * shape.q_token_stride + head * shape.dim,
                            k + blockIdx.z * shape.k_batch_stride + kv_head * shape.dim,
                            v.from(0, blockIdx.z * shape.v_batch_stride + kv_head * shape.dim), shape, block,
                            asynchronous);
    } else {
        take_registers<232>();
        const int thread = threadIdx.x - ATTENTION_SM90_MOVERS;
        const bool out_vector =
            attention_moves_vectors(out, shape.out_token_stride, shape.out_batch_stride, shape.dim);
        attention_sm90_compute<CAUSAL>(
            out.from(block.q_start, blockIdx.z * shape.out_batch_stride + block.q_start * shape.out_token_stride +
                                        head * shape.dim),
            shape, block, thread / 128, thread % 128, out_vector);
    }
}

#define ATTENTION_SM90_KERNEL(NAME, CAUSAL)                                                                            \
    extern "C" __global__ void __launch_bounds__(ATTENTION_SM90_THREADS, 1)                                            \
        NAME(const bf16* q, const bf16* k, const bf16* v, bf16* out, int q_len, int k_len, int heads, int kv_heads,    \
             int dim, long long q_token_stride, long long k_token_stride, long long v_token_stride,                    \
             long long out_token_stride, long long q_batch_stride, long long k_batch_stride, long long v_batch_stride, \
             long long out_batch_stride, float scale, const bf16* v_rest, bf16* out_rest, int split) {                 \
        attention_sm90<CAUSAL>(q, k, SplitTokens<const bf16>{v, v_rest, split},                                        \
                               SplitTokens<bf16>{out, out_rest, split},                                                \
                               AttentionShape{q_len, k_len, heads, kv_heads, dim, q_token_stride, k_token_stride,      \
                                              v_token_stride, out_token_stride, q_batch_stride, k_batch_stride,        \
                                              v_batch_stride, out_batch_stride, scale});                               \
    }

ATTENTION_SM90_KERNEL(attention_bf16_d128_sm90, false)
ATTENTION_SM90_KERNEL(attention_bf16_d128_sm90_causal, true)

#endif
