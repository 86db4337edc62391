// Sums and maxima over the lanes of a warp and over the threads of a block.

// The sum over each run of LANES consecutive lanes, on all of them. LANES is a power of two.
template <int LANES>
__device__ __forceinline__ float sum_lanes(float value) {
#pragma unroll
    for (int step = LANES / 2; step > 0; step /= 2) value += __shfl_xor_sync(0xffffffffu, value, step);
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

// The largest value over the block, on all of its threads: whole warps, at most 32 of them.
__device__ __forceinline__ float max_block(float value) {
    __shared__ float partial[32];
    value = max_lanes<32>(value);
    // As in `sum_block`.
    __syncthreads();
    if (threadIdx.x % 32 == 0) partial[threadIdx.x / 32] = value;
    __syncthreads();
    const int lane = threadIdx.x % 32;
    return max_lanes<32>(lane < blockDim.x / 32 ? partial[lane] : __uint_as_float(0xff800000u));
}

// The sum of a thread's own elements, in pairs.
__device__ __forceinline__ float sum_group(const float (&v)[GROUP]) {
    return ((v[0] + v[1]) + (v[2] + v[3])) + ((v[4] + v[5]) + (v[6] + v[7]));
}
