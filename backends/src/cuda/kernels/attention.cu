// softmax(q k^T * scale) v in one pass over the keys, bf16 with f32 statistics and sums: the
// scores live in registers only.
//
// q and out are [batch, q_len, heads, dim], k and v [batch, k_len, kv_heads, dim]; heads lie side
// by side within a token (stride dim), tokens and batches at the given strides, in elements. Head
// h reads the keys of head h / (heads / kv_heads). scale is positive. The causal kernels let token
// i see keys 0 ..= i + k_len - q_len; a token that sees no key gets zeros.
// Any dim up to the kernel's is right; where it, the strides and the addresses are multiples of 8
// elements (16 bytes), loads are asynchronous. out must not overlap the inputs.
//
// v and out may lie in two places: token t >= split is at v_rest + t * stride and at out_rest +
// t * stride. A split of at least k_len and q_len is none.
//
// Launch: 128 threads; grid x = ceil(q_len / 128), y = heads, z = batch; dynamic shared memory, in
// bytes, two blocks of which should fit into a multiprocessor:
//   attention_bf16_d128          65536   dim <= 128, where a multiprocessor has 160 KB or more
//   attention_bf16_d128_narrow   49152   dim <= 128, elsewhere
//   attention_bf16_d64           32768   dim <= 64
// each also as ..._causal.

constexpr int ATTENTION_WARPS = 4;
constexpr int ATTENTION_THREADS = 32 * ATTENTION_WARPS;
// Query tokens of a warp, as tiles of 16: each fragment of k and v serves both.
constexpr int ATTENTION_Q_TILES = 2;
constexpr int ATTENTION_QUERIES = ATTENTION_WARPS * ATTENTION_Q_TILES * 16;
// Powers of two by which a row's scores may outgrow the maximum it was scaled with before its sums
// are scaled anew. The result is the same; what is exponentiated just may exceed 1.
constexpr float ATTENTION_HEADROOM = 8.0f;

struct AttentionShape {
    int q_len, k_len, heads, kv_heads, dim;
    long long q_token_stride, k_token_stride, v_token_stride, out_token_stride;
    long long q_batch_stride, k_batch_stride, v_batch_stride, out_batch_stride;
    float scale;
};

// Tokens in two places: from token `split` on, counted from `rest` as the others from `first`.
template <class T>
struct SplitTokens {
    T* first;
    T* rest;
    int split;

    // What a token's place is counted from.
    __device__ __forceinline__ T* base(int token) const { return token < split ? first : rest; }
    // The same tokens without the first few, and all of them some elements further on.
    __device__ __forceinline__ SplitTokens from(int token, long long elements) const {
        return SplitTokens{first + elements, rest + elements, split - token};
    }
};

// Tokens in one place.
template <class T>
struct PlainTokens {
    T* first;

    __device__ __forceinline__ T* base(int) const { return first; }
};

// Eight elements one by one, of which the first `left` exist and the others are 0.
__device__ __forceinline__ uint4 attention_chunk(const bf16* from, int left) {
    unsigned int words[4];
#pragma unroll
    for (int i = 0; i < 4; ++i) {
        const unsigned int low = 2 * i < left ? from[2 * i].bits : 0u;
        const unsigned int high = 2 * i + 1 < left ? from[2 * i + 1].bits : 0u;
        words[i] = low | (high << 16);
    }
    return make_uint4(words[0], words[1], words[2], words[3]);
}

// Writes the first `left` of eight elements; `vector` promises that a whole group may go as one.
__device__ __forceinline__ void attention_store_chunk(bf16* to, uint4 words, int left, bool vector) {
    if (vector && left >= 8) {
        *(uint4*)to = words;
        return;
    }
    const unsigned int pairs[4] = {words.x, words.y, words.z, words.w};
#pragma unroll
    for (int e = 0; e < 8; ++e)
        if (e < left) to[e].bits = (unsigned short)(pairs[e / 2] >> (16 * (e % 2)));
}

