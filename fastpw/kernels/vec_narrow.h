/* Numbers become integers of fewer bits.
 *
 * Sums of the columns of a tile's rows are rounded, and stored as bytes.  An
 * instruction that narrows saturates and takes two vectors at once, in pieces of
 * 16 bytes; what is out of order then is put in order at the end.
 */
#ifndef FASTPW_VEC_NARROW_H
#define FASTPW_VEC_NARROW_H

#include "vec_dot.h"

/* The nearest integers, halves to even, of numbers in the range of int32. */
INLINE ivec vec_round(vec v)
{
#if !VEC_MULTIPLIES_BY_LANE
    return (ivec)X86_INTEGERS(cvtps_epi32)((X86_FLOATS)v);
#else
    return (ivec)vcvtnq_s32_f32((float32x4_t)v);
#endif
}

/* What becomes of rounded numbers: min(max(number, low) + zero, 127), as an unsigned byte plus 128 if flip says so. */
typedef struct {
    ivec zero, least;                        /* int16: least is low + zero */
    ivec flip;                               /* bytes: 0, or 128 each */
} byte_rule;

INLINE ivec twice_int16(ivec v) { return v << 16 | (v & 0xFFFF); }

INLINE byte_rule byte_rule_of(int32_t zero, int32_t low, int is_unsigned)
{
    const int32_t shift = is_unsigned ? 128 : 0;
    return (byte_rule){twice_int16(ivec_set(zero - shift)), twice_int16(ivec_set(low + zero - shift)),
                       ivec_set(is_unsigned ? (int32_t)0x80808080 : 0)};
}

/* On the way in: numbers plus zero, between -128 and 127, shifted as rows hold them. */
INLINE byte_rule staging_rule(ivec twice_zero)
{
    return (byte_rule){twice_zero, twice_int16(ivec_set(-128)), ivec_set(SHIFT_OF_I8 ? (int32_t)0x80808080 : 0)};
}

/* put_rows stores the bytes of four vectors: of as many rows of a tile as have them together, or of the first `rows` of
 * these.  Of each it stores the first bytes that `first_bytes` says, where a mask is free, and else all.
 * stage_numbers reads STAGED_NUMBERS small integers as rows hold them, put_staged stores QUANTIZED_VECTORS of rounded
 * numbers so.  Where a mask is free, stage_some reads the first k < STAGED_NUMBERS. */
#define PUT_VECTORS 4
#if !VEC_MULTIPLIES_BY_LANE
INLINE integers shorts_of(ivec a, ivec b, const byte_rule *rule)
{
    const integers s = X86_INTEGERS(packs_epi32)((integers)a, (integers)b);
    return X86_INTEGERS(max_epi16)(X86_INTEGERS(adds_epi16)(s, (integers)rule->zero),
                                   (integers)rule->least);
}

/* Of four vectors that were narrowed to bytes, each after the other. */
INLINE integers bytes_of(integers ab, integers cd, const byte_rule *rule)
{
    const integers bytes = (integers)((ivec)X86_INTEGERS(packs_epi16)(ab, cd) ^ rule->flip);
#  if VEC_BYTES == 64
    return _mm512_permutexvar_epi32(_mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15), bytes);
#  elif VEC_BYTES == 32
    return _mm256_permutevar8x32_epi32(bytes, _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7));
#  else
    return bytes;
#  endif
}

#  if VEC_BYTES == 64
typedef __mmask32 first_bytes;
INLINE first_bytes first_bytes_of(ptrdiff_t n) { return (first_bytes)(((uint64_t)1 << n) - 1); }
#  else
typedef struct {
    char unused;
} first_bytes;
INLINE first_bytes first_bytes_of(ptrdiff_t n) { return (void)n, (first_bytes){0}; }
#  endif

INLINE void put_rows(const int vectors, const int rows, const ivec *t, const byte_rule *rule, first_bytes first,
                     char *to, ptrdiff_t ld)
{
    const integers bytes = bytes_of(shorts_of(t[0], t[1], rule), shorts_of(t[2], t[3], rule), rule);
#  if VEC_BYTES == 64
    if (vectors == 2) {
        _mm256_mask_storeu_epi8(to, first, _mm512_castsi512_si256(bytes));
        if (rows > 1) _mm256_mask_storeu_epi8(to + ld, first, _mm512_extracti64x4_epi64(bytes, 1));
        return;
    }
    const __mmask16 part = (__mmask16)first;
    _mm_mask_storeu_epi8(to, part, _mm512_castsi512_si128(bytes));
    if (rows > 1) _mm_mask_storeu_epi8(to + ld, part, _mm512_extracti32x4_epi32(bytes, 1));
    if (rows > 2) _mm_mask_storeu_epi8(to + 2 * ld, part, _mm512_extracti32x4_epi32(bytes, 2));
    if (rows > 3) _mm_mask_storeu_epi8(to + 3 * ld, part, _mm512_extracti32x4_epi32(bytes, 3));
#  else
    (void)first;
#    if VEC_BYTES == 32
    if (vectors == 2) {
        _mm_storeu_si128((__m128i *)to, _mm256_castsi256_si128(bytes));
        if (rows > 1) _mm_storeu_si128((__m128i *)(to + ld), _mm256_extracti128_si256(bytes, 1));
        return;
    }
#    else
    if (vectors == 2) {
        _mm_storel_epi64((__m128i *)to, bytes);
        if (rows > 1) _mm_storel_epi64((__m128i *)(to + ld), _mm_unpackhi_epi64(bytes, bytes));
        return;
    }
#    endif
    typedef int64_t eight_bytes __attribute__((vector_size(VEC_BYTES)));
    UNROLL for (int i = 0; i < rows; i++, to += ld)
        if (LANES == 8)
            *(int64_anywhere *)to = ((eight_bytes)bytes)[i % (VEC_BYTES / 8)];
        else
            *(int32_anywhere *)to = ((ivec)bytes)[i];
#  endif
}

