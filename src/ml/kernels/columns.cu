// A sparse code turned round, as src/ml/kernels/columns.rs: for each latent the rows in which it is active, ascending. The
// rows are cut into chunks; each chunk counts its entries of each latent, so every entry's place is known before any is put
// there. And what follows from who fired.

// Marks the latents of all entries in `fired`, those with f over `active` in `strong` [D]. Grid B.
extern "C" __global__ void __launch_bounds__(BLOCK)
mark_fired(const u32* offsets, const u32* latents, const float* values, float active, u32* fired, u32* strong) {
    for (u32 t = offsets[blockIdx.x] + threadIdx.x; t < offsets[blockIdx.x + 1]; t += BLOCK) {
        fired[latents[t]] = 1;
        if (values[t] > active) strong[latents[t]] = 1;
    }
}

// Counts on (or back to 0) for how long each latent has not fired, and says which are dead now. Grid D / BLOCK.
extern "C" __global__ void __launch_bounds__(BLOCK)
count_idle(const u32* fired, const u32* strong, u32 latents, u64 rows, u64 dead_after, u64* idle_tokens, u64* idle_steps,
           u32* dead) {
    u32 j = blockIdx.x * BLOCK + threadIdx.x;
    if (j >= latents) return;
    u64 tokens = fired[j] ? 0 : idle_tokens[j] + rows;
    idle_tokens[j] = tokens;
    idle_steps[j] = strong[j] ? 0 : idle_steps[j] + 1;
    dead[j] = tokens >= dead_after;
}

// Lists the flagged ones of n, ascending; `before` [n + 1] counts the flags before each. Grid n / BLOCK.
extern "C" __global__ void __launch_bounds__(BLOCK) list_flagged(const u32* flags, const u32* before, u32 n, u32* list) {
    u32 i = blockIdx.x * BLOCK + threadIdx.x;
    if (i < n && flags[i]) list[before[i]] = i;
}

// Adds the entries of each chunk of rows to its counts [chunks, D]. Grid chunks.
extern "C" __global__ void __launch_bounds__(BLOCK)
count_entries(const u32* offsets, const u32* latents, u32 rows, u32 chunk, u32 of, u32* counts) {
    u32 first = blockIdx.x * chunk, last = first + chunk < rows ? first + chunk : rows;
    for (u32 t = offsets[first] + threadIdx.x; t < offsets[last]; t += BLOCK)
        atomicAdd(&counts[(u64)blockIdx.x * of + latents[t]], 1u);
}

// Turns the counts of each latent into those of the chunks before, and their sum into totals [D]. Grid D / BLOCK.
extern "C" __global__ void __launch_bounds__(BLOCK) sum_chunks(u32* counts, u32 chunks, u32 latents, u32* totals) {
    u32 j = blockIdx.x * BLOCK + threadIdx.x;
    if (j >= latents) return;
    u32 sum = 0;
    for (u32 chunk = 0; chunk < chunks; chunk++) {
        u64 at = (u64)chunk * latents + j;
        u32 count = counts[at];
        counts[at] = sum;
        sum += count;
    }
    totals[j] = sum;
}

// Puts every entry at its place: `starts` [D + 1] is where each latent's entries begin. Rows of a chunk go one after the
// other, and no row names a latent twice. The gradients may be left out. Grid chunks.
extern "C" __global__ void __launch_bounds__(BLOCK)
place_entries(const u32* offsets, const u32* latents, const float* values, const float* gradients, u32 rows, u32 chunk,
              u32 of, const u32* starts, u32* counts, u32* out_rows, float* out_values, float* out_gradients) {
    u32 first = blockIdx.x * chunk, last = first + chunk < rows ? first + chunk : rows;
    for (u32 row = first; row < last; row++) {
        for (u32 t = offsets[row] + threadIdx.x; t < offsets[row + 1]; t += BLOCK) {
            u32 latent = latents[t];
            u64 counted = (u64)blockIdx.x * of + latent;
            u32 slot = starts[latent] + counts[counted];
            counts[counted] += 1;
            out_rows[slot] = row;
            out_values[slot] = values[t];
            if (gradients) out_gradients[slot] = gradients[t];
        }
        __syncthreads();
    }
}
