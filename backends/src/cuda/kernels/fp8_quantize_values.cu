// Quantizes the values of attention over one or two sequences to E4M3, in tiles as attention_quantized
// reads them.
//
// first is bf16 [length0 + length1, heads, dim] and second [sequences, tokens, heads, dim]: sequence i has
// its length of the former and then its tokens of the latter. dim <= 128 is a multiple of 8. Rows of
// the tiles in codesi are those of an element of dim; its codes of 128 tokens are zeros for tokens that there
// are not. Of each 16 tokens, codes 4 i ..= 4 i + 3 are those of tokens 2 i, 2 i + 1, 2 i + 8 and 2 i + 9: so
// a thread's weights lie in registers. Rows from dim on stay as they are.
//
// powersi [heads, tiles]: what two is raised to for the scale of a tile, -60 to 60; infinite where a
// value is.
//
// Launch: 256 threads; grid x = tiles of the longer sequence, y = heads, z = sequences. codes begin at
// multiples of 4 bytes.
// Only in programs for sm_89 and later.

#if __CUDA_ARCH__ >= 890

constexpr int FP8_VALUES_THREADS = 256;
// Groups of eight elements of a token, and runs of four tokens, of a tile.
constexpr int FP8_VALUES_GROUPS = 128 / GROUP;
constexpr int FP8_VALUES_RUNS = 128 / 4;
constexpr int FP8_VALUES_TURNS = FP8_VALUES_GROUPS * FP8_VALUES_RUNS / FP8_VALUES_THREADS;
constexpr int FP8_VALUES_LARGEST_POWER = 60;

// The power of two that brings the largest magnitude to E4M3's range.
__device__ __forceinline__ int fp8_power(float largest) {
    const unsigned int bits = __float_as_uint(largest * (1.0f / FP8_LARGEST));
    const int power = (int)(bits >> 23) - 127 + ((bits & 0x7fffffu) != 0u ? 1 : 0);
    return max(min(power, FP8_VALUES_LARGEST_POWER), -FP8_VALUES_LARGEST_POWER);
}

extern "C" __global__ void __launch_bounds__(FP8_VALUES_THREADS)
    fp8_quantize_values_bf16(const bf16* first, const bf16* second, unsigned char* codes0, unsigned char* codes1,
                             float* powers0, float* powers1, int length0, int length1, int tokens, int heads,
                             int dim) {
    const int sequence = blockIdx.z;
    const int split = sequence == 0 ? length0 : length1;
    const int all = split + tokens;
    const int tiles = (all + 127) / 128;
    if (blockIdx.x >= tiles) return;
    const long long token_stride = (long long)heads * dim;
    const bf16* v = first + (sequence == 0 ? 0 : length0) * token_stride;
    // Counted as if those of the first lay before them.
    const bf16* v_rest = second + ((long long)sequence * tokens - split) * token_stride;
    unsigned char* codes = sequence == 0 ? codes0 : codes1;
    float* powers = sequence == 0 ? powers0 : powers1;
    // Four tokens of a row; two words after each eight rows spread what a warp writes over all banks.
    __shared__ unsigned int words[128 * FP8_VALUES_RUNS + 2 * FP8_VALUES_GROUPS];
    const auto word = [](int row, int run) { return row * FP8_VALUES_RUNS + row / GROUP * 2 + run; };
    const int head = blockIdx.y;
    const int start = blockIdx.x * 128;
    const int group = threadIdx.x % FP8_VALUES_GROUPS;
    const SplitTokens<const bf16> source{v, v_rest, split};
    const bool vector = is_aligned(v, 16) && is_aligned(v_rest, 16);

    Packed<bf16> held[FP8_VALUES_TURNS][4];
    float largest = 0.0f;
#pragma unroll
    for (int turn = 0; turn < FP8_VALUES_TURNS; ++turn) {
        const int run = threadIdx.x / FP8_VALUES_GROUPS + turn * FP8_VALUES_THREADS / FP8_VALUES_GROUPS;
#pragma unroll
        for (int i = 0; i < 4; ++i) {
            const int token = start + run / 4 * 16 + run % 4 * 2 + i / 2 * 8 + i % 2;
            const bf16* from = source.base(token) + token * token_stride + head * dim + group * GROUP;
            const bool exists = token < all && group * GROUP < dim;
            if (vector) {
                held[turn][i] = load_packed(from, exists);
            } else {
                float numbers[GROUP];
                load_some(from, exists ? GROUP : 0, false, numbers);
                pack(held[turn][i], numbers);
            }
        }
    }
#pragma unroll
    for (int turn = 0; turn < FP8_VALUES_TURNS; ++turn) {
#pragma unroll
        for (int i = 0; i < 4; ++i) {
            float numbers[GROUP];
            unpack(held[turn][i], numbers);
            largest = largest_magnitude(numbers, largest);
        }
    }
    largest = max_block(largest);
    const int power = fp8_power(largest);
    const float inverse = __uint_as_float((unsigned int)(127 - power) << 23);
    if (threadIdx.x == 0) powers[head * tiles + blockIdx.x] = largest <= 3.4e38f ? (float)power : -minus_infinity();

#pragma unroll
    for (int turn = 0; turn < FP8_VALUES_TURNS; ++turn) {
        const int run = threadIdx.x / FP8_VALUES_GROUPS + turn * FP8_VALUES_THREADS / FP8_VALUES_GROUPS;
        float numbers[4][GROUP];
#pragma unroll
        for (int i = 0; i < 4; ++i) unpack(held[turn][i], numbers[i]);
#pragma unroll
        for (int e = 0; e < GROUP; ++e)
            words[word(group * GROUP + e, run)] = e4m3_four(numbers[0][e] * inverse, numbers[1][e] * inverse,
                                                            numbers[2][e] * inverse, numbers[3][e] * inverse);
    }
    __syncthreads();
    unsigned int* to = (unsigned int*)codes + ((long long)head * tiles + blockIdx.x) * (128 * FP8_VALUES_RUNS);
    for (int i = threadIdx.x; i < dim * FP8_VALUES_RUNS; i += FP8_VALUES_THREADS) {
        const int row = i / FP8_VALUES_RUNS;
        const int run = i % FP8_VALUES_RUNS;
        to[row * FP8_VALUES_RUNS + (run ^ (row % 8 * 4))] = words[word(row, run)];
    }
}

#endif
