// The gradient of each latent's weights, and its step of Adam, as src/ml/crosscoder/gradient.rs and src/ml/kernels/adam.rs:
// dL/dd_j = sum_i f_ij G_i (+ the L1 penalty's share), dL/de_j = sum_i g_ij x_i, dL/db_j = sum_i g_ij. No gradient tensor is
// stored but in the dense form.

// How S is made of ||d^base|| and ||d^tuned||: 0 sum, 1 concat, 2 none, 3 mixed (sae times concat plus cc times sum).
struct CodeNorm {
    u32 form;
    float sae;
    float cc;
};

__device__ float concat_norm(float base, float tuned) { return sqrtf(__fadd_rn(__fmul_rn(base, base), __fmul_rn(tuned, tuned))); }

__device__ float code_norm(const CodeNorm* norm, float base, float tuned) {
    if (norm->form == 0) return base + tuned;
    if (norm->form == 1) return concat_norm(base, tuned);
    if (norm->form == 2) return 1.0f;
    return __fadd_rn(__fmul_rn(norm->sae, concat_norm(base, tuned)), __fmul_rn(norm->cc, __fadd_rn(base, tuned)));
}

// Adds a square to the sum of its model: `sums` stay in registers.
__device__ void add_square(double* sums, bool is_tuned, float value) {
    double square = (double)value * value;
    if (is_tuned) sums[1] += square;
    else sums[0] += square;
}

// What d^m is divided by in dS/dd^m; 0 where there is no gradient.
__device__ float norm_divisor(const CodeNorm* norm, const float* norms, u32 model) {
    float concat = concat_norm(norms[0], norms[1]);
    if (norm->form == 0) return norms[model];
    if (norm->form == 1) return concat;
    if (norm->form == 2) return 0.0f;
    return norms[model] * concat / (norm->sae * norms[model] + norm->cc * concat);
}

// Where the gradient of a latent comes from. Sparse: its rows, values and gradients (`starts` is given), x [B, W], and G [B, W],
// which is the auxiliary one for latents that are flagged so. Dense: made by products.
struct Flow {
    const u32* starts;
    const u32* rows;
    const float* values;
    const float* gradients;
    const float* x;
    const float* upstream;
    const float* auxiliary;
    const u32* is_auxiliary;
    const float* dense_encoder;
    const float* dense_decoder;
    const float* dense_bias;
    const float* dense_activity;
    u32 width;
    // d: where the tuned model's part of a row begins; the whole row of an autoencoder.
    u32 half;
    // Decoder vectors keep norm 1: what would change it is left out.
    u32 unit;
    u32 latent;
    u32 first;
    u32 end;
    const float* written;
    float bias;
    float factors[2];
};

// Prepares the flow of a latent; false when it has no gradient. For whole blocks; `room` is shared memory for 3 * WARPS numbers.
__device__ bool open_flow(Flow* flow, float weight, const CodeNorm* norm, const float* norms, double* room) {
    float activity;
    double along = 0;
    if (flow->starts) {
        flow->first = flow->starts[flow->latent];
        flow->end = flow->starts[flow->latent + 1];
        if (flow->first == flow->end) return false;
        flow->written = flow->is_auxiliary && flow->is_auxiliary[flow->latent] ? flow->auxiliary : flow->upstream;
        double sums[3] = {0, 0, 0};
        for (u32 t = flow->first + threadIdx.x; t < flow->end; t += BLOCK) {
            sums[0] += flow->values[t];
            sums[1] += flow->gradients[t];
            // G_i . d_j is the gradient of the entry.
            if (flow->unit) sums[2] += (double)flow->values[t] * flow->gradients[t];
        }
        if (flow->unit) block_sums<3>(sums, room);
        else block_sums<2>(sums, room);
        activity = (float)sums[0];
        flow->bias = (float)sums[1];
        along = sums[2];
    } else {
        activity = flow->dense_activity[flow->latent];
        if (activity == 0.0f) return false;
        flow->bias = flow->dense_bias[flow->latent];
    }
    for (u32 model = 0; model < 2; model++) {
        float divisor = weight != 0.0f ? norm_divisor(norm, norms + 2 * flow->latent, model) : 0.0f;
        flow->factors[model] = divisor > 0.0f ? weight * activity / divisor : 0.0f;
    }
    if (flow->unit) {
        // (dL/dd . u) u with u = d / (||d|| + 1e-6), as src/ml/crosscoder/autoencoder.rs.
        double norm = (double)norms[2 * flow->latent] + 1e-6;
        flow->factors[0] = (float)(-along / (norm * norm));
    }
    return true;
}

