// A row of numbers as E4M3 codes with one scale. Only in programs for sm_89 and later.

#if __CUDA_ARCH__ >= 890

constexpr float FP8_LARGEST = 448.0f;
// Smaller numbers have no inverse that f32 can hold beside such a factor: they count as 0.
constexpr float FP8_LEAST = 1e-30f;

struct Fp8RowScale {
    float scale;   // a number is its code times this
    float inverse; // what numbers are multiplied by before they are quantized to codes
};

// The scale that brings the row's largest magnitude to E4M3's; 1 for a row of zeros or nearly so.
__device__ __forceinline__ Fp8RowScale fp8_row_scale(float largest) {
    if (largest < FP8_LEAST) return Fp8RowScale{1.0f, 1.0f};
    return Fp8RowScale{largest / FP8_LARGEST, FP8_LARGEST / largest};
}

__device__ __forceinline__ float largest_magnitude(const float (&v)[GROUP], float largest) {
#pragma unroll
    for (int e = 0; e < GROUP; ++e) largest = fmaxf(largest, fabsf(v[e]));
    return largest;
}

// Codes of the first `left` numbers of a group.
__device__ __forceinline__ void fp8_store_codes(const float (&numbers)[GROUP], float inverse, unsigned char* codes,
                                                int left, bool vector) {
    float v[GROUP];
#pragma unroll
    for (int e = 0; e < GROUP; ++e) v[e] = numbers[e] * inverse;
    if (vector && left >= GROUP) {
        *(uint2*)codes = make_uint2(e4m3_four(v[0], v[1], v[2], v[3]), e4m3_four(v[4], v[5], v[6], v[7]));
    } else {
#pragma unroll
        for (int e = 0; e < GROUP; ++e)
            if (e < left) codes[e] = (unsigned char)e4m3_pair(v[e], 0.0f);
    }
}

#endif
