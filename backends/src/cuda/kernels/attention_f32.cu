// The attention of attention.cu for f32 tensors, on the ordinary arithmetic units.
//
// Same arguments, with f32 pointers; any dim <= 128, any strides and alignment.
//
// Launch: 256 threads; grid x = ceil(q_len / 64), y = heads, z = batch; 76800 bytes of dynamic
// shared memory. attention_f32 and attention_f32_causal.

constexpr int ATTENTION_F32_THREADS = 256;
constexpr int ATTENTION_F32_QUERIES = 64;
constexpr int ATTENTION_F32_KEYS = 32;
// Floats between rows of up to 128, and of 32: multiples of 4 that leave those of 32 by 4, so that
// eight rows' vectors fall into different banks.
constexpr int ATTENTION_F32_ROW = 132;
constexpr int ATTENTION_F32_WEIGHTS_ROW = 36;

// Loads `rows` tokens, `available` of which exist; the others, and elements from `dim` to the next
// multiple of 4, are 0.
template <class Tokens>
__device__ __forceinline__ void attention_f32_load(float* tile, int rows, const Tokens& source, long long token_stride,
                                                   int available, int dim, int padded) {
    for (int i = threadIdx.x; i < rows * padded; i += ATTENTION_F32_THREADS) {
        const int row = i / padded;
        const int d = i - row * padded;
        const bool exists = row < available && d < dim;
        tile[row * ATTENTION_F32_ROW + d] = exists ? source.base(row)[row * token_stride + d] : 0.0f;
    }
}

