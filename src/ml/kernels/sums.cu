// Sums in a fixed order.

#define SCAN_EACH 8

// out[i] = in[0] + .. + in[i - 1] for i = 0..=n. One block.
extern "C" __global__ void __launch_bounds__(BLOCK) scan(const u32* in, u32* out, u32 n) {
    __shared__ u32 room[WARPS];
    u32 carried = 0;
    for (u32 tile = 0; tile < n; tile += BLOCK * SCAN_EACH) {
        u32 first = tile + threadIdx.x * SCAN_EACH, own = 0, total;
        for (u32 i = first; i < first + SCAN_EACH && i < n; i++) own += in[i];
        u32 before = carried + block_prefix(own, room, &total);
        for (u32 i = first; i < first + SCAN_EACH && i < n; i++) {
            u32 value = in[i];
            out[i] = before;
            before += value;
        }
        carried += total;
    }
    if (threadIdx.x == 0) out[n] = carried;
}

// out[0] = the sum of n numbers. One block.
extern "C" __global__ void __launch_bounds__(BLOCK) sum_doubles(const double* in, u32 n, double* out) {
    __shared__ double room[WARPS];
    double own = 0;
#pragma unroll 8
    for (u32 i = threadIdx.x; i < n; i += BLOCK) own += in[i];
    double total = block_sum(own, room);
    if (threadIdx.x == 0) out[0] = total;
}

// Of a matrix [rows, columns], the sums of each column over `chunk` rows: of the numbers, or with `mean` [columns] of
// their squared distances from it. partial [chunks, columns]; grid (chunks, columns / BLOCK).
extern "C" __global__ void __launch_bounds__(BLOCK)
column_partials(const float* matrix, u32 rows, u32 columns, u32 chunk, const double* mean, double* partial) {
    u32 column = blockIdx.y * BLOCK + threadIdx.x;
    if (column >= columns) return;
    u32 first = blockIdx.x * chunk;
    double sum = 0;
    for (u32 row = first; row < first + chunk && row < rows; row++) {
        double value = matrix[(u64)row * columns + column];
        if (mean) {
            double off = value - mean[column];
            sum += off * off;
        } else {
            sum += value;
        }
    }
    partial[(u64)blockIdx.x * columns + column] = sum;
}

// The column sums over all chunks, times `factor`, as f64 and (where asked for) f32 [columns]; grid columns / BLOCK.
extern "C" __global__ void __launch_bounds__(BLOCK)
column_totals(const double* partial, u32 chunks, u32 columns, double factor, double* out, float* narrow) {
    u32 column = blockIdx.x * BLOCK + threadIdx.x;
    if (column >= columns) return;
    double sum = 0;
    for (u32 chunk = 0; chunk < chunks; chunk++) sum += partial[(u64)chunk * columns + column];
    sum *= factor;
    if (out) out[column] = sum;
    if (narrow) narrow[column] = (float)sum;
}

// out[0] = in[0], so that a count is read with the sums. One block.
extern "C" __global__ void __launch_bounds__(BLOCK) note_count(const u32* in, double* out) {
    if (threadIdx.x == 0) out[0] = in[0];
}

// out[0] = the squared norm of n numbers. One block.
extern "C" __global__ void __launch_bounds__(BLOCK) squared_norm(const float* in, u32 n, double* out) {
    __shared__ double room[WARPS];
    double own = 0;
    for (u32 i = threadIdx.x; i < n; i += BLOCK) own += (double)in[i] * in[i];
    double total = block_sum(own, room);
    if (threadIdx.x == 0) out[0] = total;
}
