// What every kernel shares. The text is compiled by NVRTC, which knows no headers, and by a C++ compiler for the tests
// (tests/cuda/emulator.h), so it keeps to what both understand. All blocks have BLOCK threads.
//
// B rows of a batch, D latents, W = 2d numbers of a row (base, then tuned). All matrices are row-major.

typedef unsigned int u32;
typedef unsigned long long u64;

#define BLOCK 256
#define WARP 32
#define WARPS (BLOCK / WARP)
#define EVERY 0xffffffffu

// A thread that works on a row [W] takes EACH places of it at once, BLOCK apart, so that as many loads are under way; a block takes a span
// of the row, SPAN places. Sums over a row are those over its spans, in their order.
#define EACH 6
#define SPAN (EACH * BLOCK)

__device__ u32 spans_of(u32 width) { return (width + SPAN - 1) / SPAN; }

// Numbers that are read and written once a step pass by what the cache keeps for those that are read often.
#ifdef __CUDACC__
__device__ float read_once(const float* at) { return __ldcs(at); }
__device__ void write_once(float* at, float value) { __stcs(at, value); }
#else
__device__ float read_once(const float* at) { return *at; }
__device__ void write_once(float* at, float value) { *at = value; }
#endif

// Sum over the lanes of a warp as a tree, in every lane.
__device__ float warp_sum(float value) {
    for (u32 half = WARP / 2; half > 0; half /= 2) value += __shfl_xor_sync(EVERY, value, half);
    return value;
}

__device__ double warp_sum_double(double value) {
    for (u32 half = WARP / 2; half > 0; half /= 2) value += __shfl_xor_sync(EVERY, value, half);
    return value;
}

// Sum over the threads of a block in a fixed order, in every thread. `room` is shared memory for WARPS numbers.
__device__ double block_sum(double value, double* room) {
    double sum = warp_sum_double(value);
    if (threadIdx.x % WARP == 0) room[threadIdx.x / WARP] = sum;
    __syncthreads();
    double total = 0;
    for (u32 warp = 0; warp < WARPS; warp++) total += room[warp];
    __syncthreads();
    return total;
}

// COUNT such sums with one wait, to the bits of `block_sum`, in the place of the threads' own. `room` is shared memory for COUNT * WARPS.
template <u32 COUNT> __device__ void block_sums(double* values, double* room) {
    for (u32 i = 0; i < COUNT; i++) {
        double sum = warp_sum_double(values[i]);
        if (threadIdx.x % WARP == 0) room[i * WARPS + threadIdx.x / WARP] = sum;
    }
    __syncthreads();
    for (u32 i = 0; i < COUNT; i++) {
        values[i] = 0;
        for (u32 warp = 0; warp < WARPS; warp++) values[i] += room[i * WARPS + warp];
    }
    __syncthreads();
}

// Sum over the threads before this one; `total` is the sum over all. `room` is shared memory for WARPS numbers.
__device__ u32 block_prefix(u32 value, u32* room, u32* total) {
    u32 lane = threadIdx.x % WARP, warp = threadIdx.x / WARP, sum = value;
    for (u32 reach = 1; reach < WARP; reach *= 2) {
        u32 other = __shfl_up_sync(EVERY, sum, reach);
        if (lane >= reach) sum += other;
    }
    if (lane == WARP - 1) room[warp] = sum;
    __syncthreads();
    u32 before = 0, all = 0;
    for (u32 other = 0; other < WARPS; other++) {
        if (other < warp) before += room[other];
        all += room[other];
    }
    __syncthreads();
    *total = all;
    return before + sum - value;
}
