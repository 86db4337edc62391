// The attention of attention.cu for dim <= 128 on Hopper, whose warpgroup products are needed to
// use its tensor cores fully. Only in programs compiled for sm_90a.
//
// Same arguments. Launch: 256 threads; grid x = ceil(q_len / 128), y = heads, z = batch; 163840
// bytes of dynamic shared memory. attention_bf16_d128_sm90 and attention_bf16_d128_sm90_causal.

#if defined(__CUDA_ARCH_FEAT_SM90_ALL)

constexpr int ATTENTION_SM90_THREADS = 256;
constexpr int ATTENTION_SM90_QUERIES = 128;
constexpr int ATTENTION_SM90_KEYS = 128;
// Each tile is 128 tokens: 64 of their elements (128 bytes) side by side, then the other 64.
constexpr int ATTENTION_SM90_ROW = 128;
constexpr int ATTENTION_SM90_HALF = 128 * ATTENTION_SM90_ROW;
constexpr int ATTENTION_SM90_TILE = 2 * ATTENTION_SM90_HALF;

__device__ __forceinline__ unsigned int attention_sm90_offset(int row, int chunk) {
    return chunk / 8 * ATTENTION_SM90_HALF + row * ATTENTION_SM90_ROW + ((chunk % 8 ^ (row & 7)) << 4);
}

