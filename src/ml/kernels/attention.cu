// Causal attention in one kernel, as src/ml/lm/ops/attention.rs: softmax(mask(cap(scale q k^T))) v without the matrix of
// scores in memory. A block takes QUERIES queries of a head and goes through the keys that they see, KEYS at a time: it multiplies,
// keeps the largest score and the sum of exponentials of each query, and scales what it has added up so far when a
// larger score comes (the online softmax of FlashAttention). All in f32.
//
// 16 x 16 threads: thread (y, x) has queries 4 y + i, keys x + 16 j and numbers x + 16 j of each part of a head.

#define QUERIES 64
#define KEYS 64
// Numbers of a head that are multiplied at a time, and that are added up at a time.
#define STRIP 32
#define PART 64
// Places of a row of shared memory: one more, so that a column lies in different banks.
#define STRIP_ROW (STRIP + 1)
#define PART_ROW (PART + 1)
#define KEYS_ROW (KEYS + 1)
// Below every score.
#define NO_SCORE (-3.0e38f)

template <class T> struct Attention {
    const T *q, *k, *v;
    u32 tokens, heads, kv_heads, head, window, format;
    float scale, cap;
    T* out;
};

// What a block attends with: its queries are `first` to `end`, `low` is the first key that one of them sees, and the pointers lead to the
// block's head of its sequence, whose rows are so wide.
template <class T> struct Tile {
    const T *q, *k, *v;
    T* out;
    u32 first, end, low, q_width, k_width;
};

template <class T> __device__ Tile<T> tile_of(const Attention<T>& of, u32 queries) {
    u32 tiles = (of.tokens + queries - 1) / queries, q_width = of.heads * of.head, k_width = of.kv_heads * of.head;
    // The last queries see most keys: they begin first.
    u32 tile = tiles - 1 - blockIdx.x % tiles, head = blockIdx.x / tiles % of.heads, sequence = blockIdx.x / tiles / of.heads;
    u32 first = tile * queries, end = first + queries < of.tokens ? first + queries : of.tokens;
    u32 low = first >= of.window ? first - of.window + 1 : 0;
    u64 own = (u64)sequence * of.tokens * q_width + head * of.head;
    u64 shared = (u64)sequence * of.tokens * k_width + head / (of.heads / of.kv_heads) * of.head;
    Tile<T> at = {of.q + own, of.k + shared, of.v + shared, of.out + own, first, end, low, q_width, k_width};
    return at;
}

// Rows `first ..` of a matrix, columns `from ..` of a head: zeros beyond the last token and the last number.
template <u32 COLUMNS>
__device__ void fetch(float* room, const float* matrix, u32 width, u32 first, u32 from, u32 tokens, u32 head) {
    for (u32 i = threadIdx.x; i < 64 * COLUMNS; i += BLOCK) {
        u32 row = i / COLUMNS, column = from + i % COLUMNS;
        bool is = first + row < tokens && column < head;
        room[row * (COLUMNS + 1) + i % COLUMNS] = is ? matrix[(u64)(first + row) * width + column] : 0.0f;
    }
}

// Largest and sum over the 16 threads of a row.
__device__ float row_largest(float value) {
    for (u32 reach = 8; reach > 0; reach /= 2) value = fmaxf(value, __shfl_xor_sync(EVERY, value, reach));
    return value;
}
__device__ float row_sum(float value) {
    for (u32 reach = 8; reach > 0; reach /= 2) value += __shfl_xor_sync(EVERY, value, reach);
    return value;
}

