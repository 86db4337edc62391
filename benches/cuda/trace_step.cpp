// Writes a line for each kernel, copy and fill of a process: start and end in nanoseconds, and the
// name. A library that the driver loads itself (CUDA_INJECTION64_PATH); CUDA's profiling interface,
// CUPTI, does the rest. TRACE_OUTPUT names the file.

#include <cupti.h>
#include <stdio.h>
#include <stdlib.h>

#include <initializer_list>

static FILE* output;

static void CUPTIAPI give_buffer(uint8_t** buffer, size_t* size, size_t* records) {
    *size = 8 << 20;
    *buffer = (uint8_t*)aligned_alloc(8, *size);
    *records = 0;
}

static void write_line(uint64_t start, uint64_t end, const char* name) {
    fprintf(output, "%llu\t%llu\t%s\n", (unsigned long long)start, (unsigned long long)end, name);
}

static void CUPTIAPI take_buffer(CUcontext context, uint32_t stream, uint8_t* buffer, size_t, size_t valid) {
    size_t lost = 0;
    if (cuptiActivityGetNumDroppedRecords(context, stream, &lost) == CUPTI_SUCCESS && lost > 0)
        fprintf(stderr, "trace: records were lost\n");
    CUpti_Activity* record = nullptr;
    while (valid > 0 && cuptiActivityGetNextRecord(buffer, valid, &record) == CUPTI_SUCCESS) {
        switch (record->kind) {
            case CUPTI_ACTIVITY_KIND_CONCURRENT_KERNEL: {
                const auto* kernel = (const CUpti_ActivityKernel9*)record;
                write_line(kernel->start, kernel->end, kernel->name);
                break;
            }
            case CUPTI_ACTIVITY_KIND_MEMCPY: {
                const auto* copy = (const CUpti_ActivityMemcpy5*)record;
                write_line(copy->start, copy->end, "copy");
                break;
            }
            case CUPTI_ACTIVITY_KIND_MEMSET: {
                const auto* fill = (const CUpti_ActivityMemset4*)record;
                write_line(fill->start, fill->end, "fill");
                break;
            }
            default:
                break;
        }
    }
    free(buffer);
}

static void finish() {
    cuptiActivityFlushAll(CUPTI_ACTIVITY_FLAG_FLUSH_FORCED);
    fclose(output);
}

// What the driver calls when it has loaded the library.
extern "C" int InitializeInjection(void) {
    const char* path = getenv("TRACE_OUTPUT");
    output = path == nullptr ? nullptr : fopen(path, "w");
    if (output == nullptr) return 0;
    bool ready = cuptiActivityRegisterCallbacks(give_buffer, take_buffer) == CUPTI_SUCCESS;
    for (CUpti_ActivityKind kind :
         {CUPTI_ACTIVITY_KIND_CONCURRENT_KERNEL, CUPTI_ACTIVITY_KIND_MEMCPY, CUPTI_ACTIVITY_KIND_MEMSET})
        ready = ready && cuptiActivityEnable(kind) == CUPTI_SUCCESS;
    atexit(finish);
    return ready;
}