#  if DOT_OF_BYTES
#    define STAGED_NUMBERS VEC_BYTES
#    define QUANTIZED_VECTORS 4
INLINE ivec stage_numbers(const int is_unsigned, const void *p)
{
    return is_unsigned ? dot_load(p) : dot_load(p) ^ (int32_t)0x80808080;
}
#    if VEC_BYTES == 64
INLINE ivec stage_some(const int is_unsigned, const void *p, ptrdiff_t k)
{
    const ivec numbers = (ivec)_mm512_maskz_loadu_epi8(((__mmask64)1 << k) - 1, p);
    return is_unsigned ? numbers : numbers ^ (int32_t)0x80808080;
}
#    endif
INLINE void put_staged(const ivec *q, const byte_rule *rule, void *to)
{
    ivec_store(to, (ivec)bytes_of(shorts_of(q[0], q[1], rule), shorts_of(q[2], q[3], rule), rule));
}
#  else
#    define STAGED_NUMBERS (VEC_BYTES / 2)
#    define QUANTIZED_VECTORS 2
INLINE ivec stage_numbers(const int is_unsigned, const void *p)
{
    return is_unsigned ? dot_load(p) & 0x00FF00FF : dot_load(p);
}
#    if VEC_BYTES == 64
INLINE ivec stage_some(const int is_unsigned, const void *p, ptrdiff_t k)
{
    const __m256i numbers = _mm256_maskz_loadu_epi8(((__mmask32)1 << k) - 1, p);
    return (ivec)(is_unsigned ? _mm512_cvtepu8_epi16(numbers) : _mm512_cvtepi8_epi16(numbers));
}
#    endif
INLINE void put_staged(const ivec *q, const byte_rule *rule, void *to)
{
    const integers most = (integers)twice_int16(ivec_set(127));
    const integers numbers = X86_INTEGERS(min_epi16)(shorts_of(q[0], q[1], rule), most);
#    if VEC_BYTES == 64
    ivec_store(to, (ivec)_mm512_permutexvar_epi64(_mm512_setr_epi64(0, 2, 4, 6, 1, 3, 5, 7), numbers));
#    elif VEC_BYTES == 32
    ivec_store(to, (ivec)_mm256_permute4x64_epi64(numbers, 0xD8));
#    else
    ivec_store(to, (ivec)numbers);
#    endif
}
#  endif
#else
INLINE int16x8_t shorts_of(ivec a, ivec b, const byte_rule *rule)
{
    const int16x8_t s = vcombine_s16(vqmovn_s32((int32x4_t)a), vqmovn_s32((int32x4_t)b));
    return vmaxq_s16(vqaddq_s16(s, (int16x8_t)rule->zero), (int16x8_t)rule->least);
}

INLINE int8x16_t bytes_of(const ivec *t, const byte_rule *rule)
{
    const int16x8_t low = shorts_of(t[0], t[1], rule), high = shorts_of(t[2], t[3], rule);
    return veorq_s8(vcombine_s8(vqmovn_s16(low), vqmovn_s16(high)), (int8x16_t)rule->flip);
}

typedef struct {
    char unused;
} first_bytes;
INLINE first_bytes first_bytes_of(ptrdiff_t n) { return (void)n, (first_bytes){0}; }

INLINE void put_rows(const int vectors, const int rows, const ivec *t, const byte_rule *rule, first_bytes first,
                     char *to, ptrdiff_t ld)
{
    const int8x16_t bytes = bytes_of(t, rule);
    (void)first;
    if (vectors == 4) {
        vst1q_s8((int8_t *)to, bytes);
        return;
    }
    vst1_s8((int8_t *)to, vget_low_s8(bytes));
    if (rows > 1) vst1_s8((int8_t *)(to + ld), vget_high_s8(bytes));
}

#  define STAGED_NUMBERS VEC_BYTES
#  define QUANTIZED_VECTORS 4
INLINE ivec stage_numbers(const int is_unsigned, const void *p)
{
    return is_unsigned ? ivec_load(p) ^ (int32_t)0x80808080 : ivec_load(p);
}
INLINE void put_staged(const ivec *q, const byte_rule *rule, void *to) { vst1q_s8(to, bytes_of(q, rule)); }
#endif

#endif