// Thread (ty, tx) of 16 x 16 has query rows 4 ty ..= 4 ty + 3; of the scores, keys tx and tx + 16;
// of the sums, elements 4 tx ..= 4 tx + 3 and those 64 further on.
template <bool CAUSAL>
__device__ __forceinline__ void attention_f32_tiles(const float* q, const float* k, SplitTokens<const float> v,
                                                    SplitTokens<float> out, const AttentionShape& shape) {
    extern __shared__ __align__(1024) unsigned char attention_shared[];
    float* q_tile = (float*)attention_shared;
    float* k_tile = q_tile + ATTENTION_F32_QUERIES * ATTENTION_F32_ROW;
    float* v_tile = k_tile + ATTENTION_F32_KEYS * ATTENTION_F32_ROW;
    float* weights = v_tile + ATTENTION_F32_KEYS * ATTENTION_F32_ROW;

    const int tx = threadIdx.x % 16;
    const int ty = threadIdx.x / 16;
    const int q_start = (CAUSAL ? gridDim.x - 1 - blockIdx.x : blockIdx.x) * ATTENTION_F32_QUERIES;
    const int kv_head = blockIdx.y / (shape.heads / shape.kv_heads);
    const int diagonal = shape.k_len - shape.q_len;
    const int padded = (shape.dim + 3) / 4 * 4;
    q += blockIdx.z * shape.q_batch_stride + q_start * shape.q_token_stride + (int)blockIdx.y * shape.dim;
    k += blockIdx.z * shape.k_batch_stride + kv_head * shape.dim;
    v = v.from(0, blockIdx.z * shape.v_batch_stride + kv_head * shape.dim);
    out = out.from(q_start, blockIdx.z * shape.out_batch_stride + q_start * shape.out_token_stride +
                                (int)blockIdx.y * shape.dim);
    const int keys = CAUSAL ? min(shape.k_len, q_start + ATTENTION_F32_QUERIES + diagonal) : shape.k_len;
    const float log2_scale = shape.scale * 1.4426950408889634f;

    attention_f32_load(q_tile, ATTENTION_F32_QUERIES, PlainTokens<const float>{q}, shape.q_token_stride,
                       shape.q_len - q_start, shape.dim, padded);
    float sums[4][8] = {};
    float maxima[4], totals[4] = {};
#pragma unroll
    for (int r = 0; r < 4; ++r) maxima[r] = minus_infinity();

    for (int key_start = 0; key_start < keys; key_start += ATTENTION_F32_KEYS) {
        // Nobody reads the last turn's tiles any more.
        __syncthreads();
        attention_f32_load(k_tile, ATTENTION_F32_KEYS, PlainTokens<const float>{k + key_start * shape.k_token_stride},
                           shape.k_token_stride, shape.k_len - key_start, shape.dim, padded);
        attention_f32_load(v_tile, ATTENTION_F32_KEYS, v.from(key_start, key_start * shape.v_token_stride),
                           shape.v_token_stride, shape.k_len - key_start, shape.dim, padded);
        __syncthreads();

        float scores[4][2] = {};
        for (int d = 0; d < padded; d += 4) {
            float key[2][4];
#pragma unroll
            for (int j = 0; j < 2; ++j) load_vector(k_tile + (tx + 16 * j) * ATTENTION_F32_ROW + d, key[j]);
#pragma unroll
            for (int r = 0; r < 4; ++r) {
                float query[4];
                load_vector(q_tile + (4 * ty + r) * ATTENTION_F32_ROW + d, query);
#pragma unroll
                for (int j = 0; j < 2; ++j)
#pragma unroll
                    for (int e = 0; e < 4; ++e) scores[r][j] = fmaf(query[e], key[j][e], scores[r][j]);
            }
        }
#pragma unroll
        for (int r = 0; r < 4; ++r) {
            const int row = q_start + 4 * ty + r;
            const int seen = CAUSAL ? min(shape.k_len, row + diagonal + 1) : shape.k_len;
#pragma unroll
            for (int j = 0; j < 2; ++j)
                scores[r][j] = key_start + tx + 16 * j < seen ? scores[r][j] * log2_scale : minus_infinity();
            float maximum = fmaxf(scores[r][0], scores[r][1]);
#pragma unroll
            for (int step = 8; step > 0; step /= 2)
                maximum = fmaxf(maximum, __shfl_xor_sync(0xffffffffu, maximum, step));
            maximum = fmaxf(maximum, maxima[r]);
            // A row that has seen no key yet has sums of 0, which any finite factor keeps.
            const float base = maximum == minus_infinity() ? 0.0f : maximum;
            const float factor = exp2f(maxima[r] - base);
            maxima[r] = maximum;
            totals[r] *= factor;
#pragma unroll
            for (int e = 0; e < 8; ++e) sums[r][e] *= factor;
#pragma unroll
            for (int j = 0; j < 2; ++j) {
                const float weight = exp2f(scores[r][j] - base);
                totals[r] += weight;
                weights[(4 * ty + r) * ATTENTION_F32_WEIGHTS_ROW + tx + 16 * j] = weight;
            }
        }
        // A row's weights are written and read by the same half of a warp.
        __syncwarp();
        for (int key = 0; key < ATTENTION_F32_KEYS; ++key) {
            float value[2][4];
#pragma unroll
            for (int j = 0; j < 2; ++j) load_vector(v_tile + key * ATTENTION_F32_ROW + 4 * tx + 64 * j, value[j]);
#pragma unroll
            for (int r = 0; r < 4; ++r) {
                const float weight = weights[(4 * ty + r) * ATTENTION_F32_WEIGHTS_ROW + key];
#pragma unroll
                for (int e = 0; e < 8; ++e) sums[r][e] = fmaf(weight, value[e / 4][e % 4], sums[r][e]);
            }
        }
    }

#pragma unroll
    for (int r = 0; r < 4; ++r) {
        const float total = sum_lanes<16>(totals[r]);
        const float factor = total == 0.0f ? 0.0f : 1.0f / total;
        const int row = 4 * ty + r;
        if (q_start + row < shape.q_len) {
#pragma unroll
            for (int e = 0; e < 8; ++e) {
                const int d = 4 * tx + e / 4 * 64 + e % 4;
                if (d < shape.dim) out.base(row)[row * shape.out_token_stride + d] = sums[r][e] * factor;
            }
        }
    }
}

#define ATTENTION_F32_KERNEL(NAME, CAUSAL)                                                                             \
    extern "C" __global__ void __launch_bounds__(ATTENTION_F32_THREADS)                                                \
        NAME(const float* q, const float* k, const float* v, float* out, int q_len, int k_len, int heads,              \
             int kv_heads, int dim, long long q_token_stride, long long k_token_stride, long long v_token_stride,      \
             long long out_token_stride, long long q_batch_stride, long long k_batch_stride, long long v_batch_stride, \
             long long out_batch_stride, float scale, const float* v_rest, float* out_rest, int split) {               \
        attention_f32_tiles<CAUSAL>(q, k, SplitTokens<const float>{v, v_rest, split},                                  \
                                    SplitTokens<float>{out, out_rest, split},                                          \
                                    AttentionShape{q_len, k_len, heads, kv_heads, dim, q_token_stride, k_token_stride, \
                                                   v_token_stride, out_token_stride, q_batch_stride, k_batch_stride,   \
                                                   v_batch_stride, out_batch_stride, scale});                          \
    }

ATTENTION_F32_KERNEL(attention_f32, false)
ATTENTION_F32_KERNEL(attention_f32_causal, true)