// dL/de_j and dL/dd_j, without the penalty's share, at this thread's places of a span of the row: `first`, and BLOCK on. What is read of
// an entry is read once for all of them, and the loads of its places do not wait for one another; each place is summed in the order
// of the entries.
__device__ void take_flow(const Flow* flow, u32 first, float* to_encoder, float* to_decoder) {
    u32 width = flow->width;
#pragma unroll
    for (u32 n = 0; n < EACH; n++) to_encoder[n] = to_decoder[n] = 0;
    if (first >= width) return;
    if (flow->starts) {
#pragma unroll 2
        for (u32 t = flow->first; t < flow->end; t++) {
            u64 at = (u64)flow->rows[t] * width + first;
            const float *written = flow->written + at, *x = flow->x + at;
            float value = flow->values[t], gradient = flow->gradients[t];
#pragma unroll
            for (u32 n = 0; n < EACH; n++) {
                if (first + n * BLOCK >= width) continue;
                to_decoder[n] = fmaf(value, written[n * BLOCK], to_decoder[n]);
                to_encoder[n] = fmaf(gradient, x[n * BLOCK], to_encoder[n]);
            }
        }
    } else {
        u64 at = (u64)flow->latent * width + first;
#pragma unroll
        for (u32 n = 0; n < EACH; n++) {
            if (first + n * BLOCK >= width) continue;
            to_encoder[n] = read_once(flow->dense_encoder + at + n * BLOCK);
            to_decoder[n] = read_once(flow->dense_decoder + at + n * BLOCK);
        }
    }
}

// The share of dL/dd_j at a place that is a multiple of d_j there: 0 where the penalty and the unit norm ask for none.
__device__ float factor_at(const Flow* flow, u32 place) { return place >= flow->half ? flow->factors[1] : flow->factors[0]; }

// The scalars of one step of Adam: see AdamStep.
struct Adam {
    float beta1;
    float beta2;
    float rate;
    float root;
    float epsilon;
    float scale;
};

__device__ float adam(const Adam* step, float weight, float* mean, float* square, float gradient) {
    float g = gradient * step->scale;
    float m = fmaf(1.0f - step->beta1, g, __fmul_rn(step->beta1, *mean));
    if (fabsf(m) < 1e-30f) m = 0.0f;
    float v = fmaf(__fmul_rn(1.0f - step->beta2, g), g, __fmul_rn(step->beta2, *square));
    if (v < 1.17549435e-38f) v = 0.0f;
    *mean = m;
    *square = v;
    return weight - __fmul_rn(step->rate, m) / fmaf(sqrtf(v), step->root, step->epsilon);
}

// The squared norm of each latent's gradient, by spans of its row: squares [D, spans]. Grid (D, spans), as that of `update_latents`. Blocks begin
// in the order of their numbers, so all latents come to a span of the rows before the next: at a time 2 B SPAN numbers of x and G are gathered from,
// 25 MB at B = 2,048, which an L2 of 50 MB keeps; whole rows of W = 4,608 are 75 MB. A latent that is active in every row keeps a block for
// 2,048 entries of one span, two under way at a time: reckoned with 0.5 us from L2 that is half a millisecond, where one place after another were
// 18 times as many turns. Here it could outlast the others (7.5 GB out of L2, 1.4 ms) only in the last span; `update_latents` moves 17 GB
// and lasts 5 ms. So the heavy ones do not begin first. Latents without entries end at once. The decoder is read only where a factor asks for it.
extern "C" __global__ void __launch_bounds__(BLOCK)
gradient_squares(const u32* starts, const u32* rows, const float* values, const float* gradients, const float* x,
                 const float* upstream, const float* auxiliary, const u32* is_auxiliary, const float* dense_encoder,
                 const float* dense_decoder, const float* dense_bias, const float* dense_activity, u32 width, u32 half, u32 unit,
                 const float* decoder, const float* norms, float weight, u32 form, float sae, float cc, double* squares) {
    __shared__ double room[3 * WARPS];
    u32 j = blockIdx.x, span = blockIdx.y;
    u64 out = (u64)j * spans_of(width) + span;
    Flow flow = {starts, rows, values, gradients, x, upstream, auxiliary, is_auxiliary, dense_encoder, dense_decoder,
                 dense_bias, dense_activity, width, half, unit, j};
    CodeNorm norm = {form, sae, cc};
    if (!open_flow(&flow, weight, &norm, norms, room)) {
        if (threadIdx.x == 0) squares[out] = 0;
        return;
    }
    u32 first = span * SPAN + threadIdx.x;
    float to_encoder[EACH], to_decoder[EACH];
    take_flow(&flow, first, to_encoder, to_decoder);
    double own = span == 0 && threadIdx.x == 0 ? (double)flow.bias * flow.bias : 0;
#pragma unroll
    for (u32 n = 0; n < EACH; n++) {
        u32 place = first + n * BLOCK;
        if (place >= width) continue;
        float factor = factor_at(&flow, place);
        if (factor != 0.0f) to_decoder[n] = to_decoder[n] + factor * decoder[(u64)j * width + place];
        own += (double)to_encoder[n] * to_encoder[n] + (double)to_decoder[n] * to_decoder[n];
    }
    double total = block_sum(own, room);
    if (threadIdx.x == 0) squares[out] = total;
}

