/* The vector type and its few operations: the only file that knows instruction sets.
 *
 * A file of a kernel set defines one of ISA_BASELINE, ISA_AVX2, ISA_AVX512,
 * ISA_NEON and one of REAL_F32, REAL_F64, and includes this first of all.
 * Arithmetic is written with the compiler's vector extensions (a + b * c);
 * what they cannot say stands here.
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

/* The instruction set is switched on per file, because setuptools has no
 * per-file flags.  Every function below is static, so no other file can come
 * to use a copy that its CPU does not run. */
#define PRAGMA(text) _Pragma(#text)
#ifdef __clang__
#  define TARGET(features) PRAGMA(clang attribute push(__attribute__((target(features))), apply_to = function))
#else
#  define TARGET(features) PRAGMA(GCC target(features))
#endif
#if defined(ISA_AVX512)
#  define VEC_BYTES 64
#  define VEC_REGISTERS 32
#  define WIDE_UNROLLS 1
#  define NARROW_UNROLLS 1
#  ifdef REAL_F32
#    define OUTER_FORMS 1
#  endif
TARGET("avx512f,avx512vl,avx512bw,avx512dq,avx2,fma,prfchw")
#elif defined(ISA_AVX2)
#  define VEC_BYTES 32
#  define VEC_REGISTERS 16
#  define WIDE_UNROLLS 1
TARGET("avx2,fma,prfchw")
#elif defined(ISA_NEON)
#  define VEC_BYTES 16
#  define VEC_REGISTERS 32
/* FMLA multiplies by one lane of a register: no broadcast needed. */
#  define VEC_MULTIPLIES_BY_LANE 1
#else
#  define VEC_BYTES 16
#  define VEC_REGISTERS 16
#endif
/* clang wants to be told where it ends. */
#if defined(__clang__) && (defined(ISA_AVX512) || defined(ISA_AVX2))
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
/* Whether two depths a turn leave the accumulators in registers. */
#ifndef WIDE_UNROLLS
#  define WIDE_UNROLLS 0
#endif
#ifndef NARROW_UNROLLS
#  define NARROW_UNROLLS 0
#endif
/* Whether a set has the tiles that only some shapes are faster for. The sets that few use do without: a wheel holds
 * them all. */
#if defined(REAL_F32) && !defined(ISA_BASELINE)
#  define HAS_ALL_TILES 1
#else
#  define HAS_ALL_TILES 0
#endif
/* Whether the sums of outer products leave registers to form B in, and instructions are few. */
#ifndef OUTER_FORMS
#  define OUTER_FORMS 0
#endif

/* The intrinsics' names. */
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
/* Inlined into the loops around it, a tile loses its registers (half the speed). GCC must not copy it for one caller's
 * constants either. */
#ifdef __clang__
#  define NOINLINE static __attribute__((noinline))
#else
#  define NOINLINE static __attribute__((noinline, noclone))
#endif
#ifdef __clang__
#  define UNROLL _Pragma("clang loop unroll(full)")
#else
#  define UNROLL _Pragma("GCC unroll 32")
#endif

typedef real vec __attribute__((vector_size(VEC_BYTES)));
typedef integer ivec __attribute__((vector_size(VEC_BYTES)));
/* Users' arrays may be unaligned. */
typedef real vec_unaligned __attribute__((vector_size(VEC_BYTES), aligned(1), may_alias));
typedef real real_unaligned __attribute__((aligned(1), may_alias));
typedef double pair_unaligned __attribute__((aligned(1), may_alias));      /* of float */

INLINE vec vec_set(real s) { return s - (vec){0}; }
INLINE real real_load(const void *p) { return *(const real_unaligned *)p; }
INLINE vec vec_load(const void *p) { return *(const vec_unaligned *)p; }
INLINE void vec_store(void *p, vec v) { *(vec_unaligned *)p = v; }
/* Past the caches; p is aligned. */
INLINE void vec_stream(void *p, vec v)
{
#ifdef __x86_64__
    X86_VEC(stream)(p, v);
#else
    vec_store(p, v);
#endif
}

/* vec_chain: a multiply-add in the form whose result takes an operand's place, for long chains of them.
 * vec_kept: v, of which the compiler must not know more; else it moves accumulators from register to register. */
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

/* sum + a * b in the place of sum, for as many sums as there are registers for: left to choose, the compiler puts some
 * of them in the place of a or b, and spills. */
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

/* In a register: few instructions that read it would each load it. */
INLINE vec vec_load_once(const void *p)
{
    vec v = vec_load(p);
#ifdef ISA_AVX512
    __asm__("" : "+v"(v));
#endif
    return v;
}

