// Scores that are near others, and how near (src/ml/cuda/scorer.rs has the bound and its proof): rows rounded for a product with
// narrow numbers, their norms, and the entries that can be among the largest.

typedef unsigned short u16;

// Upper bound of the root of a sum of squares.
__device__ float root_above(double squares) {
    return squares == 0.0 ? 0.0f : (float)(sqrt(squares) * (1.0 + 1.0 / 1048576.0)) + 1.17549435e-38f;
}

// Bits that are rounded as they are: of infinities, and of what is no number, which stays none.
__device__ bool keeps_its_bits(u32* bits) {
    if ((*bits & 0x7fffffffu) > INFINITE) *bits |= 0x00400000u;
    return (*bits & INFINITE) == INFINITE;
}

// The number of 7 bits of mantissa nearest to one, of two the even one (bf16).
__device__ float to_bf16(float value) {
    u32 bits = __float_as_uint(value);
    if (!keeps_its_bits(&bits)) bits += 0x7fffu + (bits >> 16 & 1);
    return __uint_as_float(bits & 0xffff0000u);
}

// The number of 10 bits of mantissa nearest to one, of two the one further from 0 (TF32, as cvt.rna.tf32).
__device__ float to_tf32(float value) {
    u32 bits = __float_as_uint(value);
    if (!keeps_its_bits(&bits)) bits += 0x1000u;
    return __uint_as_float(bits & 0xffffe000u);
}

// Rounds n numbers to bf16 or (`tf32`) to TF32: as two bytes each where `narrow` is given, else as f32. Grid n / BLOCK.
extern "C" __global__ void __launch_bounds__(BLOCK) round_numbers(const float* in, u64 n, u32 tf32, float* wide, u16* narrow) {
    u64 i = (u64)blockIdx.x * BLOCK + threadIdx.x;
    if (i >= n) return;
    float rounded = tf32 ? to_tf32(in[i]) : to_bf16(in[i]);
    if (narrow) narrow[i] = (u16)(__float_as_uint(rounded) >> 16);
    else wide[i] = rounded;
}

// Of rows [n, width] upper bounds of ||w|| and of ||w - bf16(w)||, sizes [n, 2], and the rows in bf16; without `narrow` the second is
// 0. Not finite where the row is not, or where sums of products could leave the range of f32. A warp a row; grid n / WARPS.
extern "C" __global__ void __launch_bounds__(BLOCK)
measure_rows(const float* rows, u32 n, u32 width, u16* narrow, float* sizes) {
    u32 row = blockIdx.x * WARPS + threadIdx.x / WARP, lane = threadIdx.x % WARP;
    if (row >= n) return;
    u64 first = (u64)row * width;
    double whole = 0, rest = 0;
    for (u32 i = lane; i < width; i += WARP) {
        float value = rows[first + i];
        whole += (double)value * value;
        if (narrow) {
            float rounded = to_bf16(value);
            double left = (double)value - rounded;
            rest += left * left;
            narrow[first + i] = (u16)(__float_as_uint(rounded) >> 16);
        }
    }
    whole = warp_sum_double(whole);
    rest = warp_sum_double(rest);
    if (lane != 0) return;
    float size = root_above(whole);
    sizes[2 * (u64)row] = size <= 1e18f ? size : __uint_as_float(INFINITE);
    sizes[2 * (u64)row + 1] = root_above(rest);
}

// The slopes [n, 3] of rows with these sizes [n, 2]: a product with a latent of sizes N and M is off by at most a N + b M + c. `grown`
// is the share of ||x'|| ||w'|| that the near product's sum can be off by, `own` that of ||x|| ||w|| of the sum that counts, and `flushed`
// = 2^-126 sqrt(K), `lost` = 2^-126 times what K terms can lose. Where the product
// was not of narrow numbers b is 0. Grid n / BLOCK.
extern "C" __global__ void __launch_bounds__(BLOCK)
bound_rows(const float* sizes, u32 n, u32 narrow, double grown, double own, double flushed, double lost, float* slopes) {
    u32 i = blockIdx.x * BLOCK + threadIdx.x;
    if (i >= n) return;
    double whole = sizes[2 * i], rest = narrow ? sizes[2 * i + 1] : 0.0, read = whole + rest, slack = 1.0 + 1.0 / 1024.0;
    bool none = whole == 0.0;
    slopes[3 * i] = none ? 0.0f : (float)((rest + grown * read + own * whole + 2.0 * flushed) * slack);
    slopes[3 * i + 1] = none || !narrow ? 0.0f : (float)(read * (1.0 + grown) * slack);
    slopes[3 * i + 2] = none ? 0.0f : (float)((lost + 2.0 * flushed * read) * slack);
}

// Of each row, how many entries can reach the bound (bits; `step` is 1 for a bound a row, 0 for one bound). Grid B.
extern "C" __global__ void __launch_bounds__(BLOCK)
count_candidates(const float* products, const float* bias, const float* norms, const u32* among, const float* slopes,
                 const float* sizes, u32 stride, u32 count, const u32* bounds, u32 step, u32* counts) {
    __shared__ u32 room[WARPS];
    Scored of = {products, bias, norms, 0, among, 0, slopes, sizes, stride, count};
    open_row(&of, blockIdx.x);
    u32 limit = bounds[blockIdx.x * step], own = 0, all;
    for (u32 place = threadIdx.x; place < count; place += BLOCK) {
        u32 bits = largest_bits(&of, latent_of(&of, place));
        own += bits != 0 && bits >= limit;
    }
    block_prefix(own, room, &all);
    if (threadIdx.x == 0) counts[blockIdx.x] = all;
}

// Lists them, ascending: row i's from offsets[i] on. Grid B.
extern "C" __global__ void __launch_bounds__(BLOCK)
list_candidates(const float* products, const float* bias, const float* norms, const u32* among, const float* slopes,
                const float* sizes, u32 stride, u32 count, const u32* bounds, u32 step, const u32* offsets, u32* latents) {
    __shared__ u32 room[WARPS];
    Scored of = {products, bias, norms, 0, among, 0, slopes, sizes, stride, count};
    open_row(&of, blockIdx.x);
    u32 limit = bounds[blockIdx.x * step], at = offsets[blockIdx.x];
    for (u32 tile = 0; tile < count; tile += BLOCK) {
        u32 place = tile + threadIdx.x, bits = 0, latent = 0, total;
        if (place < count) {
            latent = latent_of(&of, place);
            bits = largest_bits(&of, latent);
        }
        u32 here = bits != 0 && bits >= limit, before = block_prefix(here, room, &total);
        if (here) latents[at + before] = latent;
        at += total;
    }
}
