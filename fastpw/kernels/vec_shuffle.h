/* Operations that move elements from lane to lane of a vector. */
#ifndef FASTPW_VEC_SHUFFLE_H
#define FASTPW_VEC_SHUFFLE_H

#include "vec_lanes.h"

#if LANES >= 8
/* A vector whose lane i holds lane lanes[i] of v. */
INLINE vec vec_permute(vec v, ivec lanes)
{
#  if VEC_BYTES == 64
    return (vec)X86(_mm512_permutexvar)((__m512i)lanes, v);
#  else
    return (vec)_mm256_permutevar8x32_ps(v, (__m256i)lanes);
#  endif
}

/* The first `count` lanes of v, repeated over the whole vector. */
INLINE vec vec_repeat(const int count, vec v)
{
    ivec lanes;
    UNROLL for (int i = 0; i < LANES; i++) lanes[i] = i % count;
    return vec_permute(v, lanes);
}
#else
INLINE vec vec_repeat(const int count, vec v) { return (void)count, vec_set(v[0]); }    /* count is 1 here */
#endif

/* `count` elements of memory (1, 2 or 4), repeated over the whole vector. */
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
    (void)count;    /* kernels with shorter vectors only ask for 1 */
#endif
    return vec_set(real_load(p));
}

/* The same where memory has only the first `left` of these elements, fewer than `count`. Zeros take the places of the
 * others. */
INLINE vec vec_load_rest_repeated(const int count, const void *p, ptrdiff_t left)
{
#if VEC_BYTES == 64
    return vec_repeat(count, vec_load_lanes(p, vec_first(left)));
#else
    (void)count, (void)left;    /* count is 2 here, so left is 1 */
#  if VEC_BYTES == 32 && defined(REAL_F32)
    return (vec)_mm256_broadcastsd_pd(_mm_castps_pd(_mm_set_ss(real_load(p))));
#  else
    return vec_set(real_load(p));
#  endif
#endif
}

/* The lanes of v from lane `first` on. No caller uses what comes after the last lane of v. */
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

/* The sums of neighbouring lanes: a0 + a1, a2 + a3 and so on, followed by those of b. */
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
