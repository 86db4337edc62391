// Groups of elements in registers as they lie in memory, which takes half the registers of f32
// where elements are bf16; and rows that one warp or one block holds so.

template <class T>
struct Packed {
    uint4 words[GROUP * sizeof(T) / 16];
};

// Groups of each thread: what a row of 3072 needs of a warp.
constexpr int ROW_GROUPS = 12;

// The most columns that so many threads hold.
__device__ __forceinline__ constexpr int held_cols(int threads) { return threads * GROUP * ROW_GROUPS; }

// A group at a 16-byte aligned address, or zeros where `exists` is false.
template <class T>
__device__ __forceinline__ Packed<T> load_packed(const T* p, bool exists) {
    Packed<T> group;
#pragma unroll
    for (int i = 0; i < (int)(sizeof(group.words) / 16); ++i)
        group.words[i] = exists ? ((const uint4*)p)[i] : make_uint4(0u, 0u, 0u, 0u);
    return group;
}

// These stores stay whole where the compiler would take apart a plain one.

template <class T>
__device__ __forceinline__ void store_packed(T* p, const Packed<T>& group) {
#pragma unroll
    for (int i = 0; i < (int)(sizeof(group.words) / 16); ++i) __stwb((uint4*)p + i, group.words[i]);
}

// The two halves of a group to places of their own.
__device__ __forceinline__ void store_halves(bf16* low, bf16* high, const Packed<bf16>& group) {
    __stwb((uint2*)low, make_uint2(group.words[0].x, group.words[0].y));
    __stwb((uint2*)high, make_uint2(group.words[0].z, group.words[0].w));
}

__device__ __forceinline__ void store_halves(float* low, float* high, const Packed<float>& group) {
    __stwb((uint4*)low, group.words[0]);
    __stwb((uint4*)high, group.words[1]);
}

template <class T>
__device__ __forceinline__ void unpack(const Packed<T>& group, float (&v)[GROUP]) {
    load_vector((const T*)group.words, v);
}

template <class T>
__device__ __forceinline__ void pack(Packed<T>& group, const float (&v)[GROUP]) {
    store_vector((T*)group.words, v);
}