// Tiles of tokens in shared memory: rows of DIM bf16 in chunks of 16 bytes, chunk c of row r at
// place c ^ (r % 8), so that the eight rows of a matrix fall into different banks.
template <int DIM>
struct TokenTile {
    static constexpr int CHUNKS = DIM / 8;
    static constexpr int ROW_BYTES = DIM * 2;

    static __device__ __forceinline__ unsigned int offset(int row, int chunk) {
        return row * ROW_BYTES + ((chunk ^ (row & 7)) << 4);
    }

    // Loads ROWS tokens, `available` of which exist; the others, and elements from `dim` on, are 0.
    template <int ROWS, class Tokens>
    static __device__ __forceinline__ void load(unsigned int tile, const Tokens& source, long long token_stride,
                                                int available, int dim, bool asynchronous) {
        const int chunk = threadIdx.x % CHUNKS;
        const int first_row = threadIdx.x / CHUNKS;
        constexpr int STEP = ATTENTION_THREADS / CHUNKS;
        static_assert(STEP % 8 == 0 && ROWS % STEP == 0, "each thread keeps its place in the pattern");
        if (asynchronous) {
            const long long from = first_row * token_stride + chunk * 8;
            const unsigned int to = tile + offset(first_row, chunk);
            const bool exists = chunk * 8 < dim;
#pragma unroll
            for (int i = 0; i < ROWS / STEP; ++i) {
                const int row = first_row + i * STEP;
                const bool valid = exists && row < available;
                copy_async(to + i * STEP * ROW_BYTES, source.base(row) + from + i * STEP * token_stride, valid);
            }
        } else {
#pragma unroll 1
            for (int row = first_row; row < ROWS; row += STEP) {
                const bf16* from = source.base(row) + row * token_stride + chunk * 8;
                const int left = row < available ? dim - chunk * 8 : 0;
                store_shared(tile + offset(row, chunk), attention_chunk(from, left));
            }
        }
    }
};

__device__ __forceinline__ bool attention_moves_vectors(const bf16* p, long long token_stride,
                                                        long long batch_stride, int dim) {
    return is_aligned(p, 16) && token_stride % 8 == 0 && batch_stride % 8 == 0 && dim % 8 == 0;
}

template <class T>
__device__ __forceinline__ bool attention_moves_vectors(const SplitTokens<T>& tokens, long long token_stride,
                                                        long long batch_stride, int dim) {
    return attention_moves_vectors(tokens.first, token_stride, batch_stride, dim) && is_aligned(tokens.rest, 16);
}

