// What a decoder does to its stream, as src/ml/lm. N rows are tokens, sequence after sequence, `tokens` each. Weights are f32, or bf16
// as 16 bits; with `rounds` what an operation gives is rounded to bf16, where src/ml/lm rounds it.

typedef unsigned short u16;

// The nearest bf16, ties to even.
__device__ float nearest_bf16(float value) {
    u32 bits = __float_as_uint(value);
    bits = (bits + 0x7fffu + ((bits >> 16) & 1)) & 0xffff0000u;
    return value == value ? __uint_as_float(bits) : value;
}

__device__ float finish(float value, u32 rounds) { return rounds ? nearest_bf16(value) : value; }

// One weight of a matrix that is there in one of the two formats.
__device__ float weight_at(const float* wide, const u16* narrow, u64 at) {
    return wide ? wide[at] : __uint_as_float((u32)narrow[at] << 16);
}

// bf16 as f32. Grid n / BLOCK.
extern "C" __global__ void __launch_bounds__(BLOCK) widen(const u16* in, u64 n, float* out) {
    u64 i = (u64)blockIdx.x * BLOCK + threadIdx.x;
    if (i < n) out[i] = weight_at(0, in, i);
}

// out_i = scale E[ids_i], and the position's row added where there are learned ones. out [N, width]; grid (N, width / BLOCK).
extern "C" __global__ void __launch_bounds__(BLOCK)
embed(const u32* ids, const float* wide, const u16* narrow, float scale, const float* wide_positions,
      const u16* narrow_positions, u32 tokens, u32 width, u32 rounds, float* out) {
    u32 row = blockIdx.x, column = blockIdx.y * BLOCK + threadIdx.x;
    if (column >= width) return;
    float value = weight_at(wide, narrow, (u64)ids[row] * width + column);
    if (scale != 1.0f) value = finish(__fmul_rn(value, scale), rounds);
    if (wide_positions || narrow_positions) {
        float shift = weight_at(wide_positions, narrow_positions, (u64)(row % tokens) * width + column);
        value = finish(__fadd_rn(value, shift), rounds);
    }
    out[(u64)row * width + column] = value;
}

// Rows of x [.., width]; out [rows, width]; grid (rows, width / BLOCK).
extern "C" __global__ void __launch_bounds__(BLOCK) take_rows(const float* x, const u32* rows, u32 width, float* out) {
    u32 column = blockIdx.y * BLOCK + threadIdx.x;
    if (column < width) out[(u64)blockIdx.x * width + column] = x[(u64)rows[blockIdx.x] * width + column];
}

// Of a product [N, count]: the bias added, where there is one, into the columns from `first` on of out [N, outputs]. They may
// be one array. Grid (N, count / BLOCK).
extern "C" __global__ void __launch_bounds__(BLOCK)
finish_product(const float* product, const float* bias, u32 count, u32 first, u32 outputs, u32 rounds, float* out) {
    u32 column = blockIdx.y * BLOCK + threadIdx.x;
    if (column >= count) return;
    float value = product[(u64)blockIdx.x * count + column];
    if (bias) value = __fadd_rn(value, bias[first + column]);
    out[(u64)blockIdx.x * outputs + first + column] = finish(value, rounds);
}

