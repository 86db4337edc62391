// Copies in another dtype.
//
// Launch: 256 threads, any grid.

extern "C" __global__ void cast_f32_bf16(const float* x, bf16* y, long long n) {
    const long long step = (long long)gridDim.x * blockDim.x;
    for (long long i = (long long)blockIdx.x * blockDim.x + threadIdx.x; i < n; i += step) store(y + i, x[i]);
}