// A thread's places of a row of weights and of both moments, while they are moved: all are on their way before the first is used.
struct Held {
    float value[EACH];
    float mean[EACH];
    float square[EACH];
};

__device__ void hold(Held* held, const float* value, const float* mean, const float* square, u64 at, u32 count) {
#pragma unroll
    for (u32 n = 0; n < EACH; n++) {
        if (n >= count) continue;
        held->value[n] = read_once(value + at + n * BLOCK);
        held->mean[n] = read_once(mean + at + n * BLOCK);
        held->square[n] = read_once(square + at + n * BLOCK);
    }
}

// Moves them, and puts them back.
__device__ void move_held(Held* held, const Adam* step, const float* gradient, float* value, float* mean, float* square, u64 at,
                          u32 count) {
#pragma unroll
    for (u32 n = 0; n < EACH; n++) {
        if (n >= count) continue;
        held->value[n] = adam(step, held->value[n], &held->mean[n], &held->square[n], gradient[n]);
        write_once(value + at + n * BLOCK, held->value[n]);
        write_once(mean + at + n * BLOCK, held->mean[n]);
        write_once(square + at + n * BLOCK, held->square[n]);
    }
}

// Sums of a span of a latent's row: ||d^base||^2, ||d^tuned||^2, ||e||^2 and ||e - bf16(e)||^2.
#define ROW_SUMS 4