// Loads 128 tokens, `available` of which exist; the others, and elements from `dim` on, are 0.
__device__ __forceinline__ void attention_sm90_load(unsigned int tile, const bf16* source, long long token_stride,
                                                    int available, int dim, bool asynchronous) {
    constexpr int STEP = ATTENTION_SM90_THREADS / 16;
    const int chunk = threadIdx.x % 16;
    const int first_row = threadIdx.x / 16;
    const unsigned int to = tile + attention_sm90_offset(first_row, chunk);
    if (asynchronous) {
        const bf16* from = source + first_row * token_stride + chunk * 8;
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
            store_shared(to + i * STEP * ATTENTION_SM90_ROW,
                         attention_chunk(source + row * token_stride + chunk * 8,
                                         row < available ? dim - chunk * 8 : 0));
        }
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

template <bool CAUSAL>
__device__ __forceinline__ void attention_sm90(const bf16* q, const bf16* k, const bf16* v, bf16* out,
                                               const AttentionShape& shape) {
    constexpr int KEYS = ATTENTION_SM90_KEYS;
    extern __shared__ __align__(1024) unsigned char attention_shared[];
    const unsigned int q_tile = shared_address(attention_shared);
    // Two tiles of k, then two of v.
    const unsigned int k_tiles = q_tile + ATTENTION_SM90_TILE;
    const unsigned int v_tiles = k_tiles + 2 * ATTENTION_SM90_TILE;

    const int lane = threadIdx.x % 32;
    const int warp_row = threadIdx.x / 32 * 16;
    const int q_start = (CAUSAL ? gridDim.x - 1 - blockIdx.x : blockIdx.x) * ATTENTION_SM90_QUERIES;
    const int head = blockIdx.y;
    const int kv_head = head / (shape.heads / shape.kv_heads);
    const int diagonal = shape.k_len - shape.q_len;
    const bool asynchronous = attention_moves_vectors(q, shape.q_token_stride, shape.q_batch_stride, shape.dim) &&
                              attention_moves_vectors(k, shape.k_token_stride, shape.k_batch_stride, shape.dim) &&
                              attention_moves_vectors(v, shape.v_token_stride, shape.v_batch_stride, shape.dim);
    q += blockIdx.z * shape.q_batch_stride + q_start * shape.q_token_stride + head * shape.dim;
    k += blockIdx.z * shape.k_batch_stride + kv_head * shape.dim;
    v += blockIdx.z * shape.v_batch_stride + kv_head * shape.dim;

    // Keys from `keys` on are seen by no token of the block, those before `all_seen` by all.
    int keys = shape.k_len;
    int all_seen = shape.k_len;
    if (CAUSAL) {
        keys = max(min(keys, q_start + ATTENTION_SM90_QUERIES + diagonal), 0);
        all_seen = max(min(all_seen, q_start + 1 + diagonal), 0);
    }
    const int tiles = (keys + KEYS - 1) / KEYS;
    const float log2_scale = shape.scale * 1.4426950408889634f;
    // A warpgroup has half of the queries.
    const unsigned int q_rows = q_tile + threadIdx.x / 128 * 64 * ATTENTION_SM90_ROW;

    float sums[16][4] = {};
    float scores[16][4] = {};
    unsigned int weights[8][4];
    float maxima[2] = {minus_infinity(), minus_infinity()};
    float totals[2] = {};

    // From the last tile of keys to the first, tile t in places t % 2. Each turn starts the scores
    // of one tile and the sums of the tile before, and exponentiates while the latter are under way.
    if (tiles > 0) {
        const int start = (tiles - 1) * KEYS;
        attention_sm90_load(q_tile, q, shape.q_token_stride, shape.q_len - q_start, shape.dim, asynchronous);
        attention_sm90_load(k_tiles + (tiles - 1) % 2 * ATTENTION_SM90_TILE, k + start * shape.k_token_stride,
                            shape.k_token_stride, shape.k_len - start, shape.dim, asynchronous);
    }
    copy_async_commit();

#pragma unroll 1
    for (int tile = tiles - 1; tile >= -1; --tile) {
        // k of this tile and v of the one before are there, and nobody reads what was used last turn.
        copy_async_wait<0>();
        wgmma_publish();
        __syncthreads();
        const unsigned int place = (tile & 1) * ATTENTION_SM90_TILE;
        const unsigned int other_place = ATTENTION_SM90_TILE - place;
        if (tile >= 0) {
            const int start = tile * KEYS;
            attention_sm90_load(v_tiles + place, v + start * shape.v_token_stride, shape.v_token_stride,
                                shape.k_len - start, shape.dim, asynchronous);
            if (tile > 0)
                attention_sm90_load(k_tiles + other_place, k + (start - KEYS) * shape.k_token_stride,
                                    shape.k_token_stride, KEYS, shape.dim, asynchronous);
            copy_async_commit();
        }

        const bool has_weights = tile < tiles - 1;
        wgmma_fence();
        if (tile < 0) {
            if (has_weights) attention_sm90_values(sums, weights, v_tiles + other_place);
            wgmma_wait<0>(sums);
            break;
        }
        attention_sm90_scores(scores, q_rows, k_tiles + place);
        if (has_weights) {
            attention_sm90_values(sums, weights, v_tiles + other_place);
            wgmma_wait<1>(scores);
        } else {
            wgmma_wait<0>(scores);
        }

        if (tile * KEYS + KEYS > all_seen) {
#pragma unroll
            for (int half = 0; half < 2; ++half) {
                const int row = q_start + warp_row + half * 8 + lane / 4;
                const int seen = CAUSAL ? min(shape.k_len, row + diagonal + 1) : shape.k_len;
#pragma unroll
                for (int n = 0; n < 16; ++n) {
#pragma unroll
                    for (int e = 0; e < 2; ++e)
                        if (tile * KEYS + n * 8 + lane % 4 * 2 + e >= seen)
                            scores[n][half * 2 + e] = minus_infinity();
                }
            }
        }

        float factors[2];
        bool outgrown = false;
#pragma unroll
        for (int half = 0; half < 2; ++half) {
            float maximum = scores[0][half * 2];
#pragma unroll
            for (int n = 0; n < 16; ++n)
                maximum = fmaxf(maximum, fmaxf(scores[n][half * 2], scores[n][half * 2 + 1]));
            maximum = fmaxf(maximum, __shfl_xor_sync(0xffffffffu, maximum, 1));
            maximum = fmaxf(maximum, __shfl_xor_sync(0xffffffffu, maximum, 2)) * log2_scale;
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
            for (int n = 0; n < 16; ++n) {
#pragma unroll
                for (int e = 0; e < 2; ++e) {
                    const float weight = exp2_approx(fmaf(scores[n][half * 2 + e], log2_scale, -base));
                    totals[half] += weight;
                    scores[n][half * 2 + e] = weight;
                }
            }
        }

        // The last turn's weights and sums are free again.
        wgmma_wait<0>(sums);
        if (__any_sync(0xffffffffu, outgrown)) {
#pragma unroll
            for (int n = 0; n < 16; ++n) {
#pragma unroll
                for (int e = 0; e < 4; ++e) sums[n][e] *= factors[e / 2];
            }
        }
#pragma unroll
        for (int n = 0; n < 16; ++n) {
#pragma unroll
            for (int half = 0; half < 2; ++half)
                weights[n / 2][n % 2 * 2 + half] = bf16_pair(scores[n][half * 2], scores[n][half * 2 + 1]);
        }
    }

    // The result leaves through the queries' place, in which each warp writes and reads its own rows.
    // The other warps of the warpgroup are done with the queries since the last barrier.
    const bool out_vector = attention_moves_vectors(out, shape.out_token_stride, shape.out_batch_stride, shape.dim);
    out += blockIdx.z * shape.out_batch_stride + q_start * shape.out_token_stride + head * shape.dim;
#pragma unroll
    for (int half = 0; half < 2; ++half) {
        float total = totals[half];
        total += __shfl_xor_sync(0xffffffffu, total, 1);
        total += __shfl_xor_sync(0xffffffffu, total, 2);
        const float factor = total == 0.0f ? 0.0f : 1.0f / total;
        const int row = warp_row + half * 8 + lane / 4;
#pragma unroll
        for (int n = 0; n < 16; ++n)
            store_shared(q_tile + attention_sm90_offset(row, n) + lane % 4 * 4,
                         bf16_pair(sums[n][half * 2] * factor, sums[n][half * 2 + 1] * factor));
    }
    __syncwarp();
#pragma unroll 4
    for (int i = lane; i < 16 * 16; i += 32) {
        const int row = warp_row + i / 16;
        const int chunk = i % 16;
        attention_store_chunk(out + row * shape.out_token_stride + chunk * 8,
                              load_shared(q_tile + attention_sm90_offset(row, chunk)),
                              q_start + row < shape.q_len ? shape.dim - chunk * 8 : 0, out_vector);
    }
}

#define ATTENTION_SM90_KERNEL(NAME, CAUSAL)                                                                            \
    extern "C" __global__ void __launch_bounds__(ATTENTION_SM90_THREADS, 1)                                            \
        NAME(const bf16* q, const bf16* k, const bf16* v, bf16* out, int q_len, int k_len, int heads, int kv_heads,    \
             int dim, long long q_token_stride, long long k_token_stride, long long v_token_stride,                    \
             long long out_token_stride, long long q_batch_stride, long long k_batch_stride, long long v_batch_stride, \
             long long out_batch_stride, float scale) {                                                                \
        attention_sm90<CAUSAL>(q, k, v, out,                                                                           \
                               AttentionShape{q_len, k_len, heads, kv_heads, dim, q_token_stride, k_token_stride,      \
                                              v_token_stride, out_token_stride, q_batch_stride, k_batch_stride,        \
                                              v_batch_stride, out_batch_stride, scale});                               \
    }

ATTENTION_SM90_KERNEL(attention_bf16_d128_sm90, false)
ATTENTION_SM90_KERNEL(attention_bf16_d128_sm90_causal, true)

#endif
