/* What looks at whole rows: layer normalization and softmax; and sums of rows. */
#ifndef FASTPW_NORMAL_H
#define FASTPW_NORMAL_H

#include "kernel_set.h"
#include "vec_lanes.h"
#include "vec_math.h"
#include "vec_some.h"

/* So many vectors of a row are summed apart, because their additions need not wait for each other. */
enum { NORMAL_VECTORS = 4 };

INLINE real sum_of_lanes(vec v)
{
    real sum = 0;
    UNROLL for (int i = 0; i < LANES; i++) sum += v[i];
    return sum;
}

/* The sum over a row of x, or of its squares. */
NOINLINE real sum_of_row(int squares, const char *x, ptrdiff_t left)
{
    vec sums[NORMAL_VECTORS] = {0};
    for (; left >= NORMAL_VECTORS * LANES; left -= NORMAL_VECTORS * LANES)
        UNROLL for (int v = 0; v < NORMAL_VECTORS; v++, x += VEC_BYTES)
            sums[v] += squares ? vec_load(x) * vec_load(x) : vec_load(x);
    for (; left > 0; left -= LANES, x += VEC_BYTES) {
        const vec t = vec_load_some(x, left);
        sums[0] += squares ? t * t : t;
    }
    return sum_of_lanes((sums[0] + sums[1]) + (sums[2] + sums[3]));
}

/* Each vector v of a row of n, from byte `at` of the row on, of x becomes `value` in y. */
#define OVER_ROW(n, x, y, value)                                                                       \
    do {                                                                                               \
        ptrdiff_t at = 0, left = (n);                                                                  \
        for (; left >= LANES; left -= LANES, at += VEC_BYTES) {                                        \
            const vec v = vec_load((x) + at);                                                          \
            vec_store((y) + at, value(vec_load, v));                                                   \
        }                                                                                              \
        if (left) {                                                                                    \
            const vec v = vec_load_some((x) + at, left);                                               \
            vec_store_some((y) + at, value(LOAD_SOME, v), left);                                       \
        }                                                                                              \
    } while (0)
#define LOAD_SOME(p) vec_load_some(p, left)

/* Two passes after the mean, so that the variance is a sum of squares of small numbers. */
INLINE void layer_normal_row(const fastpw_normal_args *g, const char *x, char *y)
{
    const vec mean = vec_set(sum_of_row(0, x, g->n) / (real)g->n);
    const char *weights = g->weights, *bias = g->bias;
#define CENTRED(load, v) (v) - mean
    OVER_ROW(g->n, x, y, CENTRED);
    const real variance = sum_of_row(1, y, g->n) / (real)g->n + (real)g->epsilon;
    const vec scale = vec_set(1 / (sizeof(real) == 4 ? (real)__builtin_sqrtf((float)variance)
                                                     : (real)__builtin_sqrt((double)variance)));
#define SCALED(load, v) (v) * scale * load(weights + at) + load(bias + at)
    OVER_ROW(g->n, y, y, SCALED);
#undef CENTRED
#undef SCALED
}

/* exp(x - largest) / sum.  The powers are lifted, and the last product drops that again.  A NaN may not be found to be
 * the largest, but it is part of the sum. */
INLINE void softmax_row(const fastpw_normal_args *g, const char *x, char *y)
{
    ptrdiff_t at = 0, left = g->n;
    vec most = vec_set(real_load(x));
    for (; left >= LANES; left -= LANES, at += VEC_BYTES) most = vec_max(most, vec_load(x + at));
    real largest = most[0];
    for (int i = 1; i < LANES; i++) largest = most[i] > largest ? most[i] : largest;
    for (int i = 0; i < left; i++) {
        const real next = real_load(x + at + i * (ptrdiff_t)sizeof(real));
        largest = next > largest ? next : largest;
    }
    const vec shift = vec_set(largest), lowest = vec_set(LOWEST);
#define POWER(load, v) lifted_exp(vec_max((v) - shift, lowest))
    OVER_ROW(g->n, x, y, POWER);
    const vec factor = vec_set(1 / sum_of_row(0, y, g->n));
#define SHARE(load, v) (v) * factor
    OVER_ROW(g->n, y, y, SHARE);
#undef POWER
#undef SHARE
}

