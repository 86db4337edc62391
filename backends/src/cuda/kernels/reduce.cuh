// Sums and maxima over the lanes of a warp and over the threads of a block.

// The sum over each run of LANES consecutive lanes, on all of them. LANES is a power of two.
template <int LANES>
__device__ __forceinline__ float sum_lanes(float value) {
#pragma unroll
    for (int step = LANES / 2; step > 0; step /= 2) value += __shfl_xor_sync(0xffffffffu, value, step);
    return value;
}

// The sums of COUNT values over each run of LANES consecutive lanes: that of value i % COUNT, on lane i. Both are
// powers of two. With fewer shuffles than one after the other.
template <int LANES, int COUNT>
__device__ __forceinline__ float sum_each(float (&values)[COUNT]) {
    static_assert(COUNT <= LANES);
    int step = 1;
#pragma unroll
    for (int left = COUNT / 2; left > 0; left /= 2, step *= 2) {
        const bool odd = (threadIdx.x & step) != 0;
#pragma unroll
        for (int i = 0; i < left; ++i) {
            const float kept = odd ? values[2 * i + 1] : values[2 * i];
            const float given = odd ? values[2 * i] : values[2 * i + 1];
            values[i] = kept + __shfl_xor_sync(0xffffffffu, given, step);
        }
    }
    float value = values[0];
#pragma unroll
    for (; step < LANES; step *= 2) value += __shfl_xor_sync(0xffffffffu, value, step);
    return value;
}

// The sum over the block, on all of its threads: whole warps, at most 32 of them.
__device__ __forceinline__ float sum_block(float value) {
    __shared__ float partial[32];
    value = sum_lanes<32>(value);
    // Whoever still reads the sums of an earlier call must be done.
    __syncthreads();
    if (threadIdx.x % 32 == 0) partial[threadIdx.x / 32] = value;
    __syncthreads();
    const int lane = threadIdx.x % 32;
    return sum_lanes<32>(lane < blockDim.x / 32 ? partial[lane] : 0.0f);
}

// The largest value over each run of LANES consecutive lanes, on all of them. LANES is a power of two.
template <int LANES>
__device__ __forceinline__ float max_lanes(float value) {
#pragma unroll
    for (int step = LANES / 2; step > 0; step /= 2) value = fmaxf(value, __shfl_xor_sync(0xffffffffu, value, step));
    return value;
}

// The largest of each of so many values over the block, on all of its threads: whole warps, at most 32 of them.
template <int COUNT>
__device__ __forceinline__ void max_block(float (&values)[COUNT]) {
    __shared__ float partial[COUNT][32];
    // As in `sum_block`.
    __syncthreads();
#pragma unroll
    for (int i = 0; i < COUNT; ++i) {
        values[i] = max_lanes<32>(values[i]);
        if (threadIdx.x % 32 == 0) partial[i][threadIdx.x / 32] = values[i];
    }
    __syncthreads();
    const int lane = threadIdx.x % 32;
#pragma unroll
    for (int i = 0; i < COUNT; ++i)
        values[i] = max_lanes<32>(lane < blockDim.x / 32 ? partial[i][lane] : __uint_as_float(0xff800000u));
}

__device__ __forceinline__ float max_block(float value) {
    float values[1] = {value};
    max_block(values);
    return values[0];
}

// The sum of a thread's own elements, in pairs.
__device__ __forceinline__ float sum_group(const float (&v)[GROUP]) {
    return ((v[0] + v[1]) + (v[2] + v[3])) + ((v[4] + v[5]) + (v[6] + v[7]));
}
