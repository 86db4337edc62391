// What a product on FP8 tensor cores takes of a layer besides its codes: the weight's scale once for
// each output and, where there is a bias, the bias in bf16.
//
// Launch: 256 threads, any grid; ceil(outputs / 256) blocks leave one output to each thread.
extern "C" __global__ void fp8_product_constants(const float* weight_scale, float* weight_scales, const float* bias,
                                                 bf16* narrow_bias, int outputs) {
    for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < outputs; i += gridDim.x * blockDim.x) {
        weight_scales[i] = *weight_scale;
        if (bias != nullptr) store(narrow_bias + i, bias[i]);
    }
}