/* Comparisons by lane, and what is chosen by them: bits of a mask register, or lanes of all ones and all zeros. */
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
/* 1 where y > 0, else 0, NaN where y is: one instruction with a table of what becomes of NaN, signalling NaN, zero,
 * one, -infinity, infinity, less, more (a digit each, from the last: 2 is the NaN itself, 8 zero, A one). */
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
/* v, and 0 elsewhere. */
INLINE vec vec_where(vec_mask mask, vec v) { return (vec)(mask & (ivec)v); }
/* v, and NaN where y is: all ones are a NaN. */
INLINE vec vec_or_nan(vec v, vec y) { return (vec)((ivec)v | (y != y)); }
INLINE vec vec_step(vec y) { return vec_or_nan(vec_where(vec_less((vec){0}, y), vec_set(1)), y); }
#endif

INLINE vec vec_abs(vec v)
{
    const integer sign = (integer)((uint64_t)1 << (8 * sizeof(integer) - 1));
    return (vec)((ivec)v & ~(sign - (ivec){0}));
}

/* The larger (smaller) of v and a bound that is not NaN; a NaN in v stays. */
#if defined(__x86_64__)
/* MAXPS returns its second operand when either is NaN. */
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

/* The first `count` lanes (clamped to 0..LANES) of a vector in memory. */
#if defined(ISA_AVX512)
/* Free of charge, so that whole vectors need no path of their own. */
#  define VEC_MASK_IS_FREE 1
#  ifdef REAL_F32
typedef __mmask16 vec_lanes;
#  else
typedef __mmask8 vec_lanes;
#  endif
INLINE vec_lanes vec_first(ptrdiff_t count)
{
    return count >= LANES ? (vec_lanes)-1 : count <= 0 ? 0 : (vec_lanes)((1u << count) - 1);
}
INLINE vec vec_load_lanes(const void *p, vec_lanes lanes) { return (vec)X86(_mm512_maskz_loadu)(lanes, p); }
INLINE void vec_store_lanes(void *p, vec v, vec_lanes lanes) { X86(_mm512_mask_storeu)(p, lanes, v); }
/* The first n of every `columns` lanes; these as the first lanes of all, and back to their places. */
#  define VEC_CLOSES_GAPS 1
INLINE vec_lanes vec_first_of_each(const int columns, ptrdiff_t n)
{
    return (vec_lanes)(((1u << LANES) - 1) / ((1u << columns) - 1) * ((1u << n) - 1));
}
INLINE vec vec_close_gaps(vec v, vec_lanes lanes) { return (vec)X86(_mm512_maskz_compress)(lanes, v); }
INLINE vec vec_open_gaps(vec v, vec_lanes lanes) { return (vec)X86(_mm512_maskz_expand)(lanes, v); }
#elif defined(ISA_AVX2)
#  define VEC_MASK_IS_FREE 0
typedef struct {
    ivec mask;
    int count;
} vec_lanes;
INLINE vec_lanes vec_first(ptrdiff_t count)
{
#  ifdef REAL_F32
    const ivec index = {0, 1, 2, 3, 4, 5, 6, 7};
#  else
    const ivec index = {0, 1, 2, 3};
#  endif
    const integer n = count >= LANES ? LANES : count <= 0 ? 0 : (integer)count;
    return (vec_lanes){index < n - (ivec){0}, (int)n};
}
INLINE vec vec_load_lanes(const void *p, vec_lanes lanes) { return (vec)X86(_mm256_maskload)(p, (__m256i)lanes.mask); }
/* (a masked store takes thirty cycles on Zen: in pieces, 3 -> 1 takes a third of the time) */
INLINE void vec_store_lanes(void *p, vec v, vec_lanes lanes)
{
    char *to = p;
    if (lanes.count == LANES) {
        vec_store(p, v);
        return;
    }
#  ifdef REAL_F32
    __m128 rest = _mm256_castps256_ps128(v);
    if (lanes.count & 4) {
        _mm_storeu_ps((float *)to, rest);
        to += 16, rest = _mm256_extractf128_ps(v, 1);
    }
    if (lanes.count & 2) {
        *(pair_unaligned *)to = _mm_castps_pd(rest)[0];
        to += 8, rest = _mm_movehl_ps(rest, rest);
    }
    if (lanes.count & 1) *(real_unaligned *)to = rest[0];
#  else
    __m128d rest = _mm256_castpd256_pd128(v);
    if (lanes.count & 2) {
        _mm_storeu_pd((double *)to, rest);
        to += 16, rest = _mm256_extractf128_pd(v, 1);
    }
    if (lanes.count & 1) *(real_unaligned *)to = rest[0];
#  endif
}
#else
#  define VEC_MASK_IS_FREE 0
typedef ptrdiff_t vec_lanes;
INLINE vec_lanes vec_first(ptrdiff_t count) { return count >= LANES ? LANES : count <= 0 ? 0 : count; }
INLINE vec vec_load_lanes(const void *p, vec_lanes lanes)
{
    vec v = {0};
    memcpy(&v, p, (size_t)lanes * sizeof(real));
    return v;
}
INLINE void vec_store_lanes(void *p, vec v, vec_lanes lanes) { memcpy(p, &v, (size_t)lanes * sizeof(real)); }
#endif
#ifndef VEC_CLOSES_GAPS
#  define VEC_CLOSES_GAPS 0                  /* there are none then */
INLINE vec_lanes vec_first_of_each(const int columns, ptrdiff_t n) { return (void)columns, vec_first(n); }
INLINE vec vec_close_gaps(vec v, vec_lanes lanes) { return (void)lanes, v; }
INLINE vec vec_open_gaps(vec v, vec_lanes lanes) { return (void)lanes, v; }
#endif

