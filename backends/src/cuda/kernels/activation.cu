// Activation functions, element by element. The output may be an input.
//
// Launch: 256 threads, any grid; ceil(n / 2048) blocks leave one group of 8 to each thread.

// x * sigmoid(z). bf16 results take the fast exponential and division, whose errors they round off.
__device__ __forceinline__ float times_sigmoid(const bf16*, float x, float z) {
    return __fdividef(x, 1.0f + __expf(-z));
}
__device__ __forceinline__ float times_sigmoid(const float*, float x, float z) { return x / (1.0f + expf(-z)); }

// 0.5 * x * (1 + tanh(u)) is x * sigmoid(2u).
template <class T>
__device__ __forceinline__ float gelu_tanh(const T* kind, float x) {
    const float u = 0.7978845608028654f * fmaf(0.044715f * x * x, x, x);
    return times_sigmoid(kind, x, 2.0f * u);
}

template <class T>
__device__ __forceinline__ void gelu_tanh_all(const T* x, T* y, long long n) {
    const bool x_vector = is_aligned(x, 16), y_vector = is_aligned(y, 16);
    const long long step = (long long)gridDim.x * blockDim.x * GROUP;
    for (long long i = ((long long)blockIdx.x * blockDim.x + threadIdx.x) * GROUP; i < n; i += step) {
        const int left = at_most_group(n - i);
        float v[GROUP];
        load_some(x + i, left, x_vector, v);
#pragma unroll
        for (int e = 0; e < GROUP; ++e) v[e] = gelu_tanh(x, v[e]);
        store_some(y + i, left, y_vector, v);
    }
}

// y = f(y + addend), where f is GELU's tanh form or nothing, and there may be no addend.
template <class T>
__device__ __forceinline__ void finish_all(T* y, const T* addend, long long n, int gelu) {
    const bool y_vector = is_aligned(y, 16), vector = is_aligned(addend, 16);
    const long long step = (long long)gridDim.x * blockDim.x * GROUP;
    for (long long i = ((long long)blockIdx.x * blockDim.x + threadIdx.x) * GROUP; i < n; i += step) {
        const int left = at_most_group(n - i);
        float v[GROUP], more[GROUP] = {};
        load_some(y + i, left, y_vector, v);
        if (addend != nullptr) load_some(addend + i, left, vector, more);
#pragma unroll
        for (int e = 0; e < GROUP; ++e) v[e] = gelu != 0 ? gelu_tanh(y, v[e] + more[e]) : v[e] + more[e];
        store_some(y + i, left, y_vector, v);
    }
}

// silu(gate) * up
template <class T>
__device__ __forceinline__ void silu_mul_all(const T* gate, const T* up, T* y, long long n) {
    const bool gate_vector = is_aligned(gate, 16), up_vector = is_aligned(up, 16), y_vector = is_aligned(y, 16);
    const long long step = (long long)gridDim.x * blockDim.x * GROUP;
    for (long long i = ((long long)blockIdx.x * blockDim.x + threadIdx.x) * GROUP; i < n; i += step) {
        const int left = at_most_group(n - i);
        float g[GROUP], u[GROUP];
        load_some(gate + i, left, gate_vector, g);
        load_some(up + i, left, up_vector, u);
#pragma unroll
        for (int e = 0; e < GROUP; ++e) g[e] = times_sigmoid(gate, g[e], g[e]) * u[e];
        store_some(y + i, left, y_vector, g);
    }
}

extern "C" __global__ void gelu_tanh_bf16(const bf16* x, bf16* y, long long n) { gelu_tanh_all(x, y, n); }

extern "C" __global__ void gelu_tanh_f32(const float* x, float* y, long long n) { gelu_tanh_all(x, y, n); }

extern "C" __global__ void finish_bf16(bf16* y, const bf16* addend, long long n, int gelu) {
    finish_all(y, addend, n, gelu);
}

extern "C" __global__ void finish_f32(float* y, const float* addend, long long n, int gelu) {
    finish_all(y, addend, n, gelu);
}

extern "C" __global__ void silu_mul_bf16(const bf16* gate, const bf16* up, bf16* y, long long n) {
    silu_mul_all(gate, up, y, n);
}

extern "C" __global__ void silu_mul_f32(const float* gate, const float* up, float* y, long long n) {
    silu_mul_all(gate, up, y, n);
}
