// Activations in device memory, bf16 or f32, read and written as f32.
//
// Tensors move in groups of 8 consecutive elements: whole groups at 16-byte aligned addresses as
// vectors, anything else element by element.

struct bf16 {
    unsigned short bits;
};

constexpr int GROUP = 8;

__device__ __forceinline__ float minus_infinity() { return __uint_as_float(0xff800000u); }

__device__ __forceinline__ float low_to_float(unsigned int pair) { return __uint_as_float(pair << 16); }
__device__ __forceinline__ float high_to_float(unsigned int pair) { return __uint_as_float(pair & 0xffff0000u); }

__device__ __forceinline__ float load(const float* p) { return *p; }
__device__ __forceinline__ float load(const bf16* p) { return low_to_float(p->bits); }

__device__ __forceinline__ void store(float* p, float value) { *p = value; }
__device__ __forceinline__ void store(bf16* p, float value) {
    p->bits = (unsigned short)bf16_pair(value, 0.0f);
}

__device__ __forceinline__ bool is_aligned(const void* p, int bytes) {
    return ((unsigned long long)p & (unsigned long long)(bytes - 1)) == 0;
}

// The vector moves below need 16-byte aligned addresses; those of 4 bf16 need 8 bytes.

__device__ __forceinline__ void load_vector(const float* p, float (&v)[4]) {
    const float4 a = *(const float4*)p;
    v[0] = a.x, v[1] = a.y, v[2] = a.z, v[3] = a.w;
}

__device__ __forceinline__ void load_vector(const bf16* p, float (&v)[4]) {
    const uint2 a = *(const uint2*)p;
    v[0] = low_to_float(a.x), v[1] = high_to_float(a.x);
    v[2] = low_to_float(a.y), v[3] = high_to_float(a.y);
}

__device__ __forceinline__ void load_vector(const float* p, float (&v)[8]) {
    const float4 a = ((const float4*)p)[0];
    const float4 b = ((const float4*)p)[1];
    v[0] = a.x, v[1] = a.y, v[2] = a.z, v[3] = a.w;
    v[4] = b.x, v[5] = b.y, v[6] = b.z, v[7] = b.w;
}

__device__ __forceinline__ void load_vector(const bf16* p, float (&v)[8]) {
    const uint4 a = *(const uint4*)p;
    v[0] = low_to_float(a.x), v[1] = high_to_float(a.x);
    v[2] = low_to_float(a.y), v[3] = high_to_float(a.y);
    v[4] = low_to_float(a.z), v[5] = high_to_float(a.z);
    v[6] = low_to_float(a.w), v[7] = high_to_float(a.w);
}

__device__ __forceinline__ void store_vector(float* p, const float (&v)[4]) {
    *(float4*)p = make_float4(v[0], v[1], v[2], v[3]);
}

__device__ __forceinline__ void store_vector(bf16* p, const float (&v)[4]) {
    *(uint2*)p = make_uint2(bf16_pair(v[0], v[1]), bf16_pair(v[2], v[3]));
}

__device__ __forceinline__ void store_vector(float* p, const float (&v)[8]) {
    ((float4*)p)[0] = make_float4(v[0], v[1], v[2], v[3]);
    ((float4*)p)[1] = make_float4(v[4], v[5], v[6], v[7]);
}

__device__ __forceinline__ void store_vector(bf16* p, const float (&v)[8]) {
    *(uint4*)p = make_uint4(bf16_pair(v[0], v[1]), bf16_pair(v[2], v[3]), bf16_pair(v[4], v[5]),
                            bf16_pair(v[6], v[7]));
}

// Reads N elements of which `count` exist (it may be negative, or above N); the others are 0.
// `vector` promises that a whole group may be read as one.
template <class T, int N>
__device__ __forceinline__ void load_some(const T* p, int count, bool vector, float (&v)[N]) {
    if (vector && count >= N) {
        load_vector(p, v);
    } else {
#pragma unroll
        for (int e = 0; e < N; ++e) v[e] = e < count ? load(p + e) : 0.0f;
    }
}

// Writes the first `count` of N elements, as `load_some` reads them.
template <class T, int N>
__device__ __forceinline__ void store_some(T* p, int count, bool vector, const float (&v)[N]) {
    if (vector && count >= N) {
        store_vector(p, v);
    } else {
#pragma unroll
        for (int e = 0; e < N; ++e)
            if (e < count) store(p + e, v[e]);
    }
}

// `count` as load_some and store_some take it, of what is left of a long run.
__device__ __forceinline__ int at_most_group(long long left) { return left < GROUP ? (int)left : GROUP; }