template <int DIM, int KEYS, bool CAUSAL>
__device__ __forceinline__ void attention(const bf16* q, const bf16* k, SplitTokens<const bf16> v,
                                          SplitTokens<bf16> out, const AttentionShape& shape) {
    using Tile = TokenTile<DIM>;
    constexpr int DIM_TILES = DIM / 8;
    constexpr int KEY_TILES = KEYS / 8;
    extern __shared__ __align__(1024) unsigned char attention_shared[];
    const unsigned int q_tile = shared_address(attention_shared);
    const unsigned int k_tile = q_tile + ATTENTION_QUERIES * Tile::ROW_BYTES;
    const unsigned int v_tile = k_tile + KEYS * Tile::ROW_BYTES;

    const int warp = threadIdx.x / 32;
    const int lane = threadIdx.x % 32;
    // Causal blocks differ in length: the long ones start first.
    const int q_block = CAUSAL ? gridDim.x - 1 - blockIdx.x : blockIdx.x;
    const int q_start = q_block * ATTENTION_QUERIES;
    const int head = blockIdx.y;
    const int kv_head = head / (shape.heads / shape.kv_heads);
    const int diagonal = shape.k_len - shape.q_len;
    const bool asynchronous = attention_moves_vectors(q, shape.q_token_stride, shape.q_batch_stride, shape.dim) &&
                              attention_moves_vectors(k, shape.k_token_stride, shape.k_batch_stride, shape.dim) &&
                              attention_moves_vectors(v, shape.v_token_stride, shape.v_batch_stride, shape.dim);
    q += blockIdx.z * shape.q_batch_stride + q_start * shape.q_token_stride + head * shape.dim;
    k += blockIdx.z * shape.k_batch_stride + kv_head * shape.dim;
    v = v.from(0, blockIdx.z * shape.v_batch_stride + kv_head * shape.dim);

    // Keys from `keys` on are seen by no token of the block, those before `all_seen` by all.
    int keys = shape.k_len;
    int all_seen = shape.k_len;
    if (CAUSAL) {
        keys = max(min(keys, q_start + ATTENTION_QUERIES + diagonal), 0);
        all_seen = max(min(all_seen, q_start + 1 + diagonal), 0);
    }

    // This lane's part of the addresses of fragments; see load_matrices.
    const unsigned int q_lane = q_tile + Tile::offset(warp * ATTENTION_Q_TILES * 16 + lane % 16, lane / 16);
    const unsigned int k_lane = k_tile + Tile::offset(lane % 8 + lane / 16 * 8, lane / 8 % 2);
    const unsigned int v_lane = v_tile + Tile::offset(lane % 16, lane / 16);

    // Of each tile of 16 query tokens, this lane has rows lane / 4 and lane / 4 + 8.
    float sums[ATTENTION_Q_TILES][DIM_TILES][4] = {};
    float maxima[ATTENTION_Q_TILES][2], totals[ATTENTION_Q_TILES][2] = {};
#pragma unroll
    for (int m = 0; m < ATTENTION_Q_TILES; ++m) maxima[m][0] = maxima[m][1] = minus_infinity();
    const float log2_scale = shape.scale * 1.4426950408889634f;

    // The last keys come first, so that the blocks of keys with hidden ones come before all others.
    int key_start = (keys - 1) / KEYS * KEYS;
    if (keys > 0) {
        Tile::template load<ATTENTION_QUERIES>(q_tile, PlainTokens<const bf16>{q}, shape.q_token_stride,
                                               shape.q_len - q_start, shape.dim, asynchronous);
        Tile::template load<KEYS>(k_tile, PlainTokens<const bf16>{k + key_start * shape.k_token_stride},
                                  shape.k_token_stride, shape.k_len - key_start, shape.dim, asynchronous);
        copy_async_commit();
    } else {
        key_start = -1;
    }

#pragma unroll 1
    for (; key_start >= 0; key_start -= KEYS) {
        // k is there, and nobody reads the v of the last turn any more.
        copy_async_wait<0>();
        __syncthreads();
        Tile::template load<KEYS>(v_tile, v.from(key_start, key_start * shape.v_token_stride), shape.v_token_stride,
                                  shape.k_len - key_start, shape.dim, asynchronous);
        copy_async_commit();

        float scores[ATTENTION_Q_TILES][KEY_TILES][4] = {};
#pragma unroll
        for (int d = 0; d < DIM / 16; ++d) {
            unsigned int queries[ATTENTION_Q_TILES][4];
#pragma unroll
            for (int m = 0; m < ATTENTION_Q_TILES; ++m)
                load_matrices(queries[m], (q_lane + m * 16 * Tile::ROW_BYTES) ^ (d << 5));
#pragma unroll
            for (int n = 0; n < KEY_TILES; n += 2) {
                unsigned int pair[4];
                load_matrices(pair, (k_lane + n * 8 * Tile::ROW_BYTES) ^ (d << 5));
#pragma unroll
                for (int m = 0; m < ATTENTION_Q_TILES; ++m) {
                    multiply_add(scores[m][n], queries[m], pair[0], pair[1]);
                    multiply_add(scores[m][n + 1], queries[m], pair[2], pair[3]);
                }
            }
        }

        // v is there, and nobody reads this k any more.
        copy_async_wait<0>();
        __syncthreads();
        if (key_start > 0) {
            Tile::template load<KEYS>(k_tile, PlainTokens<const bf16>{k + (key_start - KEYS) * shape.k_token_stride},
                                      shape.k_token_stride, KEYS, shape.dim, asynchronous);
            copy_async_commit();
        }

        if (key_start + KEYS > all_seen) {
#pragma unroll
            for (int m = 0; m < ATTENTION_Q_TILES; ++m) {
#pragma unroll
                for (int half = 0; half < 2; ++half) {
                    const int row = q_start + (warp * ATTENTION_Q_TILES + m) * 16 + half * 8 + lane / 4;
                    const int seen = CAUSAL ? min(shape.k_len, row + diagonal + 1) : shape.k_len;
#pragma unroll
                    for (int n = 0; n < KEY_TILES; ++n) {
#pragma unroll
                        for (int e = 0; e < 2; ++e) {
                            const int key = key_start + n * 8 + lane % 4 * 2 + e;
                            if (key >= seen) scores[m][n][half * 2 + e] = minus_infinity();
                        }
                    }
                }
            }
        }

        float seen_maxima[ATTENTION_Q_TILES][2];
        bool outgrown = false;
#pragma unroll
        for (int m = 0; m < ATTENTION_Q_TILES; ++m) {
#pragma unroll
            for (int half = 0; half < 2; ++half) {
                float maximum = scores[m][0][half * 2];
#pragma unroll
                for (int n = 0; n < KEY_TILES; ++n)
                    maximum = fmaxf(maximum, fmaxf(scores[m][n][half * 2], scores[m][n][half * 2 + 1]));
                maximum = fmaxf(maximum, __shfl_xor_sync(0xffffffffu, maximum, 1));
                maximum = fmaxf(maximum, __shfl_xor_sync(0xffffffffu, maximum, 2));
                seen_maxima[m][half] = maximum * log2_scale;
                outgrown |= seen_maxima[m][half] > maxima[m][half] + ATTENTION_HEADROOM;
            }
        }
        if (__any_sync(0xffffffffu, outgrown)) {
#pragma unroll
            for (int m = 0; m < ATTENTION_Q_TILES; ++m) {
#pragma unroll
                for (int half = 0; half < 2; ++half) {
                    const float maximum = fmaxf(maxima[m][half], seen_maxima[m][half]);
                    // A row that has seen no key yet has sums of 0, which any finite factor keeps.
                    const float factor =
                        maximum == minus_infinity() ? 1.0f : exp2_approx(maxima[m][half] - maximum);
                    maxima[m][half] = maximum;
                    totals[m][half] *= factor;
#pragma unroll
                    for (int n = 0; n < DIM_TILES; ++n) {
                        sums[m][n][half * 2] *= factor;
                        sums[m][n][half * 2 + 1] *= factor;
                    }
                }
            }
        }

        float base[ATTENTION_Q_TILES][2];
#pragma unroll
        for (int m = 0; m < ATTENTION_Q_TILES; ++m)
#pragma unroll
            for (int half = 0; half < 2; ++half)
                base[m][half] = maxima[m][half] == minus_infinity() ? 0.0f : maxima[m][half];
#pragma unroll
        for (int j = 0; j < KEYS / 16; ++j) {
            // The scores' places are those of the left operand of this product.
            unsigned int weights[ATTENTION_Q_TILES][4];
#pragma unroll
            for (int m = 0; m < ATTENTION_Q_TILES; ++m) {
#pragma unroll
                for (int i = 0; i < 4; ++i) {
                    const int half = i % 2;
                    const float* pair = &scores[m][2 * j + i / 2][half * 2];
                    const float a = exp2_approx(fmaf(pair[0], log2_scale, -base[m][half]));
                    const float b = exp2_approx(fmaf(pair[1], log2_scale, -base[m][half]));
                    totals[m][half] += a + b;
                    weights[m][i] = bf16_pair(a, b);
                }
            }
#pragma unroll
            for (int n = 0; n < DIM_TILES; n += 2) {
                unsigned int pair[4];
                load_matrices_transposed(pair, (v_lane + j * 16 * Tile::ROW_BYTES) ^ (n << 4));
#pragma unroll
                for (int m = 0; m < ATTENTION_Q_TILES; ++m) {
                    multiply_add(sums[m][n], weights[m], pair[0], pair[1]);
                    multiply_add(sums[m][n + 1], weights[m], pair[2], pair[3]);
                }
            }
        }
    }

    const bool out_vector = attention_moves_vectors(out, shape.out_token_stride, shape.out_batch_stride, shape.dim);
    out = out.from(q_start, blockIdx.z * shape.out_batch_stride + q_start * shape.out_token_stride +
                                (int)blockIdx.y * shape.dim);

    // The result leaves through the queries' place, in which each warp reads its own rows only.
    const int warp_row = warp * ATTENTION_Q_TILES * 16;
    __syncwarp();
#pragma unroll
    for (int m = 0; m < ATTENTION_Q_TILES; ++m) {
#pragma unroll
        for (int half = 0; half < 2; ++half) {
            float total = totals[m][half];
            total += __shfl_xor_sync(0xffffffffu, total, 1);
            total += __shfl_xor_sync(0xffffffffu, total, 2);
            const float factor = total == 0.0f ? 0.0f : 1.0f / total;
            const int row = warp_row + m * 16 + half * 8 + lane / 4;
#pragma unroll
            for (int n = 0; n < DIM_TILES; ++n)
                store_shared(q_tile + Tile::offset(row, n) + lane % 4 * 4,
                             bf16_pair(sums[m][n][half * 2] * factor, sums[m][n][half * 2 + 1] * factor));
        }
    }
    __syncwarp();
#pragma unroll 4
    for (int i = lane; i < ATTENTION_Q_TILES * 16 * Tile::CHUNKS; i += 32) {
        const int row = warp_row + i / Tile::CHUNKS;
        const int chunk = i % Tile::CHUNKS;
        attention_store_chunk(out.base(row) + row * shape.out_token_stride + chunk * 8,
                              load_shared(q_tile + Tile::offset(row, chunk)),
                              q_start + row < shape.q_len ? shape.dim - chunk * 8 : 0, out_vector);
    }
}

