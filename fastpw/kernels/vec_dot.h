/* Dot products of small integers, exact: vectors of int32 sums.
 *
 * A unit is the DOT_DEPTHS numbers of a row that are multiplied at once: two, or
 * four where the CPU has such an instruction (vec.h).  Each lane has as many
 * weights.  Nothing saturates.
 */
#ifndef FASTPW_VEC_DOT_H
#define FASTPW_VEC_DOT_H

#include "vec.h"

/* Numbers that may lie anywhere, whatever their type. */
typedef int16_t int16_anywhere __attribute__((aligned(1), may_alias));
typedef int32_t int32_anywhere __attribute__((aligned(1), may_alias));
typedef int64_t int64_anywhere __attribute__((aligned(1), may_alias));

#if VEC_MULTIPLIES_BY_LANE
typedef int8_t staged;                      /* signed: uint8 is shifted */
#  define SHIFT_OF_I8 0
#  define SHIFT_OF_U8 (-128)
#  if DOT_OF_BYTES
#    define DOT_DEPTHS 4
typedef int8x16_t dot_unit;
INLINE dot_unit dot_broadcast(const void *p) { return (int8x16_t)vdupq_n_s32(*(const int32_anywhere *)p); }
typedef int8x16_t dot_weights;
INLINE dot_weights dot_load(const void *p) { return vld1q_s8(p); }
INLINE ivec dot_add(ivec sum, dot_unit x, dot_weights w)
{
#    ifdef __clang__
    /* Its header has the intrinsic only where the whole file is for such CPUs. */
    __asm__("sdot %0.4s, %1.16b, %2.16b" : "+w"(sum) : "w"(w), "w"(x));
    return sum;
#    else
    return (ivec)vdotq_s32((int32x4_t)sum, w, x);
#    endif
}
#  else
/* Products of int8 fill int16, and pairs of them are added up in int32. */
#    define DOT_DEPTHS 2
typedef int8x8_t dot_unit;
INLINE dot_unit dot_broadcast(const void *p) { return (int8x8_t)vdup_n_s16(*(const int16_anywhere *)p); }
typedef int8x8_t dot_weights;
INLINE dot_weights dot_load(const void *p) { return vld1_s8(p); }
INLINE ivec dot_add(ivec sum, dot_unit x, dot_weights w)
{
    return (ivec)vpadalq_s16((int32x4_t)sum, vmull_s8(x, w));
}
#  endif
#else
typedef ivec dot_unit, dot_weights;
INLINE dot_unit dot_broadcast(const void *p) { return *(const int32_anywhere *)p - (ivec){0}; }
#  if VEC_BYTES == 64
typedef __m512i integers;
#    define X86_INTEGERS(op) _mm512_##op
#    define X86_FLOATS __m512
#  elif VEC_BYTES == 32
typedef __m256i integers;
#    define X86_INTEGERS(op) _mm256_##op
#    define X86_FLOATS __m256
#  else
typedef __m128i integers;
#    define X86_INTEGERS(op) _mm_##op
#    define X86_FLOATS __m128
#  endif
#  if DOT_OF_BYTES
typedef uint8_t staged;                     /* the instruction takes one operand without a sign */
#    define SHIFT_OF_I8 128
#    define SHIFT_OF_U8 0
#    define DOT_DEPTHS 4
/* Memory is read, broadcast and shifted by one instruction. (GCC would shift in a register for integers.) */
#    if VEC_BYTES == 64
#      define DOT_SHIFTS 1
INLINE dot_unit dot_broadcast_shifted(const void *p)
{
    dot_unit x;
    __asm__("vpxord %1%{1to16%}, %2, %0"
            : "=v"(x) : "m"(*(const int32_anywhere *)p), "v"((int32_t)0x80808080 - (ivec){0}));
    return x;
}
#    endif
typedef ivec ivec_unaligned __attribute__((aligned(1), may_alias));
INLINE dot_weights dot_load(const void *p) { return *(const ivec_unaligned *)p; }
INLINE ivec dot_add(ivec sum, dot_unit x, dot_weights w)
{
#    if VEC_BYTES == 64
    return (ivec)_mm512_dpbusd_epi32((integers)sum, (integers)x, (integers)w);
#    else
    return (ivec)_mm256_dpbusd_avx_epi32((integers)sum, (integers)x, (integers)w);
#    endif
}
#  else
typedef int16_t staged;
#    define SHIFT_OF_I8 0
#    define SHIFT_OF_U8 0
#    define DOT_DEPTHS 2
INLINE dot_weights dot_load(const void *p)
{
#    if VEC_BYTES == 64
    return (ivec)_mm512_cvtepi8_epi16(_mm256_loadu_si256(p));
#    elif VEC_BYTES == 32
    return (ivec)_mm256_cvtepi8_epi16(_mm_loadu_si128(p));
#    else
    const integers w = _mm_loadl_epi64(p);
    return (ivec)_mm_srai_epi16(_mm_unpacklo_epi8(w, w), 8);
#    endif
}
/* The sum stays in its register: GCC would move it about, and spill. */
INLINE ivec dot_add(ivec sum, dot_unit x, dot_weights w)
{
    const integers products = X86_INTEGERS(madd_epi16)((integers)x, (integers)w);
#    if VEC_BYTES == 16
    __asm__("paddd %1, %0" : "+x"(sum) : "x"(products));
#    else
    __asm__("vpaddd %1, %0, %0" : "+v"(sum) : "v"(products));
#    endif
    return sum;
}
#  endif
#endif

