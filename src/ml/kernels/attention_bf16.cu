// Causal attention as in attention.cu, of numbers in bf16 and on tensor cores (compute capability 8.0 or later). The scores are sums
// in f32 of exact products, and so is what comes out, but for the weights exp(score - largest): these are f32, and each is multiplied
// as two bf16 numbers, the nearest one and the nearest one to the rest, which together are within 2^-17 of it; their sum, by which all
// is divided, is that of the f32 numbers. The result is rounded to bf16 once.
//
// A warp has 16 queries, and COLUMNS numbers of each: the columns of a head of up to 128, or one half of those of a wider one, whose
// scores are then the sums of two warps' halves. Tiles of keys and values lie in shared memory; queries, scores and sums are fragments in
// registers. In a fragment lane 4 g + t has rows g and g + 8 and, of each 8 columns, 2 t and 2 t + 1.

// Numbers (two places a number) from one row of keys to the next, and from one pair of rows of values to the next: so many that what a
// warp reads at once lies in 32 different banks.
#define KEYS_STRIDE(width) ((width) / 2 + 4)
#define VALUES_STRIDE(width) ((width) + 8)

// Numbers `column`, `column` + 1 of a row (an even column), and the eight from `column` on (one that 8 divides), the first in the low
// bits: zeros beyond the head, or where there is no row.
__device__ u32 two_of(const u16* row, u32 column, u32 head) {
    if (!row || column >= head) return 0;
    if (head % 2 == 0) return *(const u32*)(row + column);
    return row[column] | (column + 1 < head ? (u32)row[column + 1] << 16 : 0);
}
__device__ uint4 eight_of(const u16* row, u32 column, u32 head) {
    if (row && column < head && head % 8 == 0) return *(const uint4*)(row + column);
    uint4 all = {two_of(row, column, head), two_of(row, column + 2, head), two_of(row, column + 4, head),
                 two_of(row, column + 6, head)};
    return all;
}

// Of two pairs (a, b) and (c, d) the pairs (a, c) and (b, d).
__device__ u32 lower_of(u32 one, u32 other) { return (one & 0xffffu) | other << 16; }
__device__ u32 upper_of(u32 one, u32 other) { return one >> 16 | (other & 0xffff0000u); }

// Keys `from ..` as rows of pairs of neighbouring columns, and values as pairs of neighbouring rows.
template <u32 WIDTH, u32 KEYS_AT_ONCE>
__device__ void fetch_keys_and_values(u32* keys, u32* values, const u16* k, const u16* v, u32 width, u32 from, u32 tokens, u32 head) {
    const u32 EIGHTS = WIDTH / 8;
#pragma unroll
    for (u32 i = threadIdx.x; i < KEYS_AT_ONCE * EIGHTS; i += BLOCK) {
        u32 key = i / EIGHTS, column = i % EIGHTS * 8;
        const u16* row = from + key < tokens ? k + (u64)(from + key) * width : 0;
        *(uint4*)(keys + key * KEYS_STRIDE(WIDTH) + column / 2) = eight_of(row, column, head);
    }
#pragma unroll
    for (u32 i = threadIdx.x; i < KEYS_AT_ONCE / 2 * EIGHTS; i += BLOCK) {
        u32 pair = i / EIGHTS, column = i % EIGHTS * 8, key = from + 2 * pair;
        uint4 one = eight_of(key < tokens ? v + (u64)key * width : 0, column, head);
        uint4 other = eight_of(key + 1 < tokens ? v + (u64)(key + 1) * width : 0, column, head);
        uint4 low = {lower_of(one.x, other.x), upper_of(one.x, other.x), lower_of(one.y, other.y), upper_of(one.y, other.y)};
        uint4 high = {lower_of(one.z, other.z), upper_of(one.z, other.z), lower_of(one.w, other.w), upper_of(one.w, other.w)};
        uint4* to = (uint4*)(values + pair * VALUES_STRIDE(WIDTH) + column);
        to[0] = low;
        to[1] = high;
    }
}

// Over the four lanes of a row.
__device__ float four_largest(float value) {
    value = fmaxf(value, __shfl_xor_sync(EVERY, value, 1));
    return fmaxf(value, __shfl_xor_sync(EVERY, value, 2));
}
__device__ float four_sum(float value) {
    value += __shfl_xor_sync(EVERY, value, 1);
    return value + __shfl_xor_sync(EVERY, value, 2);
}

