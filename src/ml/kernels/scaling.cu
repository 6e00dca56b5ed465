// The sums of Latent Scaling (docs/method.md 4.3), as src/ml/scaling/measure.rs.

#define SUMS 6

// d_j . h and d_j . eps of both models for each entry of the measured latents: along [entries, 4] is h base, h tuned, eps base,
// eps tuned. `directions` [measured, d]. A warp an entry; grid measured.
extern "C" __global__ void __launch_bounds__(BLOCK)
project_entries(const u32* measured, const float* directions, const u32* starts, const u32* rows, const float* x,
                const float* error, u32 half, float* along) {
    u32 latent = measured[blockIdx.x], lane = threadIdx.x % WARP;
    const float* direction = directions + (u64)blockIdx.x * half;
    for (u32 t = starts[latent] + threadIdx.x / WARP; t < starts[latent + 1]; t += WARPS) {
        u64 row = (u64)rows[t] * 2 * half;
        float sums[4] = {0, 0, 0, 0};
        for (u32 i = lane; i < half; i += WARP) {
            float d = direction[i];
            sums[0] = fmaf(d, x[row + i], sums[0]);
            sums[1] = fmaf(d, x[row + half + i], sums[1]);
            sums[2] = fmaf(d, error[row + i], sums[2]);
            sums[3] = fmaf(d, error[row + half + i], sums[3]);
        }
        for (u32 i = 0; i < 4; i++) {
            float sum = warp_sum(sums[i]);
            if (lane == 0) along[(u64)4 * t + i] = sum;
        }
    }
}

__device__ void add_sums(double* sums, double f, const float* along) {
    sums[0] += f;
    sums[1] += f * f;
    for (u32 i = 0; i < 4; i++) sums[2 + i] += f * along[i];
}

// Adds the entries of each measured latent, in the order of their rows, to its sums [measured, SUMS]: F1, C, A base, A tuned,
// E base, E tuned; counts them in `active`; and where asked for adds them to those of their row's group
// [measured, groups, SUMS]. Grid measured / BLOCK.
extern "C" __global__ void __launch_bounds__(BLOCK)
sum_entries(const u32* measured, u32 count, const u32* starts, const u32* rows, const float* values, const float* along,
            const u32* group_of, u32 groups, double* totals, double* by_group, u64* active) {
    u32 i = blockIdx.x * BLOCK + threadIdx.x;
    if (i >= count) return;
    u32 first = starts[measured[i]], end = starts[measured[i] + 1];
    double sums[SUMS];
    for (u32 k = 0; k < SUMS; k++) sums[k] = totals[(u64)i * SUMS + k];
    for (u32 t = first; t < end; t++) {
        add_sums(sums, values[t], along + (u64)4 * t);
        if (by_group) add_sums(by_group + ((u64)i * groups + group_of[rows[t]]) * SUMS, values[t], along + (u64)4 * t);
    }
    for (u32 k = 0; k < SUMS; k++) totals[(u64)i * SUMS + k] = sums[k];
    active[i] += end - first;
}

// error = x - hhat in place of hhat. Grid n / BLOCK.
extern "C" __global__ void __launch_bounds__(BLOCK) take_error(const float* x, u64 n, float* error) {
    u64 i = (u64)blockIdx.x * BLOCK + threadIdx.x;
    if (i < n) error[i] = x[i] - error[i];
}