/* Whether rows are shifted at no cost where they are multiplied: other sets stage all that they shift. */
#ifndef DOT_SHIFTS
#  define DOT_SHIFTS 0
INLINE dot_unit dot_broadcast_shifted(const void *p) { return dot_broadcast(p); }
#endif

/* Loads and stores of integers; `few` of them by lanes. */
typedef int32_t integers_unaligned __attribute__((vector_size(VEC_BYTES), aligned(1), may_alias));
INLINE ivec ivec_load(const void *p) { return *(const integers_unaligned *)p; }
INLINE void ivec_store(void *p, ivec v) { *(integers_unaligned *)p = v; }
INLINE ivec ivec_set(int32_t s) { return s - (ivec){0}; }

/* The larger, and the larger of numbers without a sign. */
#if VEC_MULTIPLIES_BY_LANE
INLINE ivec ivec_max(ivec a, ivec b) { return (ivec)vmaxq_s32((int32x4_t)a, (int32x4_t)b); }
INLINE ivec ivec_unsigned_max(ivec a, ivec b) { return (ivec)vmaxq_u32((uint32x4_t)a, (uint32x4_t)b); }
#elif VEC_BYTES > 16
INLINE ivec ivec_max(ivec a, ivec b) { return (ivec)X86_INTEGERS(max_epi32)((integers)a, (integers)b); }
INLINE ivec ivec_unsigned_max(ivec a, ivec b) { return (ivec)X86_INTEGERS(max_epu32)((integers)a, (integers)b); }
#else
INLINE ivec ivec_max(ivec a, ivec b) { return (a & (a > b)) | (b & ~(a > b)); }
INLINE ivec ivec_unsigned_max(ivec a, ivec b)
{
    const ivec half = ivec_set(INT32_MIN);
    return ivec_max(a ^ half, b ^ half) ^ half;
}
#endif

INLINE vec vec_of_integers(ivec v) { return __builtin_convertvector(v, vec); }

#if VEC_FUSES_IN_SOFTWARE
/* a * b + c with one rounding: the product is exact in double, and the sum is rounded to odd there, so that it rounds
 * to float as the exact sum does (Boldo & Melquiond 2008). */
typedef double half_vec __attribute__((vector_size(VEC_BYTES)));
typedef int64_t half_bits __attribute__((vector_size(VEC_BYTES)));
typedef float half_floats __attribute__((vector_size(VEC_BYTES / 2)));

INLINE half_floats fused_half(half_floats a, half_floats b, half_floats c)
{
    const half_vec product = __builtin_convertvector(a, half_vec) * __builtin_convertvector(b, half_vec);
    const half_vec addend = __builtin_convertvector(c, half_vec), sum = product + addend, back = sum - product;
    const half_vec error = (product - (sum - back)) + (addend - back);      /* what the sum lost (Knuth's TwoSum) */
    /* Towards the error: one up in the bits if it has the sign of the sum, else one down. */
    const half_bits away = (error > 0) == (sum > 0), even = ((half_bits)sum & 1) - 1;
    const half_bits lost = (error < 0) | (error > 0);                       /* not NaN, which an infinite sum gives */
    const half_bits odd = (half_bits)sum + (even & lost & ((away & 1) - (~away & 1)));
    return __builtin_convertvector((half_vec)odd, half_floats);
}

INLINE vec vec_fused(vec a, vec b, vec c)
{
#  define HALF(v, ...) __builtin_shufflevector(v, v, __VA_ARGS__)
    return __builtin_shufflevector(fused_half(HALF(a, 0, 1), HALF(b, 0, 1), HALF(c, 0, 1)),
                                   fused_half(HALF(a, 2, 3), HALF(b, 2, 3), HALF(c, 2, 3)), 0, 1, 2, 3);
#  undef HALF
}
#endif

#endif
