// What tensor cores do. The tests have their own of both (tests/cuda/emulator.h).
//
// A warp multiplies A [16, 16] by B [16, 8], both bf16, and adds the product to C [16, 8] in f32. Of the matrices each lane has a fragment,
// two numbers of bf16 in a register, the first in the low bits. Lane 4 g + t has
//   a[0], a[1]  of A rows g and g + 8, columns 2 t and 2 t + 1;  a[2], a[3]  the same rows, columns 2 t + 8 and 2 t + 9
//   b[0], b[1]  of B rows 2 t and 2 t + 1, and 2 t + 8 and 2 t + 9, column g
//   c[0], c[1]  of C row g, columns 2 t and 2 t + 1;  c[2], c[3]  the same of row g + 8
// (PTX ISA, "Matrix Fragments for mma.m16n8k16 with floating point type").
#ifndef EMULATOR
__device__ __forceinline__ void multiply_bf16(float* c, const u32* a, const u32* b) {
#if __CUDA_ARCH__ >= 800
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
                 : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
#endif
}

// The nearest bf16 of each, ties to even, the first in the low bits.
__device__ __forceinline__ u32 narrow_pair(float low, float high) {
    u32 pair = 0;
#if __CUDA_ARCH__ >= 800
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(high), "f"(low));
#endif
    return pair;
}
#endif
