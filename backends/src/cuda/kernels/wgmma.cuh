// Matrix products of a warpgroup (128 threads) on Hopper, asynchronous and read from shared memory.

#if defined(__CUDA_ARCH_FEAT_SM90_ALL)

// An operand in shared memory: rows of 128 bytes at 1024-byte aligned groups of eight, 16-byte
// chunk c of row r at place c ^ (r % 8). `repeat`: bytes to the next 64 columns, for an operand
// whose columns are not the summed dimension.
__device__ __forceinline__ unsigned long long wgmma_operand(unsigned int address, unsigned int repeat) {
    return (unsigned long long)((address & 0x3ffffu) >> 4) | ((unsigned long long)(repeat >> 4) << 16) |
           (1024ull >> 4 << 32) | (1ull << 62);
}

// Before the first product, and before one whose registers other instructions wrote.
__device__ __forceinline__ void wgmma_fence() { asm volatile("wgmma.fence.sync.aligned;" ::: "memory"); }

__device__ __forceinline__ void wgmma_commit() { asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory"); }

// Makes this thread's writes to shared memory visible to the products after the next barrier.
__device__ __forceinline__ void wgmma_publish() { asm volatile("fence.proxy.async.shared::cta;" ::: "memory"); }

#define WGMMA_TILE(c, n) "+f"(c[n][0]), "+f"(c[n][1]), "+f"(c[n][2]), "+f"(c[n][3])

// Waits until at most PENDING committed groups are under way; c is what the finished ones wrote.
template <int PENDING>
__device__ __forceinline__ void wgmma_wait(float (&c)[16][4]) {
    asm volatile("wgmma.wait_group.sync.aligned %64;"
                 : WGMMA_TILE(c, 0), WGMMA_TILE(c, 1), WGMMA_TILE(c, 2), WGMMA_TILE(c, 3),
          WGMMA_TILE(c, 4), WGMMA_TILE(c, 5), WGMMA_TILE(c, 6), WGMMA_TILE(c, 7),
          WGMMA_TILE(c, 8), WGMMA_TILE(c, 9), WGMMA_TILE(c, 10), WGMMA_TILE(c, 11),
          WGMMA_TILE(c, 12), WGMMA_TILE(c, 13), WGMMA_TILE(c, 14), WGMMA_TILE(c, 15)
                 : "n"(PENDING)
                 : "memory");
}

// c = a b, or c += a b where `add`: 64x16 by 16x128, both in shared memory by rows of the summed
// dimension. Warp w has rows 16 w ..= 16 w + 15 of c, as tiles of 16x8 like those of multiply_add.
__device__ __forceinline__ void wgmma_shared(float (&c)[16][4], unsigned long long a, unsigned long long b, bool add) {
    asm volatile(
        "{\n"
        ".reg .pred keep;\n"
        "setp.ne.b32 keep, %66, 0;\n"
        "wgmma.mma_async.sync.aligned.m64n128k16.f32.bf16.bf16 {"
        "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, "
        "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31, "
        "%32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, "
        "%48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63"
        "}, %64, %65, keep, 1, 1, 0, 0;\n"
        "}\n"
        : WGMMA_TILE(c, 0), WGMMA_TILE(c, 1), WGMMA_TILE(c, 2), WGMMA_TILE(c, 3),
          WGMMA_TILE(c, 4), WGMMA_TILE(c, 5), WGMMA_TILE(c, 6), WGMMA_TILE(c, 7),
          WGMMA_TILE(c, 8), WGMMA_TILE(c, 9), WGMMA_TILE(c, 10), WGMMA_TILE(c, 11),
          WGMMA_TILE(c, 12), WGMMA_TILE(c, 13), WGMMA_TILE(c, 14), WGMMA_TILE(c, 15)
        : "l"(a), "l"(b), "r"((int)add)
        : "memory");
}

// c += a b with a in registers, as multiply_add takes it, and b in shared memory by columns of the
// summed dimension.
__device__ __forceinline__ void wgmma_registers(float (&c)[16][4], const unsigned int (&a)[4], unsigned long long b) {
    asm volatile(
        "wgmma.mma_async.sync.aligned.m64n128k16.f32.bf16.bf16 {"
        "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, "
        "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31, "
        "%32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, "
        "%48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63"
        "}, {%64, %65, %66, %67}, %68, 1, 1, 1, 1;"
        : WGMMA_TILE(c, 0), WGMMA_TILE(c, 1), WGMMA_TILE(c, 2), WGMMA_TILE(c, 3),
          WGMMA_TILE(c, 4), WGMMA_TILE(c, 5), WGMMA_TILE(c, 6), WGMMA_TILE(c, 7),
          WGMMA_TILE(c, 8), WGMMA_TILE(c, 9), WGMMA_TILE(c, 10), WGMMA_TILE(c, 11),
          WGMMA_TILE(c, 12), WGMMA_TILE(c, 13), WGMMA_TILE(c, 14), WGMMA_TILE(c, 15)
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b)
        : "memory");
}

// Barriers in shared memory, of a number of arrivals, by phases: a wait for parity p ends when the
// phase of that parity is complete; on a new barrier, a wait for parity 1 ends at once.

__device__ __forceinline__ void block_barrier(unsigned int barrier, int arrivals) {
    asm volatile("mbarrier.init.shared.b64 [%0], %1;" ::"r"(barrier), "r"(arrivals) : "memory");
}

__device__ __forceinline__ void block_arrive(unsigned int barrier) {
    asm volatile("{\n.reg .b64 state;\nmbarrier.arrive.shared.b64 state, [%0];\n}" ::"r"(barrier) : "memory");
}

__device__ __forceinline__ void block_wait(unsigned int barrier, int parity) {
    asm volatile(
        "{\n"
        ".reg .pred complete;\n"
        "again:\n"
        "mbarrier.try_wait.parity.shared.b64 complete, [%0], %1;\n"
        "@complete bra done;\n"
        "bra again;\n"
        "done:\n"
        "}\n" ::"r"(barrier),
        "r"(parity)
        : "memory");
}

// Named barriers, of so many threads: those that only arrive go on.
__device__ __forceinline__ void named_sync(int name, int threads) {
    asm volatile("bar.sync %0, %1;" ::"r"(name), "r"(threads) : "memory");
}
__device__ __forceinline__ void named_arrive(int name, int threads) {
    asm volatile("bar.arrive %0, %1;" ::"r"(name), "r"(threads) : "memory");
}

// Registers of each thread of the warpgroup, fewer or more than the kernel began with.
template <int COUNT>
__device__ __forceinline__ void give_registers() {
    asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(COUNT));
}
template <int COUNT>
__device__ __forceinline__ void take_registers() {
    asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(COUNT));
}

#endif