// Each row of x [rows, n] normalised: (x - mean) / sqrt(variance + epsilon) w + b where `centred`, else
// x / sqrt(mean(x^2) + epsilon) (w + offset). `rounds`: 1 rounds the result, 2 also the row before it meets w. A warp a row;
// out may be x. Grid rows / WARPS.
extern "C" __global__ void __launch_bounds__(BLOCK)
normalize(const float* x, const float* w, const float* b, u32 rows, u32 n, float epsilon, float offset, u32 centred,
          u32 rounds, float* out) {
    u32 row = blockIdx.x * WARPS + threadIdx.x / WARP, lane = threadIdx.x % WARP;
    if (row >= rows) return;
    const float* from = x + (u64)row * n;
    float* to = out + (u64)row * n;
    float mean = 0, sum = 0;
    if (centred) {
        for (u32 i = lane; i < n; i += WARP) sum += from[i];
        mean = warp_sum(sum) / n;
        sum = 0;
    }
    for (u32 i = lane; i < n; i += WARP) sum = fmaf(from[i] - mean, from[i] - mean, sum);
    float scale = 1.0f / sqrtf(warp_sum(sum) / n + epsilon);
    for (u32 i = lane; i < n; i += WARP) {
        float unit = (from[i] - mean) * scale;
        if (rounds == 2) unit = nearest_bf16(unit);
        float value = unit * (w[i] + offset);
        if (b) value += b[i];
        to[i] = finish(value, rounds);
    }
}

// Turns each pair (x_i, x_{i + pairs}) of each head of x [N, heads * head] by the angle of its position: angles [>= tokens, pairs]
// of (cos, sin). In place; grid N heads pairs / BLOCK.
extern "C" __global__ void __launch_bounds__(BLOCK)
rotate(float* x, const float* angles, u64 count, u32 tokens, u32 heads, u32 head, u32 pairs, u32 rounds) {
    u64 i = (u64)blockIdx.x * BLOCK + threadIdx.x;
    if (i >= count) return;
    u32 pair = (u32)(i % pairs);
    u64 of = i / pairs, row = of / heads;
    const float* angle = angles + 2 * ((row % tokens) * pairs + pair);
    float* at = x + of * head + pair;
    float a = at[0], b = at[pairs], cosine = angle[0], sine = angle[1];
    float ac = finish(__fmul_rn(a, cosine), rounds), bs = finish(__fmul_rn(b, sine), rounds);
    float bc = finish(__fmul_rn(b, cosine), rounds), as = finish(__fmul_rn(a, sine), rounds);
    at[0] = finish(__fadd_rn(ac, -bs), rounds);
    at[pairs] = finish(__fadd_rn(bc, as), rounds);
}

#define GELU 0
#define GELU_TANH 1

__device__ float activation(float x, u32 kind) {
    if (kind == GELU) return x * 0.5f * (1.0f + erff(x * 0.70710678f));
    float z = kind == GELU_TANH ? 1.5957691f * (x + 0.044715f * x * x * x) : x;
    return x / (1.0f + expf(-z));
}

// activation(x), times `up` where it is given; out may be either. Grid n / BLOCK.
extern "C" __global__ void __launch_bounds__(BLOCK)
activate(const float* x, const float* up, u64 n, u32 kind, u32 rounds, float* out) {
    u64 i = (u64)blockIdx.x * BLOCK + threadIdx.x;
    if (i >= n) return;
    float value = finish(activation(x[i], kind), rounds);
    out[i] = up ? finish(value * up[i], rounds) : value;
}

// out = a + b; out may be either. Grid n / BLOCK.
extern "C" __global__ void __launch_bounds__(BLOCK) add_streams(const float* a, const float* b, u64 n, u32 rounds, float* out) {
    u64 i = (u64)blockIdx.x * BLOCK + threadIdx.x;
    if (i < n) out[i] = finish(__fadd_rn(a[i], b[i]), rounds);
}

// x becomes cap tanh(x / cap). Grid n / BLOCK.
extern "C" __global__ void __launch_bounds__(BLOCK) cap_values(float* x, u64 n, float cap, u32 rounds) {
    u64 i = (u64)blockIdx.x * BLOCK + threadIdx.x;
    if (i < n) x[i] = finish(cap * tanhf(x[i] * (1.0f / cap)), rounds);
}

// x rounded to bf16. Grid n / BLOCK.
extern "C" __global__ void __launch_bounds__(BLOCK) round_values(float* x, u64 n) {
    u64 i = (u64)blockIdx.x * BLOCK + threadIdx.x;
    if (i < n) x[i] = nearest_bf16(x[i]);
}
