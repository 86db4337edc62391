// The attention of attention.cu for dim <= 128 on Hopper, whose warpgroup products are needed to
// use its tensor cores fully. Only in programs compiled for sm_90a.
//
// One warpgroup moves keys and values, three compute on 64 queries each, in steps of 64 keys. They meet at
// barriers of single tiles only. Each starts the next step's scores before it exponentiates this step's.
//
// While tensor cores multiply, other instructions are issued at a fraction of their rate: the kernel takes about
// as long as its products and its instructions one after the other, so it has as few of these as can be.
//
// Same arguments. Launch: 512 threads; grid x = ceil(q_len / 192), y = heads, z = batch; 180288
// bytes of dynamic shared memory. attention_bf16_d128_sm90 and attention_bf16_d128_sm90_causal.

#if defined(__CUDA_ARCH_FEAT_SM90_ALL)

constexpr int ATTENTION_SM90_GROUPS = 3;
constexpr int ATTENTION_SM90_MOVERS = 128;
constexpr int ATTENTION_SM90_THREADS = ATTENTION_SM90_MOVERS + 128 * ATTENTION_SM90_GROUPS;
constexpr int ATTENTION_SM90_QUERIES = 64 * ATTENTION_SM90_GROUPS;
constexpr int ATTENTION_SM90_KEYS = 128;
constexpr int ATTENTION_SM90_STEP = 64;
// Each tile is of tokens: 64 of their elements (128 bytes) side by side, then the other 64.
constexpr int ATTENTION_SM90_ROW = 128;
constexpr int ATTENTION_SM90_HALF = ATTENTION_SM90_KEYS * ATTENTION_SM90_ROW;
constexpr int ATTENTION_SM90_Q_HALF = ATTENTION_SM90_QUERIES * ATTENTION_SM90_ROW;
// After the queries, two tiles of keys and two of values: for each of these four places a barrier
// that it is full, then for each one that it is free.
constexpr int ATTENTION_SM90_TILES = 2 * ATTENTION_SM90_Q_HALF;
constexpr int ATTENTION_SM90_BARRIERS = ATTENTION_SM90_TILES + 4 * 2 * ATTENTION_SM90_HALF;
constexpr int ATTENTION_SM90_BARRIER = 8;
constexpr int ATTENTION_SM90_KEYS_AT = 0;
constexpr int ATTENTION_SM90_VALUES_AT = 2;
// Named barriers of each computing warpgroup alone.
constexpr int ATTENTION_SM90_ALONE = 1;
// As ATTENTION_HEADROOM. Numbers keep all their bits that far from 1, and f32 holds sums of far greater ones.
constexpr float ATTENTION_SM90_HEADROOM = 40.0f;

// `half`: bytes of one half of the tile.
__device__ __forceinline__ unsigned int attention_sm90_offset(int row, int chunk, int half) {
    return chunk / 8 * half + row * ATTENTION_SM90_ROW + ((chunk % 8 ^ (row & 7)) << 4);
}

