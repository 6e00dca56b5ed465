// What happens to each row once its code is known, as src/ml/crosscoder/rows_pass.rs: reconstruction, error, and the
// gradients that flow back. A code is in compressed rows: offsets [B + 1], latents and values of its entries.

// out_i = start + sum_j f_ij d_j in the order of the latents; `start` [W] is 0 where it is not given. Grid (B, W / BLOCK).
extern "C" __global__ void __launch_bounds__(BLOCK)
decode(const u32* offsets, const u32* latents, const float* values, const float* decoder, const float* start, u32 width,
       float* out) {
    u32 row = blockIdx.x, column = blockIdx.y * BLOCK + threadIdx.x;
    if (column >= width) return;
    float sum = start ? start[column] : 0.0f;
#pragma unroll 4
    for (u32 t = offsets[row]; t < offsets[row + 1]; t++)
        sum = fmaf(values[t], decoder[(u64)latents[t] * width + column], sum);
    out[(u64)row * width + column] = sum;
}

// Of each half row (row i, model m): the error eps = x - hhat in place of hhat, its part of the loss (||eps||, or ||eps||^2
// where `squared`) in sizes [2B], and G = dL/dhhat. `start` [W] is still to be added to hhat where it is given. Grid 2B.
extern "C" __global__ void __launch_bounds__(BLOCK)
reconstruct(const float* x, const float* start, u32 half, u32 squared, double count, float* error, float* upstream,
            double* sizes) {
    __shared__ double room[WARPS];
    u64 first = (u64)blockIdx.x * half;
    u32 model = blockIdx.x % 2;
    double own = 0;
    for (u32 i = threadIdx.x; i < half; i += BLOCK) {
        float written = error[first + i];
        if (start) written = __fadd_rn(written, start[model * half + i]);
        float off = x[first + i] - written;
        error[first + i] = off;
        own += (double)off * off;
    }
    double square = block_sum(own, room), size = sqrt(square), factor = 0;
    if (squared) factor = -2.0 / count;
    else if (size > 0) factor = -1.0 / (size * count);
    for (u32 i = threadIdx.x; i < half; i += BLOCK) upstream[first + i] = (float)factor * error[first + i];
    if (threadIdx.x == 0) sizes[blockIdx.x] = squared ? square : size;
}

// The first of the entries from `first` to `last` whose latent is `least` or more; the latents ascend.
__device__ u32 first_from(const u32* latents, u32 first, u32 last, u32 least) {
    while (first < last) {
        u32 middle = first + (last - first) / 2;
        if (latents[middle] < least) first = middle + 1;
        else last = middle;
    }
    return first;
}

// dL/df of each entry: G_i d_j. A warp an entry; grid (B, D / slice): a block takes a row's entries with latents of one slice, and as blocks
// begin in the order of their numbers, all rows come to a slice of the decoder before the next: a latent's vector is fetched once and found in L2
// by the other rows in which it is active.
extern "C" __global__ void __launch_bounds__(BLOCK)
entry_gradients(const u32* offsets, const u32* latents, const float* upstream, const float* decoder, u32 width, u32 slice,
                float* out) {
    u32 row = blockIdx.x, lane = threadIdx.x % WARP, least = blockIdx.y * slice;
    const float* flow = upstream + (u64)row * width;
    u32 first = first_from(latents, offsets[row], offsets[row + 1], least);
    u32 last = first_from(latents, first, offsets[row + 1], least + slice);
    for (u32 t = first + threadIdx.x / WARP; t < last; t += WARPS) {
        const float* direction = decoder + (u64)latents[t] * width;
        float sum = 0;
#pragma unroll 4
        for (u32 i = lane; i < width; i += WARP) sum = fmaf(flow[i], direction[i], sum);
        sum = warp_sum(sum);
        if (lane == 0) out[t] = sum;
    }
}

// The L1 penalty of each entry: adds weight S_j to its gradient, and sums f S over each row into sums [B]. Grid B.
extern "C" __global__ void __launch_bounds__(BLOCK)
penalize_entries(const u32* offsets, const u32* latents, const float* values, const float* norms, float weight,
                 float* gradients, double* sums) {
    __shared__ double room[WARPS];
    double own = 0;
    for (u32 t = offsets[blockIdx.x] + threadIdx.x; t < offsets[blockIdx.x + 1]; t += BLOCK) {
        float norm = norms[latents[t]];
        gradients[t] += weight * norm;
        own += (double)values[t] * norm;
    }
    double total = block_sum(own, room);
    if (threadIdx.x == 0) sums[blockIdx.x] = total;
}

// AuxK of each row: replaces ehat by factor (e - ehat), and sums ||e - ehat||^2 into squares [B]. Grid B.
extern "C" __global__ void __launch_bounds__(BLOCK)
auxiliary_error(const float* error, u32 width, float factor, float* upstream, double* squares) {
    __shared__ double room[WARPS];
    u64 first = (u64)blockIdx.x * width;
    double own = 0;
    for (u32 i = threadIdx.x; i < width; i += BLOCK) {
        float off = error[first + i] - upstream[first + i];
        own += (double)off * off;
        upstream[first + i] = factor * off;
    }
    double total = block_sum(own, room);
    if (threadIdx.x == 0) squares[blockIdx.x] = total;
}

// Dense L1: turns products into f = ReLU(p + b) in place, sums f S over each row into sums [B], marks who fired, and keeps a
// bit for each f > 0 in positive [B, D / 32]. Grid B.
extern "C" __global__ void __launch_bounds__(BLOCK)
dense_values(float* products, const float* bias, const float* norms, u32 latents, float active, double* sums, u32* fired,
             u32* strong, u32* positive) {
    __shared__ double room[WARPS];
    float* row = products + (u64)blockIdx.x * latents;
    u32 words = (latents + WARP - 1) / WARP;
    double own = 0;
    for (u32 tile = 0; tile < latents; tile += BLOCK) {
        u32 j = tile + threadIdx.x;
        float value = 0;
        if (j < latents) {
            value = fmaxf(row[j] + bias[j], 0.0f);
            row[j] = value;
            own += (double)value * norms[j];
            if (value > 0.0f) fired[j] = 1;
            if (value > active) strong[j] = 1;
        }
        u32 bits = __ballot_sync(EVERY, value > 0.0f);
        if (j % WARP == 0 && j < latents) positive[(u64)blockIdx.x * words + j / WARP] = bits;
    }
    double total = block_sum(own, room);
    if (threadIdx.x == 0) sums[blockIdx.x] = total;
}

// Dense L1: dL/dp from dL/df without the penalty: where f > 0 (a bit of `positive`) with weight S_j added, else 0. Grid (B, D / BLOCK).
extern "C" __global__ void __launch_bounds__(BLOCK)
dense_gradients(const u32* positive, const float* norms, float weight, u32 latents, float* gradients) {
    u32 j = blockIdx.y * BLOCK + threadIdx.x;
    if (j >= latents) return;
    u32 words = (latents + WARP - 1) / WARP, bits = positive[(u64)blockIdx.x * words + j / WARP];
    u64 at = (u64)blockIdx.x * latents + j;
    gradients[at] = bits >> j % WARP & 1 ? gradients[at] + weight * norms[j] : 0.0f;
}
