// Runs CUDA kernels on the CPU: what a kernel's text needs of CUDA, in C++. Each thread of a block is a fiber that runs until
// it waits at a barrier or for its warp; blocks run one after the other. Shared memory is filled with numbers that are none
// before each block. What a real card would leave undefined ends the launch with a message: threads that wait at different
// barriers, or that ended while others wait. Threads and blocks may run backwards, which must not change a bit.
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <type_traits>
#if !defined(__x86_64__)
#include <ucontext.h>
#endif

#define EMULATOR
#define __global__
#define __device__ static inline
#define __shared__ static __attribute__((section("shared_memory")))
#define __restrict__ __restrict
#define __forceinline__ inline
#define __launch_bounds__(threads)

// The bounds of the section, laid out by the linker; `pad` makes sure that there is one.
extern "C" {
extern unsigned char __start_shared_memory[] __attribute__((visibility("hidden")));
extern unsigned char __stop_shared_memory[] __attribute__((visibility("hidden")));
}
static __attribute__((section("shared_memory"), used)) unsigned char emulator_pad[8];

struct Three {
    unsigned x, y, z;
};

struct alignas(16) uint4 {
    unsigned x, y, z, w;
};

#if defined(__x86_64__)
// Keeps the registers that a call must keep on the stack that it leaves, and takes them from the one it goes to.
extern "C" void emulator_switch(void** from, void* to) __attribute__((visibility("hidden")));
__asm__(
    ".text\n.hidden emulator_switch\n.globl emulator_switch\n.type emulator_switch, @function\nemulator_switch:\n"
    "push %rbp\npush %rbx\npush %r12\npush %r13\npush %r14\npush %r15\n"
    "mov %rsp, (%rdi)\nmov %rsi, %rsp\n"
    "pop %r15\npop %r14\npop %r13\npop %r12\npop %rbx\npop %rbp\nret\n"
    ".size emulator_switch, . - emulator_switch\n");
#endif