// Two f32 numbers as bf16, and what that leaves of them; both as pairs.
__device__ u32 split_off(float* low, float* high) {
    u32 pair = narrow_pair(*low, *high);
    *low -= __uint_as_float(pair << 16);
    *high -= __uint_as_float(pair & 0xffff0000u);
    return pair;
}

// For heads of up to COLUMNS * ACROSS numbers; a block has 128 / ACROSS queries. `keys` and `values` are shared memory for the tiles.
template <u32 COLUMNS, u32 ACROSS, u32 KEYS_AT_ONCE> __device__ void attend_narrow(const Attention<u16>& of, u32* keys, u32* values) {
    const u32 WIDTH = COLUMNS * ACROSS, QUERIES_AT_ONCE = 16 * WARPS / ACROSS, STEPS = COLUMNS / 16, EIGHTS = KEYS_AT_ONCE / 8;
    u32 lane = threadIdx.x % WARP, warp = threadIdx.x / WARP, g = lane / 4, t = lane % 4;
    Tile<u16> at = tile_of(of, QUERIES_AT_ONCE);
    // The first query and the first column of this warp.
    u32 own = at.first + warp / ACROSS * 16, begin = warp % ACROSS * COLUMNS;
    u32 asked[STEPS][4];
    float sums[COLUMNS / 8][4], largest[2] = {NO_SCORE, NO_SCORE}, total[2] = {0, 0};
#pragma unroll
    for (u32 step = 0; step < STEPS; step++) {
#pragma unroll
        for (u32 i = 0; i < 4; i++) {
            u32 query = own + g + i % 2 * 8;
            const u16* row = query < of.tokens ? at.q + (u64)query * at.q_width : 0;
            asked[step][i] = two_of(row, begin + step * 16 + i / 2 * 8 + 2 * t, of.head);
        }
    }
#pragma unroll
    for (u32 j = 0; j < COLUMNS / 8; j++)
#pragma unroll
        for (u32 i = 0; i < 4; i++) sums[j][i] = 0;
    for (u32 from = at.low / KEYS_AT_ONCE * KEYS_AT_ONCE; from < at.end; from += KEYS_AT_ONCE) {
        u32 last = from + KEYS_AT_ONCE - 1;
        // Whether a query of this warp sees a key of the tile, and whether one does not see all.
        bool is_seen = own < of.tokens && from <= own + 15 && (own <= last || own - last < of.window);
        bool is_edge = last > own || own + 15 - from >= of.window;
        float scores[EIGHTS][4];
        __syncthreads();
        fetch_keys_and_values<WIDTH, KEYS_AT_ONCE>(keys, values, at.k, at.v, at.k_width, from, of.tokens, of.head);
        __syncthreads();
        if (is_seen) {
#pragma unroll
            for (u32 j = 0; j < EIGHTS; j++)
#pragma unroll
                for (u32 i = 0; i < 4; i++) scores[j][i] = 0;
#pragma unroll
            for (u32 step = 0; step < STEPS; step++) {
                if (begin + step * 16 >= of.head) break;
#pragma unroll
                for (u32 j = 0; j < EIGHTS; j++) {
                    const u32* place = keys + (j * 8 + g) * KEYS_STRIDE(WIDTH) + begin / 2 + step * 8 + t;
                    u32 pairs[2] = {place[0], place[4]};
                    multiply_bf16(scores[j], asked[step], pairs);
                }
            }
        }
        if (ACROSS > 1) {
            // The keys have been read: in their place each warp finds what the other one has of its scores.
            float* parts = (float*)keys + lane;
            __syncthreads();
            if (is_seen) {
#pragma unroll
                for (u32 i = 0; i < 4 * EIGHTS; i++) parts[(warp * 4 * EIGHTS + i) * WARP] = scores[i / 4][i % 4];
            }
            __syncthreads();
            if (is_seen) {
#pragma unroll
                for (u32 i = 0; i < 4 * EIGHTS; i++) scores[i / 4][i % 4] += parts[((warp ^ 1) * 4 * EIGHTS + i) * WARP];
            }
        }
        if (!is_seen) continue;
#pragma unroll
        for (u32 half = 0; half < 2; half++) {
            u32 query = own + g + 8 * half;
            float most = largest[half];
#pragma unroll
            for (u32 i = 0; i < 2 * EIGHTS; i++) {
                float& score = scores[i / 2][2 * half + i % 2];
                u32 key = from + i / 2 * 8 + 2 * t + i % 2;
                score = of.cap > 0.0f ? of.cap * tanhf(score * (of.scale / of.cap)) : score * of.scale;
                if (is_edge && (key > query || query - key >= of.window)) score = NO_SCORE;
                most = fmaxf(most, score);
            }
            most = four_largest(most);
            float keep = expf(largest[half] - most);
            largest[half] = most;
            total[half] *= keep;
#pragma unroll
            for (u32 j = 0; j < COLUMNS / 8; j++) {
                sums[j][2 * half] *= keep;
                sums[j][2 * half + 1] *= keep;
            }
            // Where nothing is seen yet, every weight is 0.
            float top = most == NO_SCORE ? 0.0f : most;
#pragma unroll
            for (u32 i = 0; i < 2 * EIGHTS; i++) {
                float& score = scores[i / 2][2 * half + i % 2];
                score = expf(score - top);
                total[half] += score;
            }
        }
#pragma unroll
        for (u32 step = 0; step < KEYS_AT_ONCE / 16; step++) {
            u32 near[4], rest[4];
#pragma unroll
            for (u32 i = 0; i < 4; i++) {
                float* two = &scores[2 * step + i / 2][i % 2 * 2];
                near[i] = split_off(two, two + 1);
                rest[i] = narrow_pair(two[0], two[1]);
            }
#pragma unroll
            for (u32 j = 0; j < COLUMNS / 8; j++) {
                if (begin + j * 8 >= of.head) break;
                const u32* place = values + (step * 8 + t) * VALUES_STRIDE(WIDTH) + begin + j * 8 + g;
                u32 pairs[2] = {place[0], place[4 * VALUES_STRIDE(WIDTH)]};
                multiply_bf16(sums[j], near, pairs);
                multiply_bf16(sums[j], rest, pairs);
            }
        }
    }
#pragma unroll
    for (u32 half = 0; half < 2; half++) {
        u32 query = own + g + 8 * half;
        float all = four_sum(total[half]);
        u16* out = at.out + (u64)query * at.q_width;
#pragma unroll
        for (u32 j = 0; j < COLUMNS / 8; j++) {
            u32 column = begin + j * 8 + 2 * t;
            if (query >= of.tokens || column >= of.head) continue;
            u32 pair = narrow_pair(sums[j][2 * half] / all, sums[j][2 * half + 1] / all);
            if (of.head % 2 == 0) {
                *(u32*)(out + column) = pair;
            } else {
                out[column] = (u16)pair;
                if (column + 1 < of.head) out[column + 1] = (u16)(pair >> 16);
            }
        }
    }
}

