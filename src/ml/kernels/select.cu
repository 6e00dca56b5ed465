// From products to a sparse code: which latents stay active (docs/method.md 1.4), as src/ml/kernels/select.rs.
//
// products [B, stride] are x W_enc without the bias; an entry's value is p + b and its score (p + b) S. Scores over 0
// compare like their bits, so the k-th largest is found digit by digit with counts alone: 11 bits, 10, 10.

#define BINS 2048
#define NOTHING 0xffffffffu
#define INFINITE 0x7f800000u
// Rows that a block goes through side by side, so that what belongs to a latent (16 bytes beside the 4 of a product) is read once for them.
#define ROWS 4

// What a block looks at: one row, once it is opened. Without norms S is 1; with thresholds [D] a value at most its threshold is no
// score; with `among`, place i of a row is latent among[i]. With `offsets` [B + 1] the products are those of entries alone, whose
// latents are `among`. With `slopes` [B, 3] and `sizes` [D, 2] the products are near others, and the scores are those of the
// smallest that these can be (scores.cu).
struct Scored {
    const float* products;
    const float* bias;
    const float* norms;
    const float* thresholds;
    const u32* among;
    const u32* offsets;
    const float* slopes;
    const float* sizes;
    u32 stride;
    u32 count;
};

__device__ void open_row(Scored* of, u32 row) {
    if (of->offsets) {
        u32 first = of->offsets[row];
        of->products += first;
        of->among += first;
        of->count = of->offsets[row + 1] - first;
    } else {
        of->products += (u64)row * of->stride;
    }
    if (of->slopes) of->slopes += (u64)3 * row;
}

__device__ u32 latent_of(const Scored* of, u32 place) { return of->among ? of->among[place] : place; }

// What the scores of a latent are made of.
struct Latent {
    float bias;
    float norm;
    float threshold;
    float sizes[2];
};

__device__ Latent open_latent(const Scored* of, u32 latent) {
    Latent at = {of->bias[latent], of->norms ? of->norms[latent] : 1.0f, of->thresholds ? of->thresholds[latent] : 0.0f, {0, 0}};
    if (of->slopes) {
        at.sizes[0] = of->sizes[(u64)2 * latent];
        at.sizes[1] = of->sizes[(u64)2 * latent + 1];
    }
    return at;
}

// How far a product may be from the one that counts: `slopes` are those of its row.
__device__ float margin_of(const float* slopes, const Latent* at) {
    return slopes[0] * at->sizes[0] + slopes[1] * at->sizes[1] + slopes[2];
}

// The value of an entry; with `slopes` the smallest that it can be.
__device__ float value_of(float product, const float* slopes, const Latent* at) {
    if (slopes) product = product - margin_of(slopes, at);
    return __fadd_rn(product, at->bias);
}

// Bits of a score over 0; 0 of all others and of what is no number.
__device__ u32 score_bits(const Scored* of, float value, const Latent* at) {
    float score = of->norms ? __fmul_rn(value, at->norm) : value;
    if (of->thresholds && !(value > at->threshold)) return 0;
    if (of->slopes && !(at->norm >= 0.0f)) return 0;
    return score > 0.0f ? __float_as_uint(score) : 0;
}

// Bits of the largest score that an entry can have, of those over 0; the largest of all where the margin is no number.
__device__ u32 largest_bits(const Scored* of, float product, const float* slopes, const Latent* at) {
    float value = __fadd_rn(product + margin_of(slopes, at), at->bias);
    float score = of->norms ? __fmul_rn(value, at->norm) : value;
    if (!(at->norm >= 0.0f) || !(score <= 3.402823466e+38f)) return INFINITE;
    return score > 0.0f ? __float_as_uint(score) : 0;
}

// The value and the bits of the score at a place of the opened row.
__device__ u32 score_at(const Scored* of, u32 place, u32 latent, float* value) {
    Latent at = open_latent(of, latent);
    *value = value_of(of->products[of->offsets ? place : latent], of->slopes, &at);
    return score_bits(of, *value, &at);
}

__device__ u32 digit_shift(u32 pass) { return 20 - 10 * pass; }

// Counts a digit of a score: of the scores whose higher digits are those of `prefix`.
__device__ void count_digit(u32 bits, u32 pass, u32 prefix, u32* counts) {
    u32 shift = digit_shift(pass), mask = pass == 0 ? 2047 : 1023;
    if (bits != 0 && (pass == 0 || bits >> (shift + 10) == prefix)) atomicAdd(&counts[(bits >> shift) & mask], 1u);
}

// Adds the opened row to the counts.
__device__ void count_digits(const Scored* of, u32 pass, u32 prefix, u32* counts) {
    float value;
    for (u32 place = threadIdx.x; place < of->count; place += BLOCK)
        count_digit(score_at(of, place, latent_of(of, place), &value), pass, prefix, counts);
}

