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

/* Four floats; loads and stores through memcpy, so that nothing needs to be aligned. */
typedef float EffF4 __attribute__((vector_size(16)));

#define EFF_COUNT(array) (sizeof(array) / sizeof((array)[0]))

#endif
