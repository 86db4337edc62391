// softmax(scale * x) of each row of x [rows, cols], in place.
//
// Launch: 256 threads; grid x = rows.

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