// The products of a latent in ROWS rows from `first` on; what is over `rows` is not read.
__device__ void load_products(const Scored* of, u32 first, u32 rows, u32 latent, float* products) {
#pragma unroll
    for (u32 r = 0; r < ROWS; r++)
        products[r] = first + r < rows ? of->products[(u64)(first + r) * of->stride + latent] : 0.0f;
}

// A search: `prefix` are the digits found of the wanted-th largest score, `wanted` is what is left to take among the
// scores with that prefix. After the last digit they are the score's bits and the number of its equals that stay.
// `done` is set when every score stays (prefix 0, wanted 0) or none does (prefix NOTHING).
struct Search {
    u32 prefix;
    u32 wanted;
    u32 done;
};

// Takes the next digit from its counts. For whole blocks; `room` is shared memory for BLOCK numbers, `search` is shared.
__device__ void narrow(Search* search, u32 pass, const u32* counts, u32* room) {
    u32 each = BINS / BLOCK, own = 0;
    for (u32 i = 0; i < each; i++) own += counts[threadIdx.x * each + i];
    room[threadIdx.x] = own;
    __syncthreads();
    if (threadIdx.x == 0 && !search->done) {
        u32 total = 0;
        for (u32 i = 0; i < BLOCK; i++) total += room[i];
        if (pass == 0 && search->wanted == 0) {
            search->prefix = NOTHING;
            search->done = 1;
        } else if (pass == 0 && total <= search->wanted) {
            search->prefix = 0;
            search->wanted = 0;
            search->done = 1;
        } else {
            u32 part = BLOCK - 1, left = search->wanted;
            while (room[part] < left) left -= room[part--];
            u32 bin = part * each + each - 1;
            while (counts[bin] < left) left -= counts[bin--];
            search->prefix = pass == 0 ? bin : search->prefix << 10 | bin;
            search->wanted = left;
        }
    }
    __syncthreads();
}

// Adds every row's scores to the counts [BINS] of a digit; grid B / ROWS.
extern "C" __global__ void __launch_bounds__(BLOCK)
score_histogram(const float* products, const float* bias, const float* norms, const u32* among, const u32* offsets,
                const float* slopes, const float* sizes, u32 rows, u32 latents, const u32* search, u32 pass, u32* counts) {
    __shared__ u32 own[BINS];
    if (search[2]) return;
    for (u32 bin = threadIdx.x; bin < BINS; bin += BLOCK) own[bin] = 0;
    __syncthreads();
    Scored all = {products, bias, norms, 0, among, offsets, slopes, sizes, latents, latents};
    u32 first = blockIdx.x * ROWS, prefix = search[0];
    if (offsets) {
        for (u32 row = first; row < first + ROWS && row < rows; row++) {
            Scored of = all;
            open_row(&of, row);
            count_digits(&of, pass, prefix, own);
        }
    } else {
        for (u32 place = threadIdx.x; place < latents; place += BLOCK) {
            u32 latent = latent_of(&all, place);
            Latent at = open_latent(&all, latent);
            float near[ROWS];
            load_products(&all, first, rows, latent, near);
#pragma unroll
            for (u32 r = 0; r < ROWS; r++) {
                if (first + r >= rows) continue;
                float value = value_of(near[r], slopes ? slopes + (u64)3 * (first + r) : 0, &at);
                count_digit(score_bits(&all, value, &at), pass, prefix, own);
            }
        }
    }
    __syncthreads();
    for (u32 bin = threadIdx.x; bin < BINS; bin += BLOCK)
        if (own[bin]) atomicAdd(&counts[bin], own[bin]);
}

// Starts a search, or states the one bound of all rows, and forgets the smallest kept score where that is given. One block.
extern "C" __global__ void __launch_bounds__(BLOCK) start_search(u32* search, u32 prefix, u32 wanted, u32* least) {
    if (threadIdx.x != 0) return;
    search[0] = prefix;
    search[1] = wanted;
    search[2] = 0;
    if (least) least[0] = NOTHING;
}

// Takes the next digit of the search over a batch and clears the counts. After the last of so many `digits` the others count as 0: the bits of
// the score that was looked for, or (of fewer than all) of the smallest that begins as it does. One block.
extern "C" __global__ void __launch_bounds__(BLOCK) narrow_search(u32* search, u32 pass, u32 digits, u32* counts) {
    __shared__ u32 room[BLOCK];
    __shared__ Search here;
    if (threadIdx.x == 0) {
        here.prefix = search[0];
        here.wanted = search[1];
        here.done = search[2];
    }
    __syncthreads();
    narrow(&here, pass, counts, room);
    if (threadIdx.x == 0) {
        search[0] = pass + 1 == digits && !here.done ? here.prefix << digit_shift(pass) : here.prefix;
        search[1] = here.wanted;
        search[2] = here.done;
    }
    for (u32 bin = threadIdx.x; bin < BINS; bin += BLOCK) counts[bin] = 0;
}