// Shared memory for tiles of so many keys and values, in 16 bytes each.
#define TILES(width, count) ((count) * (KEYS_STRIDE(width) + VALUES_STRIDE(width) / 2) / 4)

// q [N, heads * head], k and v [N, kv_heads * head], out like q; as attend_64. Grid sequences * heads * (tokens / 128).
extern "C" __global__ void __launch_bounds__(BLOCK)
attend_narrow_64(const u16* q, const u16* k, const u16* v, u32 tokens, u32 heads, u32 kv_heads, u32 head, float scale,
                 float cap, u32 window, u16* out) {
    __shared__ uint4 room[TILES(64, 64)];
    Attention<u16> of = {q, k, v, tokens, heads, kv_heads, head, window, NARROW, scale, cap, out};
    attend_narrow<64, 1, 64>(of, (u32*)room, (u32*)room + 64 * KEYS_STRIDE(64));
}

// The same for heads of up to 128.
extern "C" __global__ void __launch_bounds__(BLOCK)
attend_narrow_128(const u16* q, const u16* k, const u16* v, u32 tokens, u32 heads, u32 kv_heads, u32 head, float scale,
                  float cap, u32 window, u16* out) {
    __shared__ uint4 room[TILES(128, 64)];
    Attention<u16> of = {q, k, v, tokens, heads, kv_heads, head, window, NARROW, scale, cap, out};
    attend_narrow<128, 1, 64>(of, (u32*)room, (u32*)room + 64 * KEYS_STRIDE(128));
}

// The same for heads of up to 256. Grid sequences * heads * (tokens / 64).
extern "C" __global__ void __launch_bounds__(BLOCK)
attend_narrow_256(const u16* q, const u16* k, const u16* v, u32 tokens, u32 heads, u32 kv_heads, u32 head, float scale,
                  float cap, u32 window, u16* out) {
    __shared__ uint4 room[TILES(256, 32)];
    Attention<u16> of = {q, k, v, tokens, heads, kv_heads, head, window, NARROW, scale, cap, out};
    attend_narrow<128, 2, 32>(of, (u32*)room, (u32*)room + 32 * KEYS_STRIDE(256));
}
