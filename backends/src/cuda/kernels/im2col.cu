// The columns of a convolution with zero border and stride 1, for a run of one image's output
// pixels: columns[c * side^2 + ky * side + kx, p] = x[c, py + ky - side / 2, px + kx - side / 2]
// with (py, px) the place of pixel first_pixel + p of the height x width image. side is odd.
//
// Launch: 128 threads; grid x = ceil(pixels / 1024), grid y = channels * side (at most 65535).

constexpr int IM2COL_THREADS = 128;

// Each thread has eight pixels of all columns that share a channel and ky.
template <class T, class C>
__device__ __forceinline__ void im2col(const T* x, C* columns, int height, int width, int side,
                                       long long first_pixel, long long pixels) {
    const long long p = ((long long)blockIdx.x * IM2COL_THREADS + threadIdx.x) * GROUP;
    if (p >= pixels) return;
    const int count = at_most_group(pixels - p);
    const int c = blockIdx.y / side;
    const int ky = blockIdx.y % side;
    const int border = side / 2;
    x += (long long)c * height * width;
    columns += (long long)blockIdx.y * side * pixels + p;
    const bool columns_vector = pixels % GROUP == 0 && is_aligned(columns, 16);

    const long long pixel = first_pixel + p;
    const int px = (int)(pixel % width);
    const int row = (int)(pixel / width) + ky - border;
    if (side == 3 && count == GROUP && px + GROUP <= width) {
        // All eight lie on one line: they and their neighbours are ten elements, read once.
        const bool inside = row >= 0 && row < height;
        const T* line = x + (long long)row * width + px;
        float middle[GROUP], left[GROUP], right[GROUP];
        load_some(line, inside ? GROUP : 0, is_aligned(line, 16), middle);
        left[0] = inside && px > 0 ? load(line - 1) : 0.0f;
        right[GROUP - 1] = inside && px + GROUP < width ? load(line + GROUP) : 0.0f;
#pragma unroll
        for (int e = 1; e < GROUP; ++e) {
            left[e] = middle[e - 1];
            right[e - 1] = middle[e];
        }
        store_some(columns, GROUP, columns_vector, left);
        store_some(columns + pixels, GROUP, columns_vector, middle);
        store_some(columns + 2 * pixels, GROUP, columns_vector, right);
        return;
    }
    for (int kx = 0; kx < side; ++kx) {
        float v[GROUP];
        int at_x = px, at_row = row;
#pragma unroll
        for (int e = 0; e < GROUP; ++e) {
            const int column = at_x + kx - border;
            const bool inside = e < count && at_row >= 0 && at_row < height && column >= 0 && column < width;
            v[e] = inside ? load(x + (long long)at_row * width + column) : 0.0f;
            if (++at_x == width) at_x = 0, ++at_row;
        }
        store_some(columns + kx * pixels, count, columns_vector, v);
    }
}

extern "C" __global__ void __launch_bounds__(IM2COL_THREADS)
    im2col_bf16(const bf16* x, bf16* columns, int channels, int height, int width, int side, long long first_pixel,
                long long pixels) {
    if ((int)blockIdx.y < channels * side) im2col(x, columns, height, width, side, first_pixel, pixels);
}

extern "C" __global__ void __launch_bounds__(IM2COL_THREADS)
    im2col_f32(const float* x, float* columns, int channels, int height, int width, int side, long long first_pixel,
               long long pixels) {
    if ((int)blockIdx.y < channels * side) im2col(x, columns, height, width, side, first_pixel, pixels);
}

extern "C" __global__ void __launch_bounds__(IM2COL_THREADS)
    im2col_f32_bf16(const float* x, bf16* columns, int channels, int height, int width, int side,
                    long long first_pixel, long long pixels) {
    if ((int)blockIdx.y < channels * side) im2col(x, columns, height, width, side, first_pixel, pixels);
}
