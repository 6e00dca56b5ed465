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