// Of each row, the bits of its `keep`-th largest score (but for `digits`, as `narrow_search`), how many of its equals stay, and how many entries stay; grid B.
extern "C" __global__ void __launch_bounds__(BLOCK)
row_cuts(const float* products, const float* bias, const float* norms, const u32* among, const u32* offsets,
         const float* slopes, const float* sizes, u32 stride, u32 count, u32 keep, u32 digits, u32* bounds, u32* allowed,
         u32* kept) {
    __shared__ u32 counts[BINS];
    __shared__ u32 room[BLOCK];
    __shared__ Search search;
    __shared__ u32 total;
    Scored of = {products, bias, norms, 0, among, offsets, slopes, sizes, stride, count};
    open_row(&of, blockIdx.x);
    if (threadIdx.x == 0) {
        search.prefix = 0;
        search.wanted = keep;
        search.done = 0;
    }
    for (u32 pass = 0; pass < digits; pass++) {
        for (u32 bin = threadIdx.x; bin < BINS; bin += BLOCK) counts[bin] = 0;
        __syncthreads();
        count_digits(&of, pass, search.prefix, counts);
        __syncthreads();
        if (pass == 0 && threadIdx.x == 0) {
            total = 0;
            for (u32 bin = 0; bin < BINS; bin++) total += counts[bin];
        }
        narrow(&search, pass, counts, room);
        if (search.done) break;
    }
    if (threadIdx.x == 0) {
        bounds[blockIdx.x] = search.done ? search.prefix : search.prefix << digit_shift(digits - 1);
        allowed[blockIdx.x] = search.done ? 0 : search.wanted;
        kept[blockIdx.x] = total < keep ? total : keep;
    }
}

// Of each row, how many scores are over the bound (bits) and how many equal it; grid B.
extern "C" __global__ void __launch_bounds__(BLOCK)
count_scores(const float* products, const float* bias, const float* norms, const float* thresholds, const u32* among,
             const u32* offsets, u32 latents, const u32* bound, u32* over, u32* equal) {
    __shared__ u32 room[WARPS];
    Scored of = {products, bias, norms, thresholds, among, offsets, 0, 0, latents, latents};
    open_row(&of, blockIdx.x);
    u32 limit = bound[0], above = 0, same = 0, all;
    for (u32 place = threadIdx.x; place < of.count; place += BLOCK) {
        float value;
        u32 bits = score_at(&of, place, latent_of(&of, place), &value);
        above += bits > limit;
        same += bits == limit && bits != 0;
    }
    block_prefix(above, room, &all);
    if (threadIdx.x == 0) over[blockIdx.x] = all;
    block_prefix(same, room, &all);
    if (threadIdx.x == 0) equal[blockIdx.x] = all;
}

// Deals the `search[1]` equals that stay to the rows in order: of a row those that are left after the `before` of the
// rows above; grid B / BLOCK.
extern "C" __global__ void __launch_bounds__(BLOCK)
allow_equals(const u32* search, const u32* over, const u32* equal, const u32* before, u32 rows, u32* allowed, u32* kept) {
    u32 row = blockIdx.x * BLOCK + threadIdx.x;
    if (row >= rows) return;
    u32 wanted = search[1], left = wanted > before[row] ? wanted - before[row] : 0;
    u32 here = left < equal[row] ? left : equal[row];
    allowed[row] = here;
    kept[row] = over[row] + here;
}

// Writes what stays of each row, ascending: scores over the row's bound, and the first `allowed` that equal it. `step`
// is 1 for a bound a row, 0 for one bound. The smallest kept score goes into `least` (bits). Grid B.
extern "C" __global__ void __launch_bounds__(BLOCK)
write_code(const float* products, const float* bias, const float* norms, const float* thresholds, const u32* among,
           const u32* places, u32 stride, u32 count, const u32* bounds, u32 step, const u32* allowed, const u32* offsets,
           u32* latents, float* values, u32* least) {
    __shared__ u32 room[WARPS];
    Scored of = {products, bias, norms, thresholds, among, places, 0, 0, stride, count};
    open_row(&of, blockIdx.x);
    u32 row = blockIdx.x, limit = bounds[row * step], allow = allowed[row], at = offsets[row];
    u32 over_before = 0, equal_before = 0, smallest = NOTHING;
    for (u32 tile = 0; tile < of.count; tile += BLOCK) {
        u32 place = tile + threadIdx.x, bits = 0, latent = 0, total;
        float value = 0;
        if (place < of.count) {
            latent = latent_of(&of, place);
            bits = score_at(&of, place, latent, &value);
        }
        u32 is_over = bits > limit, is_equal = bits == limit && bits != 0;
        // Two counts of at most BLOCK in one number.
        u32 before = block_prefix(is_over << 16 | is_equal, room, &total);
        u32 over = over_before + (before >> 16), equal = equal_before + (before & 0xffff);
        if (is_over || (is_equal && equal < allow)) {
            u32 slot = at + over + (equal < allow ? equal : allow);
            latents[slot] = latent;
            values[slot] = value;
            smallest = bits < smallest ? bits : smallest;
        }
        over_before += total >> 16;
        equal_before += total & 0xffff;
    }
    if (least && smallest != NOTHING) atomicMin(least, smallest);
}