// Loads so many tokens, `available` of which exist; the others, and elements from `dim` on, are 0. By
// the moving warpgroup. (A split at 0 has all tokens in one place.)
template <int TOKENS>
__device__ __forceinline__ void attention_sm90_load(unsigned int tile, const SplitTokens<const bf16>& source,
                                                    long long token_stride, int available, int dim,
                                                    bool asynchronous) {
    constexpr int STEP = ATTENTION_SM90_MOVERS / 16;
    const int chunk = threadIdx.x % 16;
    const int first_row = threadIdx.x / 16;
    const unsigned int to = tile + attention_sm90_offset(first_row, chunk, TOKENS * ATTENTION_SM90_ROW);
    const bool in_one_place = source.split <= 0 || source.split >= available;
    if (asynchronous && in_one_place) {
        const bf16* from = source.base(0) + first_row * token_stride + chunk * 8;
        const bool exists = chunk * 8 < dim;
#pragma unroll
        for (int i = 0; i < TOKENS / STEP; ++i) {
            const bool valid = exists && first_row + i * STEP < available;
            copy_async(to + i * STEP * ATTENTION_SM90_ROW, from + i * STEP * token_stride, valid);
        }
    } else {
#pragma unroll 1
        for (int i = 0; i < TOKENS / STEP; ++i) {
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

// What a thread's two rows have come to.
struct AttentionSm90Rows {
    float sums[16][4] = {};
    // Of weights, relative to the row's maximum.
    float totals[2] = {};

    // Multiplies the sums, no product being under way.
    __device__ __forceinline__ void multiply_sums(int half, float factor) {
#pragma unroll
        for (int m = 0; m < 16; ++m) {
            sums[m][half * 2] *= factor;
            sums[m][half * 2 + 1] *= factor;
        }
    }
};

// The largest over the four lanes that share a row.
template <class T>
__device__ __forceinline__ T attention_sm90_over_row(T value) {
#pragma unroll
    for (int step = 1; step <= 2; ++step) value = max(value, __shfl_xor_sync(0xffffffffu, value, step));
    return value;
}

// Each row's largest score of a step, of the thread's own.
template <class T>
__device__ __forceinline__ void attention_sm90_largest(const T (&scores)[8][4], T (&largest)[2]) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
        const auto at = [&](int i) { return scores[i / 2][half * 2 + i % 2]; };
        T parts[4] = {at(0), at(1), at(2), at(3)};
#pragma unroll
        for (int i = 4; i < 16; i += 4) {
#pragma unroll
            for (int part = 0; part < 4; ++part) parts[part] = max(parts[part], at(i + part));
        }
        largest[half] = max(max(parts[0], parts[1]), max(parts[2], parts[3]));
    }
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

// These two leave products under way. Operands are at their first row; keys and values at the step's first token.

__device__ __forceinline__ void attention_sm90_scores(float (&scores)[8][4], unsigned long long q,
                                                      unsigned long long k) {
    wgmma_fence();
#pragma unroll
    for (int d = 0; d < 8; ++d)
        wgmma_shared(scores, wgmma_further(q, d / 4 * ATTENTION_SM90_Q_HALF + d % 4 * 32),
                     wgmma_further(k, d / 4 * ATTENTION_SM90_HALF + d % 4 * 32), d > 0);
    wgmma_commit();
}

__device__ __forceinline__ void attention_sm90_values(float (&sums)[16][4], const unsigned int (&weights)[4][4],
                                                      unsigned long long v) {
    wgmma_fence();
#pragma unroll
    for (int j = 0; j < 4; ++j) wgmma_registers(sums, weights[j], wgmma_further(v, j * 16 * ATTENTION_SM90_ROW));
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
    __device__ __forceinline__ unsigned int tile(int place) const {
        return q_tile + ATTENTION_SM90_TILES + place * 2 * ATTENTION_SM90_HALF;
    }
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
    attention_sm90_load<ATTENTION_SM90_QUERIES>(block.q_tile, SplitTokens<const bf16>{q, q, 0}, shape.q_token_stride,
                                                shape.q_len - block.q_start, shape.dim, asynchronous);
    // A tile is told of when the next one is on its way: what frees that one's place must need no tile from this
    // one on.
    int unannounced = -1;
#pragma unroll 1
    for (int n = 0; n < tiles; ++n) {
#pragma unroll 1
        for (int values = 0; values < 2; ++values) {
            const int place = (values != 0 ? ATTENTION_SM90_VALUES_AT : ATTENTION_SM90_KEYS_AT) + n % 2;
            const int start = (tiles - 1 - n) * KEYS;
            block_wait(block.free(place), (n / 2 & 1) ^ 1);
            const long long stride = values != 0 ? shape.v_token_stride : shape.k_token_stride;
            const SplitTokens<const bf16> source = values != 0 ? v : SplitTokens<const bf16>{k, k, 0};
            attention_sm90_load<KEYS>(block.tile(place), source.from(start, start * stride), stride,
                                      shape.k_len - start, shape.dim, asynchronous);
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

// Computes on 64 of the queries. `thread` counts within the warpgroup; `out` is at the first query of the block.
template <bool CAUSAL>
__device__ __forceinline__ void attention_sm90_compute(SplitTokens<bf16> out, const AttentionShape& shape,
                                                       const AttentionSm90Block& block, int group, int thread,
                                                       bool out_vector) {
    constexpr int KEYS = ATTENTION_SM90_KEYS;
    constexpr int STEP = ATTENTION_SM90_STEP;
    constexpr int STEPS = KEYS / STEP;
    const int lane = thread % 32;
    const int warp_row = group * 64 + thread / 32 * 16;
    const float log2_scale = shape.scale * 1.4426950408889634f;
    const unsigned long long q = wgmma_operand(block.q_tile + group * 64 * ATTENTION_SM90_ROW, 16);
    const unsigned long long keys = wgmma_operand(block.tile(ATTENTION_SM90_KEYS_AT), 16);
    const unsigned long long values = wgmma_operand(block.tile(ATTENTION_SM90_VALUES_AT), ATTENTION_SM90_HALF);
    const auto step_of = [&](unsigned long long first, int place, int step) {
        return wgmma_further(first, place * 2 * ATTENTION_SM90_HALF + step * STEP * ATTENTION_SM90_ROW);
    };
    const int tiles = block.tiles();

    AttentionSm90Rows rows;
    float scores[STEP / 8][4];
    unsigned int weights[STEP / 16][4];
    float maxima[2] = {minus_infinity(), minus_infinity()};

    if (tiles > 0) {
        block_wait(block.full(ATTENTION_SM90_KEYS_AT), 0);
        attention_sm90_scores(scores, q, keys);
        // At once: were these under way when the loop begins, the compiler would have all products done one by one.
        wgmma_wait<0>(scores);
    }
#pragma unroll 1
    for (int n = 0; n < tiles; ++n) {
        const int tile = tiles - 1 - n;
        const int place = n & 1;
#pragma unroll
        for (int step = 0; step < STEPS; ++step) {
            wgmma_wait<0>(scores);
            wgmma_wait<0>(rows.sums);
            if (lane == 0) {
                if (step == STEPS - 1) block_arrive(block.free(ATTENTION_SM90_KEYS_AT + place));
                if (step == 0 && n > 0) block_arrive(block.free(ATTENTION_SM90_VALUES_AT + (place ^ 1)));
            }
            if (tile * KEYS + step * STEP + STEP > block.all_seen) {
#pragma unroll
                for (int half = 0; half < 2; ++half) {
                    const int row = block.q_start + warp_row + half * 8 + lane / 4;
                    const int diagonal = shape.k_len - shape.q_len;
                    int seen = (CAUSAL ? min(shape.k_len, row + diagonal + 1) : shape.k_len) - tile * KEYS -
                               step * STEP - lane % 4 * 2;
                    // Each comparison with it would be prepared before the loop, in a register of its own.
                    asm volatile("" : "+r"(seen));
#pragma unroll
                    for (int m = 0; m < STEP / 8; ++m) {
#pragma unroll
                        for (int e = 0; e < 2; ++e)
                            if (m * 8 + e >= seen) scores[m][half * 2 + e] = minus_infinity();
                    }
                }
            }

            // A row keeps its maximum until it is outgrown.
            float largest[2];
            attention_sm90_largest(scores, largest);
            const bool above = largest[0] * log2_scale > maxima[0] + ATTENTION_SM90_HEADROOM ||
                               largest[1] * log2_scale > maxima[1] + ATTENTION_SM90_HEADROOM;
            if (__any_sync(0xffffffffu, above)) {
#pragma unroll
                for (int half = 0; half < 2; ++half) {
                    const float maximum = attention_sm90_over_row(largest[half]) * log2_scale;
                    float factor = 1.0f;
                    if (maximum > maxima[half]) {
                        factor = exp2_approx(maxima[half] - maximum);
                        maxima[half] = maximum;
                    }
                    rows.totals[half] *= factor;
                    rows.multiply_sums(half, factor);
                }
            }
            float numbers[STEP / 8][4];
#pragma unroll
            for (int half = 0; half < 2; ++half) {
                const float base = maxima[half] == minus_infinity() ? 0.0f : maxima[half];
#pragma unroll
                for (int m = 0; m < STEP / 8; ++m) {
#pragma unroll
                    for (int e = half * 2; e < half * 2 + 2; ++e) {
                        numbers[m][e] = fmaf(scores[m][e], log2_scale, -base);
                        // Not later: the scores' registers are needed.
                        asm volatile("" : "+f"(numbers[m][e]));
                    }
                }
            }

            // After the last step, some that nobody needs.
            const int next = step == STEPS - 1 ? place ^ 1 : place;
            const bool more = n + 1 < tiles;
            if (step == STEPS - 1 && more) block_wait(block.full(ATTENTION_SM90_KEYS_AT + next), (n + 1) / 2 & 1);
            attention_sm90_scores(scores, q, step_of(keys, more ? next : place, (step + 1) % STEPS));

#pragma unroll
            for (int half = 0; half < 2; ++half) {
                float totals[2];
#pragma unroll
                for (int m = 0; m < STEP / 8; ++m) {
#pragma unroll
                    for (int e = 0; e < 2; ++e) {
                        float& number = numbers[m][half * 2 + e];
                        number = exp2_approx(number);
                        totals[e] = m == 0 ? number : totals[e] + number;
                    }
                    weights[m / 2][m % 2 * 2 + half] = bf16_pair(numbers[m][half * 2], numbers[m][half * 2 + 1]);
                }
                rows.totals[half] += totals[0] + totals[1];
            }
            if (step == 0) block_wait(block.full(ATTENTION_SM90_VALUES_AT + place), n / 2 & 1);
            attention_sm90_values(rows.sums, weights, step_of(values, place, step));
        }
    }
    if (tiles > 0) {
        wgmma_wait<0>(scores);
        wgmma_wait<0>(rows.sums);
    }

    // The result leaves through the queries' place, in which each warp writes and reads its own rows
    // once the warpgroup is done with the queries.
    named_sync(ATTENTION_SM90_ALONE + group, 128);
    const float factors[2] = {attention_sm90_inverse(rows.totals[0]), attention_sm90_inverse(rows.totals[1])};
    attention_sm90_store<ATTENTION_SM90_Q_HALF>(block.q_tile, rows.sums, factors, warp_row, lane, out,
                                                shape.out_token_stride, shape.q_len - block.q_start, shape.dim,
                                                out_vector);
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
            block_barrier(block.free(place), 4 * ATTENTION_SM90_GROUPS);
        }
    }
    __syncthreads();

    if (threadIdx.x < ATTENTION_SM90_MOVERS) {
        give_registers<32>();
        const bool asynchronous =
            attention_moves_vectors(q, shape.q_token_stride, shape.q_batch_stride, shape.dim) &&
            attention_moves_vectors(k, shape.k_token_stride, shape.k_batch_stride, shape.dim) &&
            attention_moves_vectors(v, shape.v_token_stride, shape.v_batch_stride, shape.dim);
        attention_sm90_move(q + blockIdx.z * shape.q_batch_stride + block.q_start * shape.q_token_stride + head * shape.dim,
                            k + blockIdx.z * shape.k_batch_stride + kv_head * shape.dim,
                            v.from(0, blockIdx.z * shape.v_batch_stride + kv_head * shape.dim), shape, block,
                            asynchronous);
    } else {
        take_registers<160>();
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
