/* SPDX-License-Identifier: Apache-2.0 */
/* The one place for compiler extensions: everything else is plain C11. */
#ifndef EFF_BASE_COMPILER_H
#define EFF_BASE_COMPILER_H

#if defined(__GNUC__)
#define EFF_PRINTF(fmt, args)       __attribute__((format(printf, fmt, args)))
#define EFF_ALWAYS_INLINE           inline __attribute__((always_inline))
#define EFF_NOINLINE                __attribute__((noinline))
#define EFF_MUL_OVERFLOW(a, b, out) __builtin_mul_overflow(a, b, out)
#define EFF_ADD_OVERFLOW(a, b, out) __builtin_add_overflow(a, b, out)
#else
#error "effnet needs GCC or Clang"
#endif

#if defined(__x86_64__)
#define EFF_ARCH_X86_64 1
#elif defined(__aarch64__)
#define EFF_ARCH_AARCH64 1
#endif

/* In a loop that waits for another thread. */
static inline void eff_cpu_relax(void)
{
#if EFF_ARCH_X86_64
    __builtin_ia32_pause();
#endif
}

/* Four floats; loads and stores through memcpy, so that nothing needs to be aligned. What goes with them: doubles, and
 * integers of both sizes. A comparison gives integers, 0 or -1 a lane; a cast keeps the bits. */
typedef float EffF4 __attribute__((vector_size(16)));
typedef double EffD4 __attribute__((vector_size(32)));
typedef int EffI4 __attribute__((vector_size(16)));
typedef long long EffL4 __attribute__((vector_size(32)));
typedef long long EffL2 __attribute__((vector_size(16)));

/* Lane by lane, as a cast of a scalar does. */
#define EFF_CONVERT(v, type) __builtin_convertvector(v, type)
#define EFF_UNLIKELY(x)      __builtin_expect(x, 0)

/* Eight additions to a register, each waiting for the one before: eight cycles on every CPU we know. It is added to
 * itself: what adds a constant takes no time at all on Golden Cove and later. */
#if EFF_ARCH_X86_64
#define EFF_DEPENDENT_ADDS_8(x)                                                                                        \
    __asm__ volatile("add %0,%0\nadd %0,%0\nadd %0,%0\nadd %0,%0\nadd %0,%0\nadd %0,%0\nadd %0,%0\nadd %0,%0" : "+r"(x))
#else
#define EFF_DEPENDENT_ADDS_8(x)                                                                                        \
    __asm__ volatile("add %0,%0,%0\nadd %0,%0,%0\nadd %0,%0,%0\nadd %0,%0,%0\nadd %0,%0,%0\nadd %0,%0,%0\n"            \
                     "add %0,%0,%0\nadd %0,%0,%0"                                                                      \
                     : "+r"(x))
#endif

#define EFF_COUNT(array) (sizeof(array) / sizeof((array)[0]))

#endif
