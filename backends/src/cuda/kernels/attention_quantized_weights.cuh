// How the scores of attention_quantized become weights: powers of two with the largest of a row at
// 2^ATTENTION_QUANTIZED_LEVEL or above, as E4M3 codes. Two ways: with the first, the kernel has about
// three quarters of the instructions that it has with the second. Only in programs compiled for sm_90a.

#if defined(__CUDA_ARCH_FEAT_SM90_ALL)

// The scores of a step, of a warpgroup's 64 queries.
using AttentionQuantizedScores = int[ATTENTION_SM90_STEP / 8][4];
// A warp's weights, as wgmma_registers_fp8 takes them.
using AttentionQuantizedWeights = unsigned int[ATTENTION_SM90_STEP / 32][4];

// Where a row's largest weight comes to lie when its maximum is found: from there it may grow to the largest
// code, 448, and the sum of a thread's eight weights of a row and a step is below that.
constexpr int ATTENTION_QUANTIZED_LEVEL = 5;
// Two to this is the least factor of weights beside their maximum: all codes are 0 before.
constexpr int ATTENTION_QUANTIZED_LEAST_SHIFT = -20;

// The keys of a step that exist, from the thread's first column on.
struct AttentionQuantizedSeen {
    int keys;
    // Whether there are any that do not.
    bool some;

    __device__ __forceinline__ bool hidden(int m, int e) const { return m * 8 + e % 2 >= keys; }
};

// The order of values within 16 tokens is this one's: see fp8_quantize_values. `numbers` are the bits of f32.
__device__ __forceinline__ void attention_quantized_pack(const AttentionQuantizedScores& numbers,
                                                         AttentionQuantizedWeights& weights) {
    const auto at = [&](int m, int e) { return __int_as_float(numbers[m][e]); };
#pragma unroll
    for (int m = 0; m < ATTENTION_SM90_STEP / 8; m += 2) {
#pragma unroll
        for (int e = 0; e < 4; e += 2)
            weights[m / 4][m % 4 + e / 2] = e4m3_four(at(m, e), at(m, e + 1), at(m + 1, e), at(m + 1, e + 1));
    }
}

// By the bits of a float alone: a fixed-point exponent, shifted to where they hold theirs, is two to it at whole
// numbers and runs straight between (Schraudolph, "A Fast, Compact Approximation of the Exponential Function",
// 1999). That is up to 6 % too much, 1.9 % off by root mean square, where rounding to codes is off by 2.6 %. It
// takes one instruction for each score, and rows that outgrow their maximum are found afterwards, by sums that are
// needed anyway. For that no exponent may leave its eight bits before: scores must lie within
// ATTENTION_QUANTIZED_REACH of 0.
struct AttentionQuantizedLinear {
    // A whole number, in the fixed point.
    static constexpr int ONE = 1 << 23;

    // Of the rows' scores, in the fixed point.
    int maxima[2] = {0, 0};
    // A score of 1 in the fixed point, and the bits of a weight whose score is the maximum.
    int unit, level;
    // What multiplies a sum of weights for it to be relative to the maximum.
    float whole;

    __device__ __forceinline__ void begin_tile(float log2_scale, int shift) {
        unit = __float2int_rn(log2_scale * (float)ONE);
        level = (127 + ATTENTION_QUANTIZED_LEVEL + shift) * ONE;
        whole = exp2_approx((float)-shift);
    }

    // Takes the scores to `numbers`, no product being under way.
    __device__ __forceinline__ void take(const AttentionQuantizedScores& scores, AttentionQuantizedScores& numbers,
                                         const AttentionQuantizedSeen& seen, AttentionSm90Rows&) const {
        const int add[2] = {level - maxima[0], level - maxima[1]};
#pragma unroll
        for (int m = 0; m < ATTENTION_SM90_STEP / 8; ++m) {
#pragma unroll
            for (int e = 0; e < 4; ++e) numbers[m][e] = scores[m][e] * unit + add[e / 2];
        }
        if (seen.some) hide(numbers, seen);
    }

    // Makes them weights, while the next scores are under way.
    __device__ __forceinline__ void weigh(AttentionQuantizedScores& numbers, AttentionQuantizedWeights& weights,
                                          const AttentionQuantizedSeen& seen, bool first, AttentionSm90Rows& rows,
                                          AttentionQuantizedScores& scores) {
        float totals[4];
        sum(numbers, totals);
        const unsigned int most = max(max(__float_as_uint(totals[0]), __float_as_uint(totals[1])),
                                      max(__float_as_uint(totals[2]), __float_as_uint(totals[3])));
        if (__any_sync(0xffffffffu, first || most > __float_as_uint(FP8_LARGEST))) {
            wgmma_wait<0>(scores);
            int largest[2];
            attention_sm90_largest(numbers, largest);
#pragma unroll
            for (int half = 0; half < 2; ++half) {
                const int above = attention_sm90_over_row(largest[half]) - level;
                const int grown = first ? above : max(above, 0);
                maxima[half] += grown;
                const float factor = exp2_approx((float)grown * (-1.0f / (float)ONE));
                rows.totals[half] *= factor;
                rows.multiply_sums(half, factor);
#pragma unroll
                for (int m = 0; m < ATTENTION_SM90_STEP / 8; ++m) {
                    numbers[m][half * 2] -= grown;
                    numbers[m][half * 2 + 1] -= grown;
                }
            }
            if (seen.some) hide(numbers, seen);
            sum(numbers, totals);
        }
        attention_quantized_pack(numbers, weights);
#pragma unroll
        for (int half = 0; half < 2; ++half)
            rows.totals[half] = fmaf(totals[half * 2] + totals[half * 2 + 1], whole, rows.totals[half]);
    }

private:
    static __device__ __forceinline__ void hide(AttentionQuantizedScores& numbers,
                                                const AttentionQuantizedSeen& seen) {
#pragma unroll
        for (int m = 0; m < ATTENTION_SM90_STEP / 8; ++m) {
#pragma unroll
            for (int e = 0; e < 4; ++e)
                if (seen.hidden(m, e)) numbers[m][e] = 0;
        }
    }

