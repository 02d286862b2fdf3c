/* The lanes of a vector that memory has.
 *
 * A row of columns rarely ends where a vector does.  Its last vector is loaded
 * and stored with the lanes that it has, and nothing beyond them is touched.
 */
#ifndef FASTPW_VEC_LANES_H
#define FASTPW_VEC_LANES_H

#include "vec.h"

/* vec_first(count) says the first `count` lanes.  A count below 0 stands for 0, and one above LANES for LANES. */
#if VEC_BYTES == 64
/* A mask costs nothing here, so kernels need no path of their own for whole vectors. */
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
/* Of every `columns` lanes, vec_first_of_each says the first n.  vec_close_gaps moves these lanes together to the front
 * of a vector, and vec_open_gaps moves them back to their places. */
#  define VEC_CLOSES_GAPS 1
INLINE vec_lanes vec_first_of_each(const int columns, ptrdiff_t n)
{
    return (vec_lanes)(((1u << LANES) - 1) / ((1u << columns) - 1) * ((1u << n) - 1));
}
INLINE vec vec_close_gaps(vec v, vec_lanes lanes) { return (vec)X86(_mm512_maskz_compress)(lanes, v); }
INLINE vec vec_open_gaps(vec v, vec_lanes lanes) { return (vec)X86(_mm512_maskz_expand)(lanes, v); }
#elif VEC_BYTES == 32
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
/* Stores the lanes in pieces of 4, 2 and 1, because AMD's CPUs take some thirty cycles for a masked store. */
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
/* Without these instructions, kernels let only rows adjoin that have no gaps. */
#  define VEC_CLOSES_GAPS 0
INLINE vec_lanes vec_first_of_each(const int columns, ptrdiff_t n) { return (void)columns, vec_first(n); }
INLINE vec vec_close_gaps(vec v, vec_lanes lanes) { return (void)lanes, v; }
INLINE vec vec_open_gaps(vec v, vec_lanes lanes) { return (void)lanes, v; }
#endif

#endif