// For heads of up to PARTS * PART numbers. `weights` is shared memory for [QUERIES, KEYS_ROW], `room` for what is multiplied.
template <u32 PARTS> __device__ void attend(const Attention<float>& of, float* weights, float* room) {
    u32 y = threadIdx.x / 16, x = threadIdx.x % 16;
    Tile<float> at = tile_of(of, QUERIES);
    u32 first = at.first;
    float* keys = room + QUERIES * STRIP_ROW;
    float sums[4][4 * PARTS], largest[4], total[4];
#pragma unroll
    for (u32 i = 0; i < 4; i++) {
        largest[i] = NO_SCORE;
        total[i] = 0;
#pragma unroll
        for (u32 j = 0; j < 4 * PARTS; j++) sums[i][j] = 0;
    }
    for (u32 from = at.low / KEYS * KEYS; from < at.end; from += KEYS) {
        u32 count = at.end - from < KEYS ? at.end - from : KEYS;
        float scores[4][4] = {{0}};
        for (u32 strip = 0; strip < of.head; strip += STRIP) {
            fetch<STRIP>(room, at.q, at.q_width, first, strip, of.tokens, of.head);
            fetch<STRIP>(keys, at.k, at.k_width, from, strip, of.tokens, of.head);
            __syncthreads();
#pragma unroll 4
            for (u32 c = 0; c < STRIP; c++) {
                float a[4], b[4];
#pragma unroll
                for (u32 i = 0; i < 4; i++) a[i] = room[(4 * y + i) * STRIP_ROW + c];
#pragma unroll
                for (u32 j = 0; j < 4; j++) b[j] = keys[(x + 16 * j) * STRIP_ROW + c];
#pragma unroll
                for (u32 i = 0; i < 4; i++)
#pragma unroll
                    for (u32 j = 0; j < 4; j++) scores[i][j] = fmaf(a[i], b[j], scores[i][j]);
            }
            __syncthreads();
        }
#pragma unroll
        for (u32 i = 0; i < 4; i++) {
            u32 query = first + 4 * y + i;
            float most = largest[i];
            bool seen[4];
#pragma unroll
            for (u32 j = 0; j < 4; j++) {
                u32 key = from + x + 16 * j;
                float score = scores[i][j];
                scores[i][j] = of.cap > 0.0f ? of.cap * tanhf(score * (of.scale / of.cap)) : score * of.scale;
                seen[j] = key <= query && query - key < of.window;
                if (seen[j]) most = fmaxf(most, scores[i][j]);
            }
            most = row_largest(most);
            float keep = expf(largest[i] - most);
            largest[i] = most;
            total[i] *= keep;
#pragma unroll
            for (u32 j = 0; j < 4 * PARTS; j++) sums[i][j] *= keep;
#pragma unroll
            for (u32 j = 0; j < 4; j++) {
                float weight = seen[j] ? expf(scores[i][j] - most) : 0.0f;
                total[i] += weight;
                weights[(4 * y + i) * KEYS_ROW + x + 16 * j] = weight;
            }
        }
#pragma unroll
        for (u32 part = 0; part < PARTS; part++) {
            fetch<PART>(room, at.v, at.k_width, from, part * PART, of.tokens, of.head);
            __syncthreads();
#pragma unroll 4
            for (u32 key = 0; key < count; key++) {
                float a[4], b[4];
#pragma unroll
                for (u32 i = 0; i < 4; i++) a[i] = weights[(4 * y + i) * KEYS_ROW + key];
#pragma unroll
                for (u32 j = 0; j < 4; j++) b[j] = room[key * PART_ROW + x + 16 * j];
#pragma unroll
                for (u32 i = 0; i < 4; i++)
#pragma unroll
                    for (u32 j = 0; j < 4; j++) sums[i][part * 4 + j] = fmaf(a[i], b[j], sums[i][part * 4 + j]);
            }
            __syncthreads();
        }
    }
#pragma unroll
    for (u32 i = 0; i < 4; i++) {
        u32 query = first + 4 * y + i;
        float all = row_sum(total[i]);
        float* out = at.out + (u64)query * at.q_width;
#pragma unroll
        for (u32 j = 0; j < 4 * PARTS; j++) {
            u32 column = j / 4 * PART + x + 16 * (j % 4);
            if (query < of.tokens && column < of.head) out[column] = finish(sums[i][j] / all, of.format);
        }
    }
}

// q [N, heads * head], k and v [N, kv_heads * head], out like q. A token sees itself and the window - 1 tokens before it; a cap of 0 is
// none. For heads of up to 64 numbers. Grid sequences * heads * (tokens / QUERIES).
extern "C" __global__ void __launch_bounds__(BLOCK)
attend_64(const float* q, const float* k, const float* v, u32 tokens, u32 heads, u32 kv_heads, u32 head, float scale,
          float cap, u32 window, u32 format, float* out) {
    __shared__ float weights[QUERIES * KEYS_ROW];
    __shared__ float room[2 * QUERIES * STRIP_ROW];
    Attention<float> of = {q, k, v, tokens, heads, kv_heads, head, window, format, scale, cap, out};
    attend<1>(of, weights, room);
}

// The same for heads of up to 128.
extern "C" __global__ void __launch_bounds__(BLOCK)
attend_128(const float* q, const float* k, const float* v, u32 tokens, u32 heads, u32 kv_heads, u32 head, float scale,
           float cap, u32 window, u32 format, float* out) {
    __shared__ float weights[QUERIES * KEYS_ROW];
    __shared__ float room[2 * QUERIES * STRIP_ROW];
    Attention<float> of = {q, k, v, tokens, heads, kv_heads, head, window, format, scale, cap, out};
    attend<2>(of, weights, room);
}

// The same for heads of up to 256.
extern "C" __global__ void __launch_bounds__(BLOCK)
attend_256(const float* q, const float* k, const float* v, u32 tokens, u32 heads, u32 kv_heads, u32 head, float scale,
           float cap, u32 window, u32 format, float* out) {
    __shared__ float weights[QUERIES * KEYS_ROW];
    __shared__ float room[2 * QUERIES * STRIP_ROW];
    Attention<float> of = {q, k, v, tokens, heads, kv_heads, head, window, format, scale, cap, out};
    attend<4>(of, weights, room);
}