namespace emulator {

// Stacks that are a power of two apart would share the lines of a cache.
const unsigned THREADS = 256, LANES = 32, STACK = (64 << 10) + 320;

enum Wait { NOTHING, BLOCK_BARRIER, WARP_BARRIER };

#if defined(__x86_64__)
typedef void* Context;
static inline void switch_to(Context* from, Context* to) { emulator_switch(from, *to); }
static void prepare(Context* context, unsigned char* stack, void (*main)()) {
    void** top = (void**)(((size_t)stack + STACK - 64) & ~(size_t)15);
    *top = (void*)main;
    for (int i = 1; i <= 6; i++) top[-i] = 0;
    *context = top - 6;
}
#else
typedef ucontext_t Context;
static inline void switch_to(Context* from, Context* to) { swapcontext(from, to); }
static void prepare(Context* context, unsigned char* stack, void (*main)()) {
    getcontext(context);
    context->uc_stack.ss_sp = stack;
    context->uc_stack.ss_size = STACK;
    context->uc_link = 0;
    makecontext(context, main, 0);
}
#endif

struct Fiber {
    Context context;
    bool begun, done;
    Wait wait;
    int line;
};

// A lane's part of a product of matrices.
struct Fragments {
    float* c;
    const unsigned *a, *b;
};

struct Exchange {
    unsigned long long values[2][LANES];
    Fragments fragments[LANES];
    unsigned arrived, turn;
};

static Fiber fibers[THREADS];
static Exchange warps[THREADS / LANES];
static unsigned char* stacks = 0;
static Context scheduler;
static unsigned current, arrived;
static Three thread_index, block_index, grid_size;
static bool backwards = false;
static char problem[512];
static void (*body)(void**);
static void** arguments;

static void fiber_main();

// The next thread that can go on, in the order of the launch; THREADS when none can.
static unsigned next_after(unsigned thread) {
    for (unsigned i = 0; i < THREADS; i++) {
        thread = (backwards ? thread + THREADS - 1 : thread + 1) % THREADS;
        if (!fibers[thread].done && fibers[thread].wait == NOTHING) return thread;
    }
    return THREADS;
}

static void go_on(Context* from, unsigned thread) {
    if (thread == THREADS || problem[0]) {
        if (from != &scheduler) switch_to(from, &scheduler);
        return;
    }
    current = thread;
    thread_index.x = thread;
    Fiber& fiber = fibers[thread];
    if (!fiber.begun) {
        fiber.begun = true;
        prepare(&fiber.context, stacks + (size_t)thread * STACK, fiber_main);
    }
    if (from != &fiber.context) switch_to(from, &fiber.context);
}

static void yield() { go_on(&fibers[current].context, next_after(current)); }

// A fiber lives on from block to block.
static void fiber_main() {
    for (;;) {
        body(arguments);
        fibers[current].done = true;
        yield();
    }
}

static void fail(const char* what, int line) {
    if (!problem[0]) snprintf(problem, sizeof problem, "%s (block %u %u, line %d)", what, block_index.x, block_index.y, line);
}

static void barrier(int line) {
    Fiber& here = fibers[current];
    here.wait = BLOCK_BARRIER;
    here.line = line;
    if (++arrived == THREADS) {
        for (Fiber& fiber : fibers) {
            if (fiber.line != line) fail("threads of a block wait at different barriers", line);
            fiber.wait = NOTHING;
        }
        arrived = 0;
    } else {
        yield();
    }
}

// Waits for the other lanes of the warp; true in the last one that comes, before any other goes on.
static bool meet(int line) {
    Exchange& warp = warps[current / LANES];
    unsigned first = current - current % LANES;
    Fiber& here = fibers[current];
    here.wait = WARP_BARRIER;
    here.line = line;
    if (++warp.arrived < LANES) {
        yield();
        return false;
    }
    for (unsigned i = first; i < first + LANES; i++) {
        if (fibers[i].line != line) fail("lanes of a warp meet in different places", line);
        fibers[i].wait = NOTHING;
    }
    warp.arrived = 0;
    warp.turn++;
    return true;
}

// Puts a value where the other lanes of the warp find it, once all have come.
static unsigned long long* exchange(unsigned long long value, int line) {
    Exchange& warp = warps[current / LANES];
    unsigned turn = warp.turn;
    warp.values[turn % 2][current % LANES] = value;
    meet(line);
    return warp.values[turn % 2];
}

static float wide(unsigned pair, unsigned half) {
    unsigned bits = half ? pair & 0xffff0000u : pair << 16;
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

// mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 as the PTX ISA lays its fragments out (9.7.14.5.8, "Matrix Fragments for mma.m16n8k16
// with floating point type"): with g = lane / 4 and t = lane % 4, two numbers a register,
//   a_i (i = 0 .. 7) is A(row, column), row g for i < 2 and 4 <= i < 6, else g + 8; column 2 t + i % 2, and 8 more for i >= 4;
//   b_i (i = 0 .. 3) is B(row, g), row 2 t + i % 2, and 8 more for i >= 2;
//   c_i (i = 0 .. 3) is C(row, 2 t + i % 2), row g for i < 2, else g + 8.
// The last lane that comes multiplies for all, on their fragments. The order of the sums is one of those that the ISA leaves open.
static void multiply(float* c, const unsigned* a, const unsigned* b, int line) {
    Exchange& warp = warps[current / LANES];
    warp.fragments[current % LANES] = {c, a, b};
    if (!meet(line)) return;
    float left[16][16], right[16][8], sums[16][8];
    for (unsigned lane = 0; lane < LANES; lane++) {
        const Fragments& of = warp.fragments[lane];
        unsigned g = lane / 4, t = lane % 4;
        for (unsigned i = 0; i < 8; i++) {
            bool is_upper = i < 2 || (i >= 4 && i < 6);
            left[is_upper ? g : g + 8][2 * t + i % 2 + (i >= 4 ? 8 : 0)] = wide(of.a[i / 2], i % 2);
        }
        for (unsigned i = 0; i < 4; i++) right[2 * t + i % 2 + (i >= 2 ? 8 : 0)][g] = wide(of.b[i / 2], i % 2);
        for (unsigned i = 0; i < 4; i++) sums[i < 2 ? g : g + 8][2 * t + i % 2] = of.c[i];
    }
    for (unsigned row = 0; row < 16; row++)
        for (unsigned k = 0; k < 16; k++)
            for (unsigned column = 0; column < 8; column++) sums[row][column] += left[row][k] * right[k][column];
    for (unsigned lane = 0; lane < LANES; lane++) {
        unsigned g = lane / 4, t = lane % 4;
        for (unsigned i = 0; i < 4; i++) warp.fragments[lane].c[i] = sums[i < 2 ? g : g + 8][2 * t + i % 2];
    }
}

template <class T> static T lane_value(T value, unsigned lane, int line) {
    static_assert(sizeof(T) <= 8, "one register pair");
    unsigned long long bits = 0;
    memcpy(&bits, &value, sizeof value);
    bits = exchange(bits, line)[lane];
    memcpy(&value, &bits, sizeof value);
    return value;
}

static unsigned ballot(bool vote, int line) {
    unsigned long long* votes = exchange(vote, line);
    unsigned bits = 0;
    for (unsigned lane = 0; lane < LANES; lane++) bits |= (unsigned)(votes[lane] != 0) << lane;
    return bits;
}

static void run_block() {
    memset(__start_shared_memory, 0xff, __stop_shared_memory - __start_shared_memory);
    for (Fiber& fiber : fibers) {
        fiber.done = false;
        fiber.wait = NOTHING;
        fiber.line = 0;
    }
    for (Exchange& warp : warps) warp.arrived = warp.turn = 0;
    arrived = 0;
    // Comes back when no thread can go on.
    go_on(&scheduler, backwards ? THREADS - 1 : 0);
    for (Fiber& fiber : fibers) {
        if (fiber.done) continue;
        fiber.begun = false;
        fail("threads wait for others that have ended or wait elsewhere", fiber.line);
    }
}

static const char* launch(void (*kernel)(void**), void** args, unsigned x, unsigned y, bool reversed) {
    if (!stacks) stacks = (unsigned char*)malloc((size_t)THREADS * STACK);
    body = kernel;
    arguments = args;
    backwards = reversed;
    problem[0] = 0;
    grid_size = {x, y, 1};
    for (unsigned long long i = 0, blocks = (unsigned long long)x * y; i < blocks && !problem[0]; i++) {
        unsigned long long block = reversed ? blocks - 1 - i : i;
        block_index = {(unsigned)(block % x), (unsigned)(block / x), 0};
        run_block();
    }
    return problem;
}

// Letters of the arguments' types, to be compared with what is passed.
template <class T> struct Letter;
template <class T> struct Letter<T*> { static const char value = 'p'; };
template <> struct Letter<unsigned> { static const char value = 'u'; };
template <> struct Letter<unsigned long long> { static const char value = 'U'; };
template <> struct Letter<float> { static const char value = 'f'; };
template <> struct Letter<double> { static const char value = 'd'; };

template <int...> struct Places {};
template <int N, int... I> struct Count : Count<N - 1, N - 1, I...> {};
template <int... I> struct Count<0, I...> { typedef Places<I...> Type; };

template <class... A, int... I> static void call(void (*kernel)(A...), void** args, Places<I...>) {
    kernel(*(typename std::remove_cv<A>::type*)args[I]...);
}
template <class... A> static void apply(void (*kernel)(A...), void** args) {
    call(kernel, args, typename Count<sizeof...(A)>::Type());
}
template <class... A> static const char* letters(void (*)(A...)) {
    static const char text[] = {Letter<typename std::remove_cv<A>::type>::value..., 0};
    return text;
}

}  // namespace emulator

#define EMULATED(name)                                                                                         \
    static void emulated_##name(void** args) { emulator::apply(name, args); }                                  \
    extern "C" const char* launch_##name(void** args, const char* types, unsigned x, unsigned y, bool reversed) { \
        if (strcmp(types, emulator::letters(name))) return "the arguments have other types than the kernel's";  \
        return emulator::launch(emulated_##name, args, x, y, reversed);                                        \
    }

#define threadIdx emulator::thread_index
#define blockIdx emulator::block_index
#define gridDim emulator::grid_size
#define __syncthreads() emulator::barrier(__LINE__)
#define __shfl_xor_sync(mask, value, reach) emulator::lane_value(value, emulator::current % 32 ^ (reach), __LINE__)
#define __shfl_up_sync(mask, value, reach) \
    emulator::lane_value(value, emulator::current % 32 < (reach) ? emulator::current % 32 : emulator::current % 32 - (reach), __LINE__)
#define __shfl_sync(mask, value, lane) emulator::lane_value(value, lane, __LINE__)
#define __ballot_sync(mask, vote) emulator::ballot(vote, __LINE__)
#define __popc __builtin_popcount
#define multiply_bf16(c, a, b) emulator::multiply(c, a, b, __LINE__)

template <class T> static inline T atomicAdd(T* at, T more) {
    static_assert(std::is_integral<T>::value, "sums of floats would depend on the order");
    T old = *at;
    *at = old + more;
    return old;
}
template <class T> static inline T atomicMin(T* at, T value) {
    static_assert(std::is_integral<T>::value, "integers only");
    T old = *at;
    if (value < old) *at = value;
    return old;
}
static inline float __fadd_rn(float a, float b) { return a + b; }
static inline float __fmul_rn(float a, float b) { return a * b; }
static inline unsigned __float_as_uint(float value) {
    unsigned bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}
static inline float __uint_as_float(unsigned bits) {
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}
// cvt.rn.bf16x2.f32: the nearest bf16 of each, ties to even; the first in the low bits.
static inline unsigned narrow_pair(float low, float high) {
    unsigned pair[2] = {__float_as_uint(low), __float_as_uint(high)};
    for (unsigned& bits : pair) bits = (bits & 0x7fffffffu) > 0x7f800000u ? 0x7fffu : (bits + 0x7fffu + (bits >> 16 & 1)) >> 16;
    return pair[0] | pair[1] << 16;
}
