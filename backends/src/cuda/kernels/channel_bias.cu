// y[c, p] += bias[c] over planes of one image.
//
// Launch: 256 threads; grid x any, grid y = channels.

extern "C" __global__ void channel_bias_f32(float* y, const float* bias, long long plane) {
    const float add = bias[blockIdx.y];
    y += blockIdx.y * plane;
    const long long step = (long long)gridDim.x * blockDim.x;
    for (long long i = (long long)blockIdx.x * blockDim.x + threadIdx.x; i < plane; i += step) y[i] += add;
}