#if LANES >= 8
/* Lane lanes[i] of v in lane i. */
INLINE vec vec_permute(vec v, ivec lanes)
{
#  if VEC_BYTES == 64
    return (vec)X86(_mm512_permutexvar)((__m512i)lanes, v);
#  else
    return (vec)_mm256_permutevar8x32_ps(v, (__m256i)lanes);
#  endif
}

/* The first `count` lanes, over and over. */
INLINE vec vec_repeat(const int count, vec v)
{
    ivec lanes;
    UNROLL for (int i = 0; i < LANES; i++) lanes[i] = i % count;
    return vec_permute(v, lanes);
}
#else
INLINE vec vec_repeat(const int count, vec v) { return (void)count, vec_set(v[0]); }    /* one */
#endif

/* `count` elements of memory (1, 2 or 4), over and over. */
INLINE vec vec_load_repeated(const int count, const void *p)
{
#if VEC_BYTES == 64 && defined(REAL_F32)
    if (count == 4) return (vec)_mm512_broadcast_f32x4(_mm_loadu_ps(p));
    if (count == 2) return (vec)_mm512_set1_pd(*(const pair_unaligned *)p);
#elif VEC_BYTES == 64
    if (count == 2) return (vec)_mm512_broadcast_f64x2(_mm_loadu_pd(p));
#elif VEC_BYTES == 32 && defined(REAL_F32)
    if (count == 2) return (vec)_mm256_set1_pd(*(const pair_unaligned *)p);
#else
    (void)count;    /* nothing but 1 comes where vectors are shorter */
#endif
    return vec_set(real_load(p));
}

/* The first `left` of them, fewer than `count`, and zeros for the others. */
INLINE vec vec_load_rest_repeated(const int count, const void *p, ptrdiff_t left)
{
#if VEC_BYTES == 64
    return vec_repeat(count, vec_load_lanes(p, vec_first(left)));
#else
    (void)count, (void)left;    /* one of two */
#  if VEC_BYTES == 32 && defined(REAL_F32)
    return (vec)_mm256_broadcastsd_pd(_mm_castps_pd(_mm_set_ss(real_load(p))));
#  else
    return vec_set(real_load(p));
#  endif
#endif
}

/* v from lane `first` on; what comes after its last lane is of no account. */
INLINE vec vec_from_lane(vec v, const int first)
{
#if LANES >= 8
    ivec lanes;
    UNROLL for (int i = 0; i < LANES; i++) lanes[i] = (first + i) % LANES;
    return vec_permute(v, lanes);
#else
    real lanes[2 * LANES] = {0};
    vec_store(lanes, v);
    return vec_load(lanes + first);
#endif
}

/* Sums of neighbouring lanes: a0+a1, a2+a3, ..., then those of b. */
#if VEC_BYTES == 64 && defined(REAL_F32)
#  define EVEN_LANES 0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30
#  define ODD_LANES 1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31
#elif VEC_BYTES == 64 || (VEC_BYTES == 32 && defined(REAL_F32))
#  define EVEN_LANES 0, 2, 4, 6, 8, 10, 12, 14
#  define ODD_LANES 1, 3, 5, 7, 9, 11, 13, 15
#elif VEC_BYTES == 32 || defined(REAL_F32)
#  define EVEN_LANES 0, 2, 4, 6
#  define ODD_LANES 1, 3, 5, 7
#else
#  define EVEN_LANES 0, 2
#  define ODD_LANES 1, 3
#endif
INLINE vec vec_pair_sums(vec a, vec b)
{
    return __builtin_shufflevector(a, b, EVEN_LANES) + __builtin_shufflevector(a, b, ODD_LANES);
}

#endif