#define ATTENTION_KERNEL(NAME, DIM, KEYS, CAUSAL)                                                                      \
    extern "C" __global__ void __launch_bounds__(ATTENTION_THREADS, 2)                                                 \
        NAME(const bf16* q, const bf16* k, const bf16* v, bf16* out, int q_len, int k_len, int heads, int kv_heads,    \
             int dim, long long q_token_stride, long long k_token_stride, long long v_token_stride,                    \
             long long out_token_stride, long long q_batch_stride, long long k_batch_stride, long long v_batch_stride, \
             long long out_batch_stride, float scale, const bf16* v_rest, bf16* out_rest, int split) {                 \
        attention<DIM, KEYS, CAUSAL>(q, k, SplitTokens<const bf16>{v, v_rest, split},                                  \
                                     SplitTokens<bf16>{out, out_rest, split},                                          \
                                     AttentionShape{q_len, k_len, heads, kv_heads, dim, q_token_stride,                \
                                                    k_token_stride, v_token_stride, out_token_stride, q_batch_stride,  \
                                                    k_batch_stride, v_batch_stride, out_batch_stride, scale});         \
    }

ATTENTION_KERNEL(attention_bf16_d128, 128, 64, false)
ATTENTION_KERNEL(attention_bf16_d128_causal, 128, 64, true)
ATTENTION_KERNEL(attention_bf16_d128_narrow, 128, 32, false)
ATTENTION_KERNEL(attention_bf16_d128_narrow_causal, 128, 32, true)
ATTENTION_KERNEL(attention_bf16_d64, 64, 64, false)
ATTENTION_KERNEL(attention_bf16_d64_causal, 64, 64, true)
