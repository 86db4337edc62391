// Copies tokens of heads * dim elements between strided places, as rms_norm_rotate addresses them.
//
// Launch: grid x = tokens, grid z = batch; any number of threads (128 suit 3072 bf16).

// 16 bytes at a time where both places are aligned, else element by element.
template <class T>
__device__ __forceinline__ void copy_tokens(const T* x, T* y, int heads, int dim, long long x_token_stride,
                                            long long y_token_stride, long long x_batch_stride,
                                            long long y_batch_stride) {
    constexpr int WIDTH = 16 / (int)sizeof(T);
    const long long token = blockIdx.x;
    const int width = heads * dim;
    x += blockIdx.z * x_batch_stride + token * x_token_stride;
    y += blockIdx.z * y_batch_stride + token * y_token_stride;
    int done = 0;
    if (is_aligned(x, 16) && is_aligned(y, 16)) {
        const int vectors = width / WIDTH;
        for (int i = threadIdx.x; i < vectors; i += blockDim.x) ((uint4*)y)[i] = ((const uint4*)x)[i];
        done = vectors * WIDTH;
    }
    for (int i = done + threadIdx.x; i < width; i += blockDim.x) y[i] = x[i];
}

extern "C" __global__ void copy_tokens_bf16(const bf16* x, bf16* y, int tokens, int heads, int dim,
                                            long long x_token_stride, long long y_token_stride,
                                            long long x_batch_stride, long long y_batch_stride) {
    if ((int)blockIdx.x < tokens)
        copy_tokens(x, y, heads, dim, x_token_stride, y_token_stride, x_batch_stride, y_batch_stride);
}

extern "C" __global__ void copy_tokens_f32(const float* x, float* y, int tokens, int heads, int dim,
                                           long long x_token_stride, long long y_token_stride,
                                           long long x_batch_stride, long long y_batch_stride) {
    if ((int)blockIdx.x < tokens)
        copy_tokens(x, y, heads, dim, x_token_stride, y_token_stride, x_batch_stride, y_batch_stride);
}
