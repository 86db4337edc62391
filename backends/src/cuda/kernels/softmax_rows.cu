// softmax(scale * x) of each row of x [rows, cols], in place.
//
// Launch: 256 threads; grid x = rows.

// The largest value over the block, on all of its threads: whole warps, at most 32 of them.
__device__ __forceinline__ float max_block(float value) {
    __shared__ float partial[32];
#pragma unroll
    for (int step = 16; step > 0; step /= 2) value = fmaxf(value, __shfl_xor_sync(0xffffffffu, value, step));
    if (threadIdx.x % 32 == 0) partial[threadIdx.x / 32] = value;
    __syncthreads();
    value = threadIdx.x % 32 < blockDim.x / 32 ? partial[threadIdx.x % 32] : __uint_as_float(0xff800000u);
#pragma unroll
    for (int step = 16; step > 0; step /= 2) value = fmaxf(value, __shfl_xor_sync(0xffffffffu, value, step));
    return value;
}

extern "C" __global__ void __launch_bounds__(256) softmax_rows_f32(float* x, long long cols, float scale) {
    float* row = x + blockIdx.x * cols;
    float largest = __uint_as_float(0xff800000u);
    for (long long i = threadIdx.x; i < cols; i += blockDim.x) largest = fmaxf(largest, row[i]);
    largest = max_block(largest);
    float sum = 0.0f;
    for (long long i = threadIdx.x; i < cols; i += blockDim.x) {
        const float e = expf(scale * (row[i] - largest));
        row[i] = e;
        sum += e;
    }
    const float inverse = 1.0f / sum_block(sum);
    for (long long i = threadIdx.x; i < cols; i += blockDim.x) row[i] *= inverse;
}