static void normal(const fastpw_normal_args *g)
{
    for (ptrdiff_t i = 0; i < g->m; i++)
        if (g->weights)
            layer_normal_row(g, g->a + i * g->lda, g->c + i * g->ldc);
        else
            softmax_row(g, g->a + i * g->lda, g->c + i * g->ldc);
}

/* Rows of few columns, several in a vector: so many vectors hold whole rows, and lanes that they have in common with
 * others are sums of one column.  What does not adjoin, or does not fill them, is copied first, so that the order of
 * the additions is the same. */
enum { MOST_NARROW = LANES < 9 ? LANES - 1 : 8, MOST_NARROW_VECTORS = 8 };

INLINE void narrow_sums(const int vectors, const int n, ptrdiff_t m, const char *a, ptrdiff_t lda, char *sums)
{
    const ptrdiff_t rows = vectors * LANES / n, size = n * (ptrdiff_t)sizeof(real);
    real buffer[MOST_NARROW_VECTORS * LANES];
    vec t[MOST_NARROW_VECTORS];
    UNROLL for (int v = 0; v < vectors; v++) t[v] = (vec){0};
    for (; m > 0; m -= rows, a += rows * lda) {
        const char *x = a;
        if (lda != size || m < rows) {
            memset(buffer, 0, sizeof buffer);
            for (ptrdiff_t i = 0; i < m && i < rows; i++) memcpy(buffer + i * n, a + i * lda, (size_t)size);
            x = (const char *)buffer;
        }
        UNROLL for (int v = 0; v < vectors; v++) t[v] += vec_load(x + v * VEC_BYTES);
    }
    /* n vectors have whole rows, too. */
    UNROLL for (int v = n; v < vectors; v++) t[v % n] += t[v];
    UNROLL for (int v = 0; v < n; v++) vec_store(buffer + v * LANES, t[v]);
    UNROLL for (int j = 0; j < n; j++) {
        real sum = buffer[j];
        UNROLL for (int i = 1; i < LANES; i++) sum += buffer[i * n + j];
        sum += real_load(sums + j * (ptrdiff_t)sizeof(real));
        memcpy(sums + j * (ptrdiff_t)sizeof(real), &sum, sizeof sum);
    }
}

/* At least four vectors, which need not wait for each other. */
NOINLINE void sums_of_few_columns(ptrdiff_t m, ptrdiff_t n, const char *a, ptrdiff_t lda, char *sums)
{
#define COLUMNS(n, vectors) \
    case n: narrow_sums(vectors, n, m, a, lda, sums); break
    switch (n) {
        COLUMNS(1, 4);
#if LANES > 2
        COLUMNS(2, 4);
        COLUMNS(3, 6);
#endif
#if LANES > 4
        COLUMNS(4, 4);
        COLUMNS(5, 5);
        COLUMNS(6, 6);
        COLUMNS(7, 7);
#endif
#if LANES > 8
        COLUMNS(8, 8);
#endif
    }
#undef COLUMNS
}

/* Four rows at a time, from end to end: the processor fetches such streams ahead by itself. */
static void row_sums(ptrdiff_t m, ptrdiff_t n, const char *a, ptrdiff_t lda, double divisor, char *sums)
{
    const vec by = vec_set((real)divisor);
#define FOUR(load, v) (v) + ((load(a + at) + load(a + at + lda)) + (load(a + at + 2 * lda) + load(a + at + 3 * lda)))
#define ONE(load, v) (v) + load(a + at)
#define DIVIDED(load, v) (v) / by
    if (n <= MOST_NARROW) {
        sums_of_few_columns(m, n, a, lda, sums);
        m = 0;
    }
    for (; m >= 4; m -= 4, a += 4 * lda) OVER_ROW(n, sums, sums, FOUR);
    for (; m > 0; m--, a += lda) OVER_ROW(n, sums, sums, ONE);
    if (divisor != 1) OVER_ROW(n, sums, sums, DIVIDED);
#undef FOUR
#undef ONE
#undef DIVIDED
}

#undef OVER_ROW
#undef LOAD_SOME
#endif
