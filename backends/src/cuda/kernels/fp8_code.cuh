// FP8 codes to numbers, exactly. Both formats fit into bf16, so that is what codes become first.

// How the codes of one format become bf16: their exponent and mantissa move to the places of
// bf16's, which leaves the number too small by a power of two that a multiplication restores. The
// multiplication also normalises subnormal codes.
struct Fp8Format {
    unsigned int shift;      // from a code in the high byte of a half to bf16's fields
    unsigned int mask;       // of those fields, on both halves
    unsigned int multiplier; // the power of two, on both halves
    unsigned int to_special; // what lifts the first code without a number to 0x80, on four bytes
};

// `format`: 0 is E4M3 (finite: 0x7f and 0xff are NaN, there is no infinity), 1 is E5M2.
__device__ __forceinline__ Fp8Format fp8_format(int format) {
    if (format == 0) return Fp8Format{4u, 0x07f007f0u, 0x7b807b80u, 0x01010101u};
    return Fp8Format{3u, 0x0fe00fe0u, 0x77807780u, 0x04040404u};
}

// Two codes, in the high bytes of the halves of `codes`, to a pair of bf16.
__device__ __forceinline__ unsigned int decode_fp8_halves(unsigned int codes, const Fp8Format& f) {
    const unsigned int pair = ((codes >> f.shift) & f.mask) | (codes & 0x80008000u);
    return fma_bf16_pair(pair, f.multiplier, 0x80008000u);
}

// Infinity or NaN for each code of the pair that means one.
__device__ __forceinline__ unsigned int decode_fp8_specials(unsigned int codes, unsigned int pair, const Fp8Format& f) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
        const unsigned int code = (codes >> (16 * half + 8)) & 0xffu;
        const unsigned int magnitude = code & 0x7fu;
        if (magnitude + (f.to_special & 0xffu) >= 0x80u) {
            const unsigned int bits = ((code & 0x80u) << 8) | (magnitude == 0x7cu ? 0x7f80u : 0x7fc0u);
            pair = (pair & (half == 0 ? 0xffff0000u : 0x0000ffffu)) | (bits << (16 * half));
        }
    }
    return pair;
}

// Four codes to four bf16, in order.
__device__ __forceinline__ uint2 decode_fp8_word(unsigned int word, const Fp8Format& f) {
    const unsigned int low = __byte_perm(word, 0u, 0x1404);
    const unsigned int high = __byte_perm(word, 0u, 0x3424);
    uint2 pairs = make_uint2(decode_fp8_halves(low, f), decode_fp8_halves(high, f));
    if ((((word & 0x7f7f7f7fu) + f.to_special) & 0x80808080u) != 0u) {
        pairs.x = decode_fp8_specials(low, pairs.x, f);
        pairs.y = decode_fp8_specials(high, pairs.y, f);
    }
    return pairs;
}

// One code to f32.
__device__ __forceinline__ float decode_fp8(unsigned char code, const Fp8Format& f) {
    return low_to_float(decode_fp8_word(code, f).x);
}
