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

// Prepares the flow of a latent; false when it has no gradient. For whole blocks.
__device__ bool open_flow(Flow* flow, float weight, const CodeNorm* norm, const float* norms, double* room) {
    float activity;
    double along = 0;
    if (flow->starts) {
        flow->first = flow->starts[flow->latent];
        flow->end = flow->starts[flow->latent + 1];
        if (flow->first == flow->end) return false;
        flow->written = flow->is_auxiliary && flow->is_auxiliary[flow->latent] ? flow->auxiliary : flow->upstream;
        double values = 0, gradients = 0;
        for (u32 t = flow->first + threadIdx.x; t < flow->end; t += BLOCK) {
            values += flow->values[t];
            gradients += flow->gradients[t];
            // G_i . d_j is the gradient of the entry.
            along += (double)flow->values[t] * flow->gradients[t];
        }
        activity = (float)block_sum(values, room);
        flow->bias = (float)block_sum(gradients, room);
        if (flow->unit) along = block_sum(along, room);
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

// dL/de_j and dL/dd_j at one place of the row.
__device__ void flow_at(const Flow* flow, u32 place, float weight, float* encoder, float* decoder) {
    float to_encoder = 0, to_decoder = 0;
    if (flow->starts) {
        for (u32 t = flow->first; t < flow->end; t++) {
            u64 at = (u64)flow->rows[t] * flow->width + place;
            to_decoder = fmaf(flow->values[t], flow->written[at], to_decoder);
            to_encoder = fmaf(flow->gradients[t], flow->x[at], to_encoder);
        }
    } else {
        u64 at = (u64)flow->latent * flow->width + place;
        to_encoder = flow->dense_encoder[at];
        to_decoder = flow->dense_decoder[at];
    }
    float factor = flow->factors[place >= flow->half];
    *encoder = to_encoder;
    *decoder = factor != 0.0f ? to_decoder + factor * weight : to_decoder;
}

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

// The squared norm of each latent's gradient, squares [D]. Grid D.
extern "C" __global__ void __launch_bounds__(BLOCK)
gradient_squares(const u32* starts, const u32* rows, const float* values, const float* gradients, const float* x,
                 const float* upstream, const float* auxiliary, const u32* is_auxiliary, const float* dense_encoder,
                 const float* dense_decoder, const float* dense_bias, const float* dense_activity, u32 width, u32 half, u32 unit,
                 const float* decoder, const float* norms, float weight, u32 form, float sae, float cc, double* squares) {
    __shared__ double room[WARPS];
    Flow flow = {starts, rows, values, gradients, x, upstream, auxiliary, is_auxiliary, dense_encoder, dense_decoder,
                 dense_bias, dense_activity, width, half, unit, blockIdx.x};
    CodeNorm norm = {form, sae, cc};
    if (!open_flow(&flow, weight, &norm, norms, room)) {
        if (threadIdx.x == 0) squares[blockIdx.x] = 0;
        return;
    }
    double own = threadIdx.x == 0 ? (double)flow.bias * flow.bias : 0;
    for (u32 place = threadIdx.x; place < width; place += BLOCK) {
        float to_encoder, to_decoder;
        flow_at(&flow, place, decoder[(u64)blockIdx.x * width + place], &to_encoder, &to_decoder);
        own += (double)to_encoder * to_encoder + (double)to_decoder * to_decoder;
    }
    double total = block_sum(own, room);
    if (threadIdx.x == 0) squares[blockIdx.x] = total;
}

// One step of Adam for each latent that ever had a gradient: encoder and decoder rows, bias, all moments, the new decoder norms
// [D, 2] and S [D]. The first latent whose norms are not finite goes into `broken`. Grid D.
extern "C" __global__ void __launch_bounds__(BLOCK)
update_latents(const u32* starts, const u32* rows, const float* values, const float* gradients, const float* x,
               const float* upstream, const float* auxiliary, const u32* is_auxiliary, const float* dense_encoder,
               const float* dense_decoder, const float* dense_bias, const float* dense_activity, u32 width, u32 half, u32 unit,
               float weight, u32 form, float sae, float cc, float beta1, float beta2, float rate, float root, float epsilon, float scale,
               u32* touched, float* encoder, float* encoder_mean, float* encoder_square, float* decoder, float* decoder_mean,
               float* decoder_square, float* bias, float* bias_mean, float* bias_square, float* norms, float* scales,
               u32* broken) {
    __shared__ double room[WARPS];
    u32 j = blockIdx.x;
    Flow flow = {starts, rows, values, gradients, x, upstream, auxiliary, is_auxiliary, dense_encoder, dense_decoder,
                 dense_bias, dense_activity, width, half, unit, j};
    CodeNorm norm = {form, sae, cc};
    Adam step = {beta1, beta2, rate, root, epsilon, scale};
    bool flows = open_flow(&flow, weight, &norm, norms, room);
    if (!flows && !touched[j]) return;
    double squares[2] = {0, 0};
    for (u32 place = threadIdx.x; place < width; place += BLOCK) {
        u64 at = (u64)j * width + place;
        float to_encoder = 0, to_decoder = 0;
        if (flows) flow_at(&flow, place, decoder[at], &to_encoder, &to_decoder);
        encoder[at] = adam(&step, encoder[at], encoder_mean + at, encoder_square + at, to_encoder);
        float now = adam(&step, decoder[at], decoder_mean + at, decoder_square + at, to_decoder);
        decoder[at] = now;
        squares[place >= half] += (double)now * now;
    }
    float base = (float)sqrt(block_sum(squares[0], room)), tuned = (float)sqrt(block_sum(squares[1], room));
    if (unit) {
        // d / (||d|| + the f32 machine epsilon); each thread goes over its own places.
        double square = 0;
        float norm = base + 1.1920929e-7f;
        for (u32 place = threadIdx.x; place < width; place += BLOCK) {
            u64 at = (u64)j * width + place;
            float now = decoder[at] / norm;
            decoder[at] = now;
            square += (double)now * now;
        }
        base = (float)sqrt(block_sum(square, room));
    }
    if (threadIdx.x == 0) {
        touched[j] = 1;
        bias[j] = adam(&step, bias[j], bias_mean + j, bias_square + j, flows ? flow.bias : 0.0f);
        norms[2 * j] = base;
        norms[2 * j + 1] = tuned;
        scales[j] = code_norm(&norm, base, tuned);
        if (!isfinite(base) || !isfinite(tuned)) atomicMin(broken, j);
    }
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

// Decoder norms [D, 2] and S [D] of a decoder [D, W]. Grid D.
extern "C" __global__ void __launch_bounds__(BLOCK)
measure_norms(const float* decoder, u32 width, u32 half, u32 form, float sae, float cc, float* norms, float* scales) {
    __shared__ double room[WARPS];
    u32 j = blockIdx.x;
    double squares[2] = {0, 0};
    for (u32 place = threadIdx.x; place < width; place += BLOCK) {
        float value = decoder[(u64)j * width + place];
        squares[place >= half] += (double)value * value;
    }
    float base = (float)sqrt(block_sum(squares[0], room)), tuned = (float)sqrt(block_sum(squares[1], room));
    if (threadIdx.x == 0) {
        CodeNorm norm = {form, sae, cc};
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
