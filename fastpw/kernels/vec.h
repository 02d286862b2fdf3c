/* The vector type and its operations.
 *
 * This is the only file that asks for the instruction set.  A file of a kernel
 * set defines one of ISA_BASELINE, ISA_AVX2, ISA_AVX512, ISA_NEON (for integers
 * also ISA_AVX_VNNI, ISA_AVX512_VNNI, ISA_NEON_DOT) and one of REAL_F32,
 * REAL_F64, and includes this file before any other.
 *
 * Kernels write arithmetic with the compiler's vector extensions (a + b * c).
 * This file has the operations that the extensions lack.  vec_lanes.h has loads
 * and stores of some lanes, and vec_shuffle.h what moves elements between lanes.
 */
#ifndef FASTPW_VEC_H
#define FASTPW_VEC_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>
#if defined(__x86_64__)
#  include <immintrin.h>
#elif defined(__aarch64__)
#  include <arm_neon.h>
#endif

/* A pragma switches the instruction set on for one file, because setuptools has
 * no flags for single files.  Every function below is static, so no other file
 * can come to use a copy that its CPU does not run. */
#define PRAGMA(text) _Pragma(#text)
#ifdef __clang__
#  define TARGET(features) PRAGMA(clang attribute push(__attribute__((target(features))), apply_to = function))
#else
#  define TARGET(features) PRAGMA(GCC target(features))
#endif
/* The set for CPUs without AVX2 is as fast when it is compiled for size, which makes the wheel smaller. */
#if defined(ISA_BASELINE) && !defined(__clang__)
PRAGMA(GCC optimize("Os"))
#endif
/* A dot product takes the products of pairs of int16, or of groups of four bytes, into sums of int32. */
#if defined(ISA_AVX512_VNNI)
#  define ISA_AVX512
#  define DOT_OF_BYTES 1
#elif defined(ISA_AVX_VNNI)
#  define ISA_AVX2
#  define DOT_OF_BYTES 1
#elif defined(ISA_NEON_DOT)
#  define ISA_NEON
#  define DOT_OF_BYTES 1
#else
#  define DOT_OF_BYTES 0
#endif
#if defined(ISA_AVX512)
#  define VEC_BYTES 64
#  define VEC_REGISTERS 32
#  define WIDE_UNROLLS 1
#  define NARROW_UNROLLS 1
#  ifdef REAL_F32
#    define OUTER_FORMS 1
#  endif
#  ifdef ISA_AVX512_VNNI
TARGET("avx512f,avx512vl,avx512bw,avx512dq,avx512vnni,avx2,fma,prfchw")
#  else
TARGET("avx512f,avx512vl,avx512bw,avx512dq,avx2,fma,prfchw")
#  endif
#elif defined(ISA_AVX2)
#  define VEC_BYTES 32
#  define VEC_REGISTERS 16
#  define WIDE_UNROLLS 1
#  ifdef ISA_AVX_VNNI
TARGET("avxvnni,avx2,fma,prfchw")
#  else
TARGET("avx2,fma,prfchw")
#  endif
#elif defined(ISA_NEON)
#  define VEC_BYTES 16
#  define VEC_REGISTERS 32
/* FMLA multiplies by one lane of a register, so kernels need no broadcast. */
#  define VEC_MULTIPLIES_BY_LANE 1
#  if defined(ISA_NEON_DOT) && defined(__clang__)
TARGET("dotprod")                           /* clang before 16 knows no arch=... */
#  elif defined(ISA_NEON_DOT)
TARGET("arch=armv8.2-a+dotprod")
#  endif
#else
#  define VEC_BYTES 16
#  define VEC_REGISTERS 16
#endif
/* clang has to be told where its attribute ends. */
#if defined(__clang__) && (defined(ISA_AVX512) || defined(ISA_AVX2) || defined(ISA_NEON_DOT))
#  define TARGET_END PRAGMA(clang attribute pop)
#else
#  define TARGET_END
#endif

#ifdef REAL_F32
#  define REAL F32
typedef float real;
typedef int32_t integer;
#  define LANES (VEC_BYTES / 4)
#else
#  define REAL F64
typedef double real;
typedef int64_t integer;
#  define LANES (VEC_BYTES / 8)
#endif

#ifndef VEC_MULTIPLIES_BY_LANE
#  define VEC_MULTIPLIES_BY_LANE 0
#endif
/* Whether a loop may take two depths a turn: its accumulators have to stay in registers. */
#ifndef WIDE_UNROLLS
#  define WIDE_UNROLLS 0
#endif
#ifndef NARROW_UNROLLS
#  define NARROW_UNROLLS 0
#endif
/* Whether a set has the tiles that make only some shapes faster.  A wheel holds all sets, so those that few programs
 * use do without these tiles. */