    // Two of each row.
    static __device__ __forceinline__ void sum(const AttentionQuantizedScores& numbers, float (&totals)[4]) {
        const auto at = [&](int m, int e) { return __int_as_float(numbers[m][e]); };
#pragma unroll
        for (int e = 0; e < 4; ++e) {
            totals[e] = at(0, e) + at(1, e);
#pragma unroll
            for (int m = 2; m < ATTENTION_SM90_STEP / 8; ++m) totals[e] += at(m, e);
        }
    }
};

// By the unit for powers of two: for scores of any size.
struct AttentionQuantizedExact {
    // What is added to a score, an integer below 2^22 in magnitude, for the bits of that number plus 1.5 * 2^23: a
    // cheap conversion, whose offset goes into what is added to the exponents anyway.
    static constexpr int FLOAT = 0x4b400000;
    static constexpr float FLOAT_OFFSET = 12582912.0f;
    // A score that so becomes the lowest number: its weight is 0, since scales are at least INT8_LEAST_SCALE.
    static constexpr int HIDDEN = (int)(0xff7fffffu - FLOAT);
    // A row keeps its maximum until it is outgrown by this: the largest weight is then still below 448.
    static constexpr float HEADROOM = 3.75f;

    float maxima[2] = {minus_infinity(), minus_infinity()};
    float log2_scale, shift, whole;

    __device__ __forceinline__ void begin_tile(float tile_scale, int tile_shift) {
        log2_scale = tile_scale;
        shift = (float)tile_shift;
        whole = exp2_approx(-shift);
    }

    __device__ __forceinline__ void take(AttentionQuantizedScores& scores, AttentionQuantizedScores& numbers,
                                         const AttentionQuantizedSeen& seen, AttentionSm90Rows& rows) {
        if (seen.some) {
#pragma unroll
            for (int m = 0; m < ATTENTION_SM90_STEP / 8; ++m) {
#pragma unroll
                for (int e = 0; e < 4; ++e)
                    if (seen.hidden(m, e)) scores[m][e] = HIDDEN;
            }
        }
        int largest[2];
        attention_sm90_largest(scores, largest);
        const float own[2] = {(float)largest[0] * log2_scale, (float)largest[1] * log2_scale};
        const bool above = own[0] > maxima[0] + HEADROOM || own[1] > maxima[1] + HEADROOM;
        if (__any_sync(0xffffffffu, above)) {
#pragma unroll
            for (int half = 0; half < 2; ++half) {
                const float maximum = fmaxf(attention_sm90_over_row(own[half]), maxima[half]);
                const float factor = exp2_approx(maxima[half] - maximum);
                maxima[half] = maximum;
                rows.totals[half] *= factor;
                rows.multiply_sums(half, factor);
            }
        }
#pragma unroll
        for (int m = 0; m < ATTENTION_SM90_STEP / 8; ++m) {
#pragma unroll
            for (int e = 0; e < 4; ++e) {
                numbers[m][e] = scores[m][e] + FLOAT;
                // Not later: the scores' registers are needed.
                asm volatile("" : "+r"(numbers[m][e]));
            }
        }
    }

    __device__ __forceinline__ void weigh(AttentionQuantizedScores& numbers, AttentionQuantizedWeights& weights,
                                          const AttentionQuantizedSeen&, bool, AttentionSm90Rows& rows,
                                          AttentionQuantizedScores&) const {
#pragma unroll
        for (int half = 0; half < 2; ++half) {
            const float base =
                fmaf(FLOAT_OFFSET, log2_scale, maxima[half] - (float)ATTENTION_QUANTIZED_LEVEL - shift);
            float totals[2] = {};
#pragma unroll
            for (int m = 0; m < ATTENTION_SM90_STEP / 8; ++m) {
#pragma unroll
                for (int e = half * 2; e < half * 2 + 2; ++e) {
                    const float weight = exp2_approx(fmaf(__int_as_float(numbers[m][e]), log2_scale, -base));
                    totals[e % 2] += weight;
                    numbers[m][e] = __float_as_int(weight);
                }
            }
            rows.totals[half] = fmaf(totals[0] + totals[1], whole, rows.totals[half]);
        }
        attention_quantized_pack(numbers, weights);
    }
};

#endif
