// Matrix products of a warpgroup (128 threads) on Hopper, asynchronous and read from shared memory.

#if defined(__CUDA_ARCH_FEAT_SM90_ALL)

// An operand in shared memory: rows of 128 bytes at 1024-byte aligned groups of eight, 16-byte
// chunk c of row r at place c ^ (r % 8). `repeat`: bytes to the next 64 columns, for an operand
// whose columns are not the summed dimension.
__device__ __forceinline__ unsigned long long wgmma_operand(unsigned int address, unsigned int repeat) {
    return (unsigned long long)((address & 0x3ffffu) >> 4) | ((unsigned long long)(repeat >> 4) << 16) |
           (1024ull >> 4 << 32) | (1ull << 62);
}

// The operand that begins a multiple of 16 bytes further on, still in shared memory: no bit is carried into the
// upper word.
__device__ __forceinline__ unsigned long long wgmma_further(unsigned long long operand, int bytes) {
    return (operand & ~0xffffffffull) | ((unsigned int)operand + (bytes >> 4));
}

// Before the first product, and before one whose registers other instructions wrote.
__device__ __forceinline__ void wgmma_fence() { asm volatile("wgmma.fence.sync.aligned;" ::: "memory"); }

__device__ __forceinline__ void wgmma_commit() { asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory"); }

// Makes this thread's writes to shared memory visible to the products after the next barrier.
__device__ __forceinline__ void wgmma_publish() { asm volatile("fence.proxy.async.shared::cta;" ::: "memory"); }

// 64x128 sums of a warpgroup, as operands 0 to 63. Warp w has rows 16 w ..= 16 w + 15, as tiles of
// 16x8 like those of multiply_add.
#define WGMMA_SUMS                                                                  \
    "{%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, "       \
    "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, "   \
    "%31, %32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, "   \
    "%46, %47, %48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, "   \
    "%61, %62, %63}"
#define WGMMA_TILE(c, n) "+f"(c[n][0]), "+f"(c[n][1]), "+f"(c[n][2]), "+f"(c[n][3])
#define WGMMA_TILES(c)                                                              \
    WGMMA_TILE(c, 0), WGMMA_TILE(c, 1), WGMMA_TILE(c, 2), WGMMA_TILE(c, 3),         \
        WGMMA_TILE(c, 4), WGMMA_TILE(c, 5), WGMMA_TILE(c, 6), WGMMA_TILE(c, 7),     \
        WGMMA_TILE(c, 8), WGMMA_TILE(c, 9), WGMMA_TILE(c, 10), WGMMA_TILE(c, 11),   \
        WGMMA_TILE(c, 12), WGMMA_TILE(c, 13), WGMMA_TILE(c, 14), WGMMA_TILE(c, 15)

// 64x64 sums, f32 or integers, as operands 0 to 31.
#define WGMMA_HALF_SUMS                                                             \
    "{%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, "       \
    "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31}"
#define WGMMA_HALF_TILES(c)                                                         \
    WGMMA_TILE(c, 0), WGMMA_TILE(c, 1), WGMMA_TILE(c, 2), WGMMA_TILE(c, 3),         \
        WGMMA_TILE(c, 4), WGMMA_TILE(c, 5), WGMMA_TILE(c, 6), WGMMA_TILE(c, 7)
#define WGMMA_INTEGER_TILE(c, n) "+r"(c[n][0]), "+r"(c[n][1]), "+r"(c[n][2]), "+r"(c[n][3])
#define WGMMA_INTEGER_TILES(c)                                                                            \
    WGMMA_INTEGER_TILE(c, 0), WGMMA_INTEGER_TILE(c, 1), WGMMA_INTEGER_TILE(c, 2), WGMMA_INTEGER_TILE(c, 3), \
        WGMMA_INTEGER_TILE(c, 4), WGMMA_INTEGER_TILE(c, 5), WGMMA_INTEGER_TILE(c, 6), WGMMA_INTEGER_TILE(c, 7)

// Waits until at most PENDING committed groups are under way; c is what the finished ones wrote.
template <int PENDING>
__device__ __forceinline__ void wgmma_wait(float (&c)[16][4]) {
    asm volatile("wgmma.wait_group.sync.aligned %64;" : WGMMA_TILES(c) : "n"(PENDING) : "memory");
}
template <int PENDING>
__device__ __forceinline__ void wgmma_wait(float (&c)[8][4]) {
    asm volatile("wgmma.wait_group.sync.aligned %32;" : WGMMA_HALF_TILES(c) : "n"(PENDING) : "memory");
}
template <int PENDING>
__device__ __forceinline__ void wgmma_wait(int (&c)[8][4]) {
    asm volatile("wgmma.wait_group.sync.aligned %32;" : WGMMA_INTEGER_TILES(c) : "n"(PENDING) : "memory");
}

// c = a b, or c += a b where `add`, both in shared memory by rows of the summed dimension. 64 columns of b.
#define WGMMA_SHARED(KIND, TILES, TAIL)                                             \
    asm volatile("{\n"                                                              \
                 ".reg .pred keep;\n"                                               \
                 "setp.ne.b32 keep, %34, 0;\n"                                      \
                 "wgmma.mma_async.sync.aligned." KIND " " WGMMA_HALF_SUMS           \
                 ", %32, %33, keep" TAIL ";\n"                                      \
                 "}\n"                                                              \
                 : TILES                                                            \
                 : "l"(a), "l"(b), "r"((int)add)                                    \
                 : "memory")

__device__ __forceinline__ void wgmma_shared(float (&c)[8][4], unsigned long long a, unsigned long long b, bool add) {
    WGMMA_SHARED("m64n64k16.f32.bf16.bf16", WGMMA_HALF_TILES(c), ", 1, 1, 0, 0");
}
// Of integers of 8 bits.
__device__ __forceinline__ void wgmma_shared_int8(int (&c)[8][4], unsigned long long a, unsigned long long b,
                                                  bool add) {
    WGMMA_SHARED("m64n64k32.s32.s8.s8", WGMMA_INTEGER_TILES(c), "");
}

// c += a b with a in registers. In shared memory, b is by columns of the summed dimension where it
// is bf16, and by its rows where it is codes: those have no other form.
#define WGMMA_REGISTERS(KIND, TAIL)                                                 \
    asm volatile("wgmma.mma_async.sync.aligned." KIND " " WGMMA_SUMS                \
                 ", {%64, %65, %66, %67}, %68, 1, 1, 1" TAIL ";"                    \
                 : WGMMA_TILES(c)                                                   \
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b)               \
                 : "memory")