#if defined(REAL_F32) && !defined(ISA_BASELINE)
#  define HAS_ALL_TILES 1
#else
#  define HAS_ALL_TILES 0
#endif
/* Whether tiles of outer products form B themselves: they need registers for it, and few instructions. */
#ifndef OUTER_FORMS
#  define OUTER_FORMS 0
#endif

/* The names of the intrinsics for this type and this width: X86_VEC(max) is _mm256_max_ps, for example. */
#if defined(__x86_64__)
#  ifdef REAL_F32
#    define X86(op) op##_ps
#    define X86_MASK(op) op##_ps_mask
#  else
#    define X86(op) op##_pd
#    define X86_MASK(op) op##_pd_mask
#  endif
#  if VEC_BYTES == 64
#    define X86_VEC(op) X86(_mm512_##op)
#  elif VEC_BYTES == 32
#    define X86_VEC(op) X86(_mm256_##op)
#  else
#    define X86_VEC(op) X86(_mm_##op)
#  endif
#endif

#define INLINE static inline __attribute__((always_inline))
#define CACHE_LINE 64
/* A tile stays out of line, because one that is inlined into the loops around it loses its registers.  noclone keeps
 * GCC from a copy of it for the constants of one caller. */
#ifdef __clang__
#  define NOINLINE static __attribute__((noinline))
#  define UNROLL _Pragma("clang loop unroll(full)")
#else
#  define NOINLINE static __attribute__((noinline, noclone))
#  define UNROLL _Pragma("GCC unroll 32")
#endif

typedef real vec __attribute__((vector_size(VEC_BYTES)));
typedef integer ivec __attribute__((vector_size(VEC_BYTES)));
/* What lies in memory may be unaligned, because users' arrays may be. */
typedef real vec_unaligned __attribute__((vector_size(VEC_BYTES), aligned(1), may_alias));
typedef real real_unaligned __attribute__((aligned(1), may_alias));
typedef double pair_unaligned __attribute__((aligned(1), may_alias));      /* two floats */

INLINE vec vec_set(real s) { return s - (vec){0}; }
INLINE real real_load(const void *p) { return *(const real_unaligned *)p; }
INLINE vec vec_load(const void *p) { return *(const vec_unaligned *)p; }
INLINE void vec_store(void *p, vec v) { *(vec_unaligned *)p = v; }
/* Stores past the caches where the CPU can. p has to be aligned. */
INLINE void vec_stream(void *p, vec v)
{
#ifdef __x86_64__
    X86_VEC(stream)(p, v);
#else
    vec_store(p, v);
#endif
}

/* vec_chain(v, a, b) is one link in a long chain of multiply-adds through v: v * a + b, but v + a * b on ARM, where the
 * instruction overwrites the addend.
 * vec_kept(v) is v, hidden from the compiler, which would otherwise move accumulators from register to register. */
#if defined(ISA_NEON)
#  ifdef REAL_F32
INLINE vec vec_chain(vec v, vec a, vec b) { return (vec)vfmaq_f32((float32x4_t)v, (float32x4_t)a, (float32x4_t)b); }
#  else
INLINE vec vec_chain(vec v, vec a, vec b) { return (vec)vfmaq_f64((float64x2_t)v, (float64x2_t)a, (float64x2_t)b); }
#  endif
INLINE vec vec_kept(vec v)
{
    __asm__("" : "+w"(v));
    return v;
}
#else
INLINE vec vec_chain(vec v, vec a, vec b) { return v * a + b; }
INLINE vec vec_kept(vec v) { return v; }
#endif

/* sum + a * b, computed in the register of sum.  A kernel with as many sums as there are registers needs this, because
 * the compiler would put some results in the register of a or b, and spill. */
#if defined(ISA_AVX512) || defined(ISA_AVX2)
#  define VEC_ADDS_IN_PLACE 1
INLINE vec vec_add_product(vec sum, vec a, vec b)
{
#  ifdef REAL_F32
    __asm__ volatile("vfmadd231ps %2, %1, %0" : "+v"(sum) : "v"(a), "v"(b));
#  else
    __asm__ volatile("vfmadd231pd %2, %1, %0" : "+v"(sum) : "v"(a), "v"(b));
#  endif
    return sum;
}
#else
#  define VEC_ADDS_IN_PLACE 0
INLINE vec vec_add_product(vec sum, vec a, vec b) { return sum + a * b; }
#endif

/* v as it is, rounded: nothing is fused with the product that it is. */
INLINE vec vec_rounded(vec v)
{
#if defined(__x86_64__)
    __asm__("" : "+v"(v));
#else
    __asm__("" : "+w"(v));
#endif
    return v;
}