// One step of Adam for each latent that ever had a gradient: encoder and decoder rows, bias, and all moments. Of the new rows the
// sums [D, spans, ROW_SUMS], those of the encoder where it is `measured`, and where it is kept rounded the new row. A latent that never had a
// gradient keeps all that was there. Grid (D, spans); `finish_latents` comes after.
extern "C" __global__ void __launch_bounds__(BLOCK)
update_latents(const u32* starts, const u32* rows, const float* values, const float* gradients, const float* x,
               const float* upstream, const float* auxiliary, const u32* is_auxiliary, const float* dense_encoder,
               const float* dense_decoder, const float* dense_bias, const float* dense_activity, u32 width, u32 half, u32 unit,
               float weight, u32 form, float sae, float cc, float beta1, float beta2, float rate, float root, float epsilon, float scale,
               u32* touched, float* encoder, float* encoder_mean, float* encoder_square, float* decoder, float* decoder_mean,
               float* decoder_square, float* bias, float* bias_mean, float* bias_square, const float* norms, u16* narrow, float* wide,
               u32 tf32, u32 measured, double* sums) {
    __shared__ double room[ROW_SUMS * WARPS];
    u32 j = blockIdx.x, span = blockIdx.y;
    Flow flow = {starts, rows, values, gradients, x, upstream, auxiliary, is_auxiliary, dense_encoder, dense_decoder,
                 dense_bias, dense_activity, width, half, unit, j};
    CodeNorm norm = {form, sae, cc};
    Adam step = {beta1, beta2, rate, root, epsilon, scale};
    Rounded to = {narrow, wide, tf32};
    bool flows = open_flow(&flow, weight, &norm, norms, room);
    // Another span's block may be through already; where it has set `touched` there is a gradient here too.
    if (!flows && !touched[j]) return;
    u32 first = span * SPAN + threadIdx.x, count = first < width ? (width - first - 1) / BLOCK + 1 : 0;
    u64 at = (u64)j * width + first;
    float to_encoder[EACH] = {}, to_decoder[EACH] = {};
    if (flows) take_flow(&flow, first, to_encoder, to_decoder);
    double own[ROW_SUMS] = {};
    Held held;
    hold(&held, encoder, encoder_mean, encoder_square, at, count);
    move_held(&held, &step, to_encoder, encoder, encoder_mean, encoder_square, at, count);
#pragma unroll
    for (u32 n = 0; n < EACH; n++) {
        if (n >= count) continue;
        if (measured) measure_number(&to, at + n * BLOCK, held.value[n], own + 2, own + 3);
        else if (wide || narrow) keep_rounded(&to, at + n * BLOCK, held.value[n]);
    }
    hold(&held, decoder, decoder_mean, decoder_square, at, count);
#pragma unroll
    for (u32 n = 0; n < EACH; n++) {
        float factor = flows ? factor_at(&flow, first + n * BLOCK) : 0.0f;
        if (n < count && factor != 0.0f) to_decoder[n] = to_decoder[n] + factor * held.value[n];
    }
    move_held(&held, &step, to_decoder, decoder, decoder_mean, decoder_square, at, count);
#pragma unroll
    for (u32 n = 0; n < EACH; n++) {
        if (n < count) add_square(own, first + n * BLOCK >= half, held.value[n]);
    }
    if (measured) block_sums<ROW_SUMS>(own, room);
    else block_sums<2>(own, room);
    if (threadIdx.x != 0) return;
    double* out = sums + ((u64)j * spans_of(width) + span) * ROW_SUMS;
    for (u32 i = 0; i < ROW_SUMS; i++) out[i] = own[i];
    if (span != 0) return;
    touched[j] = 1;
    bias[j] = adam(&step, bias[j], bias_mean + j, bias_square + j, flows ? flow.bias : 0.0f);
}

// One of the sums of a row over its spans.
__device__ double row_sum(const double* sums, u32 latent, u32 spans, u32 which) {
    double total = 0;
    for (u32 span = 0; span < spans; span++) total += sums[((u64)latent * spans + span) * ROW_SUMS + which];
    return total;
}

// Decoder vectors [D, W] of an autoencoder at norm 1: d / (||d|| + the f32 machine epsilon), and the square sum of what comes out in the place of
// the old one. Grid D, between `update_latents` and `finish_latents`.
extern "C" __global__ void __launch_bounds__(BLOCK)
normalize_latents(const u32* touched, u32 width, float* decoder, double* sums) {
    __shared__ double room[WARPS];
    u32 j = blockIdx.x, spans = spans_of(width);
    if (!touched[j]) return;
    float norm = (float)sqrt(row_sum(sums, j, spans, 0)) + 1.1920929e-7f;
    for (u32 span = 0; span < spans; span++) {
        double own = 0;
        for (u32 n = 0; n < EACH; n++) {
            u32 place = span * SPAN + n * BLOCK + threadIdx.x;
            if (place >= width) continue;
            float now = decoder[(u64)j * width + place] / norm;
            decoder[(u64)j * width + place] = now;
            own += (double)now * now;
        }
        // Every thread has read the old sums before the first waits here.
        double total = block_sum(own, room);
        if (threadIdx.x == 0) sums[((u64)j * spans + span) * ROW_SUMS] = total;
    }
}

// What follows from the sums of the rows that were moved: decoder norms [D, 2], S [D], and where they are asked for the sizes [D, 2] of the encoder's
// rows. The first latent whose norms are not finite goes into `broken`. Grid D / BLOCK.
extern "C" __global__ void __launch_bounds__(BLOCK)
finish_latents(const u32* touched, const double* sums, u32 latents, u32 width, u32 form, float sae, float cc, float* norms,
               float* scales, float* sizes, u32* broken) {
    u32 j = blockIdx.x * BLOCK + threadIdx.x, spans = spans_of(width);
    if (j >= latents || !touched[j]) return;
    CodeNorm norm = {form, sae, cc};
    float base = (float)sqrt(row_sum(sums, j, spans, 0)), tuned = (float)sqrt(row_sum(sums, j, spans, 1));
    norms[2 * j] = base;
    norms[2 * j + 1] = tuned;
    scales[j] = code_norm(&norm, base, tuned);
    if (sizes) put_sizes(sizes + 2 * (u64)j, row_sum(sums, j, spans, 2), row_sum(sums, j, spans, 3));
    if (!isfinite(base) || !isfinite(tuned)) atomicMin(broken, j);
}

