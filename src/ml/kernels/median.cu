// The geometric median of rows x [B, parts, d], part by part, by Weiszfeld's algorithm (src/ml/crosscoder/median.rs): `guess` and `next`
// are [parts, d].

// weights [B, parts] = 1 / ||x - guess||, of a distance of at least 1e-12; grid (B, parts).
extern "C" __global__ void __launch_bounds__(BLOCK)
median_weights(const float* x, u32 width, u32 parts, const double* guess, double* weights) {
    __shared__ double room[WARPS];
    u64 half = (u64)blockIdx.x * parts + blockIdx.y;
    const float* values = x + half * width;
    const double* from = guess + (u64)blockIdx.y * width;
    double own = 0;
    for (u32 i = threadIdx.x; i < width; i += BLOCK) {
        double off = values[i] - from[i];
        own += off * off;
    }
    double distance = sqrt(block_sum(own, room));
    if (threadIdx.x == 0) weights[half] = 1.0 / (distance > 1e-12 ? distance : 1e-12);
}

// next = sum_i weight_i x_i / sum_i weight_i; grid parts d / BLOCK.
extern "C" __global__ void __launch_bounds__(BLOCK)
median_next(const float* x, u32 rows, u32 width, u32 parts, const double* weights, double* next) {
    u32 column = blockIdx.x * BLOCK + threadIdx.x;
    if (column >= parts * width) return;
    u32 part = column / width;
    double sum = 0, total = 0;
    for (u32 row = 0; row < rows; row++) {
        double weight = weights[(u64)row * parts + part];
        sum += weight * x[(u64)row * parts * width + column];
        total += weight;
    }
    next[column] = sum / total;
}

// The guess becomes `next`; moved[0] = how far that is, the largest over the parts. One block.
extern "C" __global__ void __launch_bounds__(BLOCK)
median_moved(const double* next, double* guess, u32 width, u32 parts, double* moved) {
    __shared__ double room[WARPS];
    double most = 0;
    for (u32 part = 0; part < parts; part++) {
        double own = 0;
        for (u32 i = threadIdx.x; i < width; i += BLOCK) {
            u64 at = (u64)part * width + i;
            double off = next[at] - guess[at];
            own += off * off;
            guess[at] = next[at];
        }
        double distance = sqrt(block_sum(own, room));
        most = distance > most ? distance : most;
    }
    if (threadIdx.x == 0) moved[0] = most;
}
