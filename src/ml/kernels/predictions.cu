// What rows of logits predict, as src/ml/lm/ops/divergence.rs and src/ml/lm/prediction.rs. Exponentials are in f32, sums in f64.

// Numbers of one prediction, as struct Prediction has them.
#define MEASURES 5

// Of the first `count` of each row of logits [rows, stride]: the largest, the first place of it, and ln of the sum of
// exp(x - largest). Grid rows.
extern "C" __global__ void __launch_bounds__(BLOCK)
distributions(const float* logits, u32 stride, u32 count, float* tops, u32* likeliest, double* logs) {
    __shared__ float values[WARPS];
    __shared__ u32 places[WARPS];
    __shared__ double room[WARPS];
    const float* row = logits + (u64)blockIdx.x * stride;
    float top = __uint_as_float(0xff800000u);
    u32 place = EVERY;
    for (u32 i = threadIdx.x; i < count; i += BLOCK) {
        if (row[i] > top || (row[i] == top && i < place)) {
            top = row[i];
            place = i;
        }
    }
    for (u32 reach = WARP / 2; reach > 0; reach /= 2) {
        float value = __shfl_xor_sync(EVERY, top, reach);
        u32 other = __shfl_xor_sync(EVERY, place, reach);
        if (value > top || (value == top && other < place)) {
            top = value;
            place = other;
        }
    }
    if (threadIdx.x % WARP == 0) {
        values[threadIdx.x / WARP] = top;
        places[threadIdx.x / WARP] = place;
    }
    __syncthreads();
    for (u32 warp = 0; warp < WARPS; warp++) {
        if (values[warp] > top || (values[warp] == top && places[warp] < place)) {
            top = values[warp];
            place = places[warp];
        }
    }
    double own = 0;
    for (u32 i = threadIdx.x; i < count; i += BLOCK) own += (double)expf(row[i] - top);
    double total = block_sum(own, room);
    if (threadIdx.x == 0) {
        tops[blockIdx.x] = top;
        likeliest[blockIdx.x] = place == EVERY ? 0 : place;
        logs[blockIdx.x] = log(total);
    }
}

// Sum over the block of exp(a - top a) ((a - top a) - (b - top b)); in every thread.
__device__ double differences(const float* a, float top_a, const float* b, float top_b, u32 count, double* room) {
    double own = 0;
    for (u32 i = threadIdx.x; i < count; i += BLOCK) {
        float x = a[i] - top_a;
        own += (double)(expf(x) * (x - (b[i] - top_b)));
    }
    return block_sum(own, room);
}

// Of logits [runs * positions, stride], the untouched run first, and their distributions: at each row KL(p || q), KL(r || q), -ln q of the
// token that comes, -ln q of the likeliest of p, and whether the likeliest is the same. p is the untouched row of the
// position, q this row, and r (where there is one) the row of `other` [positions, other_stride], over the first `common`
// ids, with the distributions of these. found [rows, MEASURES]; grid rows.
extern "C" __global__ void __launch_bounds__(BLOCK)
predict(const float* logits, u32 stride, u32 positions, const float* tops, const u32* likeliest, const double* logs,
        const float* other, u32 other_stride, u32 common, const float* other_tops, const double* other_logs,
        const float* common_tops, const double* common_logs, const u32* next, double* found) {
    __shared__ double room[WARPS];
    u32 row = blockIdx.x, position = row % positions;
    const float *p = logits + (u64)position * stride, *q = logits + (u64)row * stride;
    double weighted = differences(p, tops[position], q, tops[row], stride, room), beside = 0;
    if (other) {
        const float* r = other + (u64)position * other_stride;
        double sum = differences(r, other_tops[position], q, common_tops[row], common, room);
        beside = sum / exp(other_logs[position]) + (common_logs[row] - other_logs[position]);
    }
    if (threadIdx.x > 0) return;
    double* out = found + (u64)row * MEASURES;
    out[0] = weighted / exp(logs[position]) + (logs[row] - logs[position]);
    out[1] = beside;
    out[2] = logs[row] - ((double)q[next[position]] - (double)tops[row]);
    out[3] = logs[row] - ((double)q[likeliest[position]] - (double)tops[row]);
    out[4] = likeliest[position] == likeliest[row];
}
