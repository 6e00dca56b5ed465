// What a decoder does to its stream, as src/ml/lm. N rows are tokens, sequence after sequence, `tokens` each. Weights are f32, or bf16
// as 16 bits. What an operation reads and gives is there in one of three formats, all its arrays in the same: F32; ROUNDED, which is
// f32 too, with results rounded to bf16 where src/ml/lm rounds them; and NARROW, where the same numbers are kept as 16 bits.

#define F32 0
#define ROUNDED 1
#define NARROW 2

__device__ float finish(float value, u32 format) { return format == F32 ? value : to_bf16(value); }

__device__ float widened(u16 bits) { return __uint_as_float((u32)bits << 16); }

// One weight of a matrix that is there in one of the two formats.
__device__ float weight_at(const float* wide, const u16* narrow, u64 at) { return wide ? wide[at] : widened(narrow[at]); }

// One number of an array in a format, and what an operation gives as one.
__device__ float number_at(const void* x, u64 at, u32 format) {
    return format == NARROW ? widened(((const u16*)x)[at]) : ((const float*)x)[at];
}
__device__ void put_number(void* x, u64 at, float value, u32 format) {
    value = finish(value, format);
    if (format == NARROW) ((u16*)x)[at] = (u16)(__float_as_uint(value) >> 16);
    else ((float*)x)[at] = value;
}

// bf16 as f32. Grid n / BLOCK.
extern "C" __global__ void __launch_bounds__(BLOCK) widen(const u16* in, u64 n, float* out) {
    u64 i = (u64)blockIdx.x * BLOCK + threadIdx.x;
    if (i < n) out[i] = weight_at(0, in, i);
}

// out_i = scale E[ids_i], and the position's row added where there are learned ones. out [N, width]; grid (N, width / BLOCK).
extern "C" __global__ void __launch_bounds__(BLOCK)
embed(const u32* ids, const float* wide, const u16* narrow, float scale, const float* wide_positions,
      const u16* narrow_positions, u32 tokens, u32 width, u32 format, void* out) {
    u32 row = blockIdx.x, column = blockIdx.y * BLOCK + threadIdx.x;
    if (column >= width) return;
    float value = weight_at(wide, narrow, (u64)ids[row] * width + column);
    if (scale != 1.0f) value = finish(__fmul_rn(value, scale), format);
    if (wide_positions || narrow_positions) {
        float shift = weight_at(wide_positions, narrow_positions, (u64)(row % tokens) * width + column);
        value = __fadd_rn(value, shift);
    }
    put_number(out, (u64)row * width + column, value, format);
}

// Rows of x [.., width]; out [rows, width]; grid (rows, width / BLOCK).
extern "C" __global__ void __launch_bounds__(BLOCK)
take_rows(const void* x, const u32* rows, u32 width, u32 format, void* out) {
    u32 column = blockIdx.y * BLOCK + threadIdx.x;
    if (column >= width) return;
    float value = number_at(x, (u64)rows[blockIdx.x] * width + column, format);
    put_number(out, (u64)blockIdx.x * width + column, value, format);
}

// Of a product [N, count] in f32: the bias added, where there is one, into the columns from `first` on of out [N, outputs]. They may
// be one array, unless out is NARROW. Grid (N, count / BLOCK).
extern "C" __global__ void __launch_bounds__(BLOCK)
finish_product(const float* product, const float* bias, u32 count, u32 first, u32 outputs, u32 format, void* out) {
    u32 column = blockIdx.y * BLOCK + threadIdx.x;
    if (column >= count) return;
    float value = product[(u64)blockIdx.x * count + column];
    if (bias) value = __fadd_rn(value, bias[first + column]);
    put_number(out, (u64)blockIdx.x * outputs + first + column, value, format);
}

// Each row of x [rows, n] normalised: (x - mean) / sqrt(variance + epsilon) w + b where `centred`, else
// x / sqrt(mean(x^2) + epsilon) (w + offset). With `twice` the row is also rounded before it meets w. A warp a row; out may be x.
// Grid rows / WARPS.
extern "C" __global__ void __launch_bounds__(BLOCK)
normalize(const void* x, const float* w, const float* b, u32 rows, u32 n, float epsilon, float offset, u32 centred,
          u32 twice, u32 format, void* out) {
    u32 row = blockIdx.x * WARPS + threadIdx.x / WARP, lane = threadIdx.x % WARP;
    if (row >= rows) return;
    u64 first = (u64)row * n;
    float mean = 0, sum = 0;
    if (centred) {
        for (u32 i = lane; i < n; i += WARP) sum += number_at(x, first + i, format);
        mean = warp_sum(sum) / n;
        sum = 0;
    }
    for (u32 i = lane; i < n; i += WARP) {
        float apart = number_at(x, first + i, format) - mean;
        sum = fmaf(apart, apart, sum);
    }
    float scale = 1.0f / sqrtf(warp_sum(sum) / n + epsilon);
    for (u32 i = lane; i < n; i += WARP) {
        float unit = (number_at(x, first + i, format) - mean) * scale;
        if (twice) unit = to_bf16(unit);
        float value = unit * (w[i] + offset);
        if (b) value += b[i];
        put_number(out, first + i, value, format);
    }
}

// Turns each pair (x_i, x_{i + pairs}) of each head of x [N, heads * head] by the angle of its position: angles [>= tokens, pairs]
// of (cos, sin). In place; grid N heads pairs / BLOCK.
extern "C" __global__ void __launch_bounds__(BLOCK)
rotate(void* x, const float* angles, u64 count, u32 tokens, u32 heads, u32 head, u32 pairs, u32 format) {
    u64 i = (u64)blockIdx.x * BLOCK + threadIdx.x;
    if (i >= count) return;
    u32 pair = (u32)(i % pairs);
    u64 of = i / pairs, row = of / heads;
    const float* angle = angles + 2 * ((row % tokens) * pairs + pair);
    u64 at = of * head + pair;
    float a = number_at(x, at, format), b = number_at(x, at + pairs, format), cosine = angle[0], sine = angle[1];
    float ac = finish(__fmul_rn(a, cosine), format), bs = finish(__fmul_rn(b, sine), format);
    float bc = finish(__fmul_rn(b, cosine), format), as = finish(__fmul_rn(a, sine), format);
    put_number(x, at, __fadd_rn(ac, -bs), format);
    put_number(x, at + pairs, __fadd_rn(bc, as), format);
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
activate(const void* x, const void* up, u64 n, u32 kind, u32 format, void* out) {
    u64 i = (u64)blockIdx.x * BLOCK + threadIdx.x;
    if (i >= n) return;
    float value = finish(activation(number_at(x, i, format), kind), format);
    put_number(out, i, up ? value * number_at(up, i, format) : value, format);
}

// out = a + b; out may be either. Grid n / BLOCK.
extern "C" __global__ void __launch_bounds__(BLOCK) add_streams(const void* a, const void* b, u64 n, u32 format, void* out) {
    u64 i = (u64)blockIdx.x * BLOCK + threadIdx.x;
    if (i < n) put_number(out, i, __fadd_rn(number_at(a, i, format), number_at(b, i, format)), format);
}

// x becomes cap tanh(x / cap). Grid n / BLOCK.
extern "C" __global__ void __launch_bounds__(BLOCK) cap_values(float* x, u64 n, float cap, u32 format) {
    u64 i = (u64)blockIdx.x * BLOCK + threadIdx.x;
    if (i < n) x[i] = finish(cap * tanhf(x[i] * (1.0f / cap)), format);
}