// One step of Adam for n numbers. Grid n / BLOCK.
extern "C" __global__ void __launch_bounds__(BLOCK)
update_vector(const float* gradient, u32 n, float beta1, float beta2, float rate, float root, float epsilon, float scale,
              float* value, float* mean, float* square) {
    u32 i = blockIdx.x * BLOCK + threadIdx.x;
    if (i >= n) return;
    Adam step = {beta1, beta2, rate, root, epsilon, scale};
    value[i] = adam(&step, value[i], mean + i, square + i, gradient[i]);
}

// Decoder norms [D, 2] and S [D] of a decoder [D, W], to the bits of `finish_latents`. Grid D.
extern "C" __global__ void __launch_bounds__(BLOCK)
measure_norms(const float* decoder, u32 width, u32 half, u32 form, float sae, float cc, float* norms, float* scales) {
    __shared__ double room[2 * WARPS];
    u32 j = blockIdx.x;
    double squares[2] = {0, 0};
    for (u32 span = 0; span < spans_of(width); span++) {
        double own[2] = {0, 0};
        for (u32 n = 0; n < EACH; n++) {
            u32 place = span * SPAN + n * BLOCK + threadIdx.x;
            if (place >= width) continue;
            float value = decoder[(u64)j * width + place];
            add_square(own, place >= half, value);
        }
        block_sums<2>(own, room);
        squares[0] += own[0];
        squares[1] += own[1];
    }
    if (threadIdx.x == 0) {
        CodeNorm norm = {form, sae, cc};
        float base = (float)sqrt(squares[0]), tuned = (float)sqrt(squares[1]);
        norms[2 * j] = base;
        norms[2 * j + 1] = tuned;
        scales[j] = code_norm(&norm, base, tuned);
    }
}

// What flows back through the encoder of each latent: the sum of its entries' gradients, in the order of their rows, flows [D].
// Grid D / BLOCK.
extern "C" __global__ void __launch_bounds__(BLOCK)
sum_flows(const u32* starts, const float* gradients, u32 latents, float* flows) {
    u32 j = blockIdx.x * BLOCK + threadIdx.x;
    if (j >= latents) return;
    double sum = 0;
    for (u32 t = starts[j]; t < starts[j + 1]; t++) sum += gradients[t];
    flows[j] = (float)sum;
}

// sum_j flow_j e_j over each `chunk` of latents of an encoder [D, W]: partial [chunks, W]; grid (chunks, W / BLOCK).
extern "C" __global__ void __launch_bounds__(BLOCK)
flow_partials(const float* encoder, const float* flows, u32 latents, u32 width, u32 chunk, double* partial) {
    u32 column = blockIdx.y * BLOCK + threadIdx.x;
    if (column >= width) return;
    u32 first = blockIdx.x * chunk;
    double sum = 0;
    for (u32 j = first; j < first + chunk && j < latents; j++) {
        float flow = flows[j];
        if (flow != 0.0f) sum += (double)flow * encoder[(u64)j * width + column];
    }
    partial[(u64)blockIdx.x * width + column] = sum;
}

// gradient [n] less `through`. Grid n / BLOCK.
extern "C" __global__ void __launch_bounds__(BLOCK) subtract_through(float* gradient, const double* through, u32 n) {
    u32 i = blockIdx.x * BLOCK + threadIdx.x;
    if (i < n) gradient[i] = (float)((double)gradient[i] - through[i]);
}

// What the encoder of an autoencoder reads: x - b_dec of rows [B, W]. Grid (B, W / BLOCK).
extern "C" __global__ void __launch_bounds__(BLOCK) subtract_bias(const float* x, const float* bias, u32 width, float* out) {
    u32 column = blockIdx.y * BLOCK + threadIdx.x;
    if (column >= width) return;
    u64 at = (u64)blockIdx.x * width + column;
    out[at] = x[at] - bias[column];
}