/* a * b + c with one rounding. */
#if defined(ISA_AVX512) || defined(ISA_AVX2)
INLINE vec vec_fused(vec a, vec b, vec c) { return (vec)X86_VEC(fmadd)(a, b, c); }
#elif defined(ISA_NEON)
INLINE vec vec_fused(vec a, vec b, vec c) { return vec_chain(c, a, b); }
#else
#  define VEC_FUSES_IN_SOFTWARE 1             /* vec_dot.h */
#endif
#ifndef VEC_FUSES_IN_SOFTWARE
#  define VEC_FUSES_IN_SOFTWARE 0
#endif

/* Loads a vector into a register. Without it, GCC lets each of a few instructions load the vector anew. */
INLINE vec vec_load_once(const void *p)
{
    vec v = vec_load(p);
#ifdef ISA_AVX512
    __asm__("" : "+v"(v));
#endif
    return v;
}

/* A vec_mask is the result of a comparison, lane by lane, and vec_select and vec_where choose by it.  AVX-512 has a bit
 * for each lane in a mask register.  The others have lanes of all ones and all zeros in a vector. */
#if defined(ISA_AVX512)
#  ifdef REAL_F32
typedef __mmask16 vec_mask;
#  else
typedef __mmask8 vec_mask;
#  endif
#  define COMPARE(a, b, how) X86_MASK(_mm512_cmp)(a, b, how)
INLINE vec_mask vec_less(vec a, vec b) { return COMPARE(a, b, _CMP_LT_OQ); }
INLINE vec_mask vec_at_most(vec a, vec b) { return COMPARE(a, b, _CMP_LE_OQ); }
INLINE vec vec_select(vec_mask mask, vec yes, vec no) { return (vec)X86(_mm512_mask_blend)(mask, no, yes); }
INLINE vec vec_where(vec_mask mask, vec v) { return (vec)X86(_mm512_maskz_mov)(mask, v); }
INLINE vec vec_or_nan(vec v, vec y) { return (vec)X86(_mm512_mask_mov)(v, COMPARE(y, y, _CMP_UNORD_Q), y); }
/* 1 where y > 0, 0 where it is not, NaN where y is NaN.  One instruction looks the result up by the class of y.  The
 * table has a digit for each class, from its last digit on: NaN, signalling NaN, zero, one, -infinity, infinity,
 * negative, positive.  The digit 2 means a quiet NaN, 8 means zero, A means one. */
INLINE vec vec_step(vec y)
{
#  ifdef REAL_F32
    const __m512i table = _mm512_set1_epi32((int)0xA8A8A822);
#  else
    const __m512i table = _mm512_set1_epi64(0xA8A8A822);
#  endif
    return (vec)X86(_mm512_fixupimm)(y, y, table, 0);
}
#else
typedef ivec vec_mask;
INLINE vec_mask vec_less(vec a, vec b) { return a < b; }
INLINE vec_mask vec_at_most(vec a, vec b) { return a <= b; }
INLINE vec vec_select(vec_mask mask, vec yes, vec no) { return (vec)((mask & (ivec)yes) | (~mask & (ivec)no)); }
/* v where the mask is set, 0 elsewhere. */
INLINE vec vec_where(vec_mask mask, vec v) { return (vec)(mask & (ivec)v); }
/* NaN where y is NaN, v elsewhere. A lane of all ones is a NaN. */
INLINE vec vec_or_nan(vec v, vec y) { return (vec)((ivec)v | (y != y)); }
INLINE vec vec_step(vec y) { return vec_or_nan(vec_where(vec_less((vec){0}, y), vec_set(1)), y); }
#endif

INLINE vec vec_abs(vec v)
{
    const integer sign = (integer)((uint64_t)1 << (8 * sizeof(integer) - 1));
    return (vec)((ivec)v & ~(sign - (ivec){0}));
}

/* The larger, or the smaller, of v and a bound. A NaN in v stays; the bound must not be NaN. */
#if defined(__x86_64__)
/* MAXPS returns its second operand when either is NaN, so v comes second. */
INLINE vec vec_max(vec v, vec bound) { return (vec)X86_VEC(max)(bound, v); }
INLINE vec vec_min(vec v, vec bound) { return (vec)X86_VEC(min)(bound, v); }
#else
#  ifdef REAL_F32
INLINE vec vec_max(vec v, vec bound) { return (vec)vmaxq_f32((float32x4_t)v, (float32x4_t)bound); }
INLINE vec vec_min(vec v, vec bound) { return (vec)vminq_f32((float32x4_t)v, (float32x4_t)bound); }
#  else
INLINE vec vec_max(vec v, vec bound) { return (vec)vmaxq_f64((float64x2_t)v, (float64x2_t)bound); }
INLINE vec vec_min(vec v, vec bound) { return (vec)vminq_f64((float64x2_t)v, (float64x2_t)bound); }
#  endif
#endif

#endif
