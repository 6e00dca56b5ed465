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

// Where numbers are kept rounded: to bf16 as two bytes each in `narrow`, or as f32 in `wide`, to TF32 (`tf32`) or bf16. Both may be missing.
struct Rounded {
    u16* narrow;
    float* wide;
    u32 tf32;
};

// Keeps a number rounded; what it is then.
__device__ float keep_rounded(const Rounded* to, u64 at, float value) {
    float rounded = to->tf32 ? to_tf32(value) : to_bf16(value);
    if (to->narrow) to->narrow[at] = (u16)(__float_as_uint(rounded) >> 16);
    if (to->wide) to->wide[at] = rounded;
    return rounded;
}

// Rounds n numbers. Grid n / BLOCK.
extern "C" __global__ void __launch_bounds__(BLOCK) round_numbers(const float* in, u64 n, u32 tf32, float* wide, u16* narrow) {
    u64 i = (u64)blockIdx.x * BLOCK + threadIdx.x;
    Rounded to = {narrow, wide, tf32};
    if (i < n) keep_rounded(&to, i, in[i]);
}

// Squares of a number and of what bf16 leaves of it (`narrow`), added to `whole` and `rest`; the number is kept rounded.
__device__ void measure_number(const Rounded* to, u64 at, float value, double* whole, double* rest) {
    *whole += (double)value * value;
    if (!to->narrow && !to->wide) return;
    float rounded = keep_rounded(to, at, value);
    double left = to->narrow ? (double)value - rounded : 0.0;
    *rest += left * left;
}

// The sizes of a row: upper bounds of ||w|| and of ||w - bf16(w)||. Not finite where the row is not, or where sums of products could
// leave the range of f32.
__device__ void put_sizes(float* sizes, double whole, double rest) {
    float size = root_above(whole);
    sizes[0] = size <= 1e18f ? size : __uint_as_float(INFINITE);
    sizes[1] = root_above(rest);
}

// Of rows [n, width] their sizes [n, 2], and the rows in bf16; without `narrow` the second size is 0. Grid n.
extern "C" __global__ void __launch_bounds__(BLOCK)
measure_rows(const float* rows, u32 width, u16* narrow, float* sizes) {
    __shared__ double room[2 * WARPS];
    u64 row = blockIdx.x;
    Rounded to = {narrow, 0, 0};
    double whole = 0, rest = 0;
    for (u32 span = 0; span < spans_of(width); span++) {
        double own[2] = {0, 0};
        for (u32 n = 0; n < EACH; n++) {
            u32 place = span * SPAN + n * BLOCK + threadIdx.x;
            if (place < width) measure_number(&to, row * width + place, rows[row * width + place], own, own + 1);
        }
        block_sums<2>(own, room);
        whole += own[0];
        rest += own[1];
    }
    if (threadIdx.x == 0) put_sizes(sizes + 2 * row, whole, rest);
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

// Of each row, which entries can reach the bound (bits; `step` is 1 for a bound a row, 0 for one bound), a bit each in marks
// [B, count / 32], and how many. Grid B / ROWS.
extern "C" __global__ void __launch_bounds__(BLOCK)
count_candidates(const float* products, const float* bias, const float* norms, const u32* among, const float* slopes,
                 const float* sizes, u32 rows, u32 stride, u32 count, const u32* bounds, u32 step, u32* marks, u32* counts) {
    __shared__ u32 room[WARPS];
    Scored of = {products, bias, norms, 0, among, 0, slopes, sizes, stride, count};
    u32 first = blockIdx.x * ROWS, words = (count + WARP - 1) / WARP, own[ROWS] = {};
    for (u32 tile = 0; tile < count; tile += BLOCK) {
        u32 place = tile + threadIdx.x, latent = place < count ? latent_of(&of, place) : 0;
        Latent at = open_latent(&of, latent);
        float near[ROWS];
        load_products(&of, first, rows, latent, near);
#pragma unroll
        for (u32 r = 0; r < ROWS; r++) {
            if (first + r >= rows) continue;
            u32 row = first + r, bits = largest_bits(&of, near[r], slopes + (u64)3 * row, &at);
            u32 word = __ballot_sync(EVERY, place < count && bits != 0 && bits >= bounds[row * step]);
            if (place % WARP != 0 || place >= count) continue;
            marks[(u64)row * words + place / WARP] = word;
            own[r] += __popc(word);
        }
    }
    for (u32 r = 0; r < ROWS && first + r < rows; r++) {
        u32 all;
        block_prefix(own[r], room, &all);
        if (threadIdx.x == 0) counts[first + r] = all;
    }
}

// Lists the marked ones, ascending: row i's from offsets[i] on. Grid B.
extern "C" __global__ void __launch_bounds__(BLOCK)
list_candidates(const u32* marks, const u32* among, u32 count, const u32* offsets, u32* latents) {
    __shared__ u32 room[WARPS];
    u32 words = (count + WARP - 1) / WARP, at = offsets[blockIdx.x];
    for (u32 tile = 0; tile < words; tile += BLOCK) {
        u32 which = tile + threadIdx.x, word = which < words ? marks[(u64)blockIdx.x * words + which] : 0, total;
        u32 slot = at + block_prefix(__popc(word), room, &total);
        for (; word != 0; word &= word - 1) {
            u32 place = which * WARP + __popc((word & (0u - word)) - 1u);
            latents[slot++] = among ? among[place] : place;
        }
        at += total;
    }
}