// As multiply_add takes a.
__device__ __forceinline__ void wgmma_registers(float (&c)[16][4], const unsigned int (&a)[4], unsigned long long b) {
    WGMMA_REGISTERS("m64n128k16.f32.bf16.bf16", ", 1");
}
// Of a warp's 16 rows by 32 codes, lane i has codes 4 (i % 4) ..= + 3 of row i / 4, of row i / 4 +
// 8, and the same of the codes from 16 on.
__device__ __forceinline__ void wgmma_registers_fp8(float (&c)[16][4], const unsigned int (&a)[4],
                                                    unsigned long long b) {
    WGMMA_REGISTERS("m64n128k32.f32.e4m3.e4m3", "");
}

// Barriers in shared memory, of a number of arrivals, by phases: a wait for parity p ends when the
// phase of that parity is complete; on a new barrier, a wait for parity 1 ends at once.

__device__ __forceinline__ void block_barrier(unsigned int barrier, int arrivals) {
    asm volatile("mbarrier.init.shared.b64 [%0], %1;" ::"r"(barrier), "r"(arrivals) : "memory");
}

__device__ __forceinline__ void block_arrive(unsigned int barrier) {
    asm volatile("{\n.reg .b64 state;\nmbarrier.arrive.shared.b64 state, [%0];\n}" ::"r"(barrier) : "memory");
}

// Arrives, and lets the phase wait for so many bytes besides.
__device__ __forceinline__ void block_arrive_for(unsigned int barrier, unsigned int bytes) {
    asm volatile("{\n.reg .b64 state;\nmbarrier.arrive.expect_tx.shared.b64 state, [%0], %1;\n}" ::"r"(barrier),
                 "r"(bytes)
                 : "memory");
}

// Makes new barriers known to copies in bulk, before the block's threads meet.
__device__ __forceinline__ void block_barriers_done() {
    asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
}

// Starts to copy so many bytes to shared memory, and tells the barrier of them. Addresses and size are
// multiples of 16. What is copied is visible to products.
__device__ __forceinline__ void copy_bulk(unsigned int target, const void* source, unsigned int bytes,
                                          unsigned int barrier) {
    asm volatile("cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1], %2, [%3];" ::"r"(target),
                 "l"(source), "r"(bytes), "r"(barrier)
                 : "memory");
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
