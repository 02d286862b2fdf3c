/* Pooling: the largest of a window's pixels, or their mean, channel by channel. */
#ifndef FASTPW_POOL_H
#define FASTPW_POOL_H

#include "vec_lanes.h"

/* So many vectors of channels are computed together, so that pointers to pixels are read less often. */
enum { POOL_VECTORS = 4 };

/* Where one output's taps begin, what its sum is divided by, and where it goes. */
typedef struct {
    const char *const *pixels;
    real divisor;
    char *c;
} pool_place;

INLINE vec pool_load(const int whole, const char *p, vec_lanes lanes)
{
    return whole ? vec_load(p) : vec_load_lanes(p, lanes);
}

/* The larger one, or NaN if one of them is NaN. */
INLINE vec larger(vec v, vec x) { return vec_or_nan(vec_max(v, x), x); }

/* Computes so many vectors of channels, from byte `at` of the pixels on. */
INLINE void pool_vectors(const int averages, const int vectors, const int whole, const fastpw_window *w,
                         const pool_place *to, ptrdiff_t at, ptrdiff_t place, vec_lanes lanes)
{
    vec total[POOL_VECTORS];
    UNROLL for (int v = 0; v < vectors; v++) total[v] = vec_set(averages ? 0 : -(real)__builtin_inf());
    const char *const *row = to->pixels;
    for (ptrdiff_t i = 0; i < w->tap_rows; i++, row += w->row_step * w->ld) {
        vec sum[POOL_VECTORS];
        UNROLL for (int v = 0; v < vectors; v++) sum[v] = averages ? (vec){0} : total[v];
        for (ptrdiff_t j = 0; j < w->tap_columns; j++) {
            const char *x = row[j * w->column_step] + at;
            UNROLL for (int v = 0; v < vectors; v++) {
                const vec next = pool_load(whole, x + v * VEC_BYTES, lanes);
                sum[v] = averages ? sum[v] + next : larger(sum[v], next);
            }
        }
        UNROLL for (int v = 0; v < vectors; v++) total[v] = averages ? total[v] + sum[v] : sum[v];
    }
    UNROLL for (int v = 0; v < vectors; v++) {
        if (averages) total[v] = total[v] / vec_set(to->divisor);
        char *c = to->c + place + v * VEC_BYTES;
        if (whole)
            vec_store(c, total[v]);
        else
            vec_store_lanes(c, total[v], lanes);
    }
}

INLINE void pool_pixel(const int averages, const fastpw_pool_args *p, const pool_place *to)
{
    const vec_lanes all = vec_first(LANES);
    const ptrdiff_t vectors = p->n / LANES;
    ptrdiff_t v = 0;
    for (; v + POOL_VECTORS <= vectors; v += POOL_VECTORS)
        pool_vectors(averages, POOL_VECTORS, 1, &p->window, to, p->at + v * VEC_BYTES, v * VEC_BYTES, all);
    for (; v < vectors; v++)
        pool_vectors(averages, 1, 1, &p->window, to, p->at + v * VEC_BYTES, v * VEC_BYTES, all);
    if (p->n % LANES)
        pool_vectors(averages, 1, 0, &p->window, to, p->at + v * VEC_BYTES, v * VEC_BYTES, vec_first(p->n % LANES));
}

INLINE void pool_rows(const int averages, const fastpw_pool_args *p)
{
    const fastpw_window *w = &p->window;
    for (ptrdiff_t i = 0; i < p->rows; i++)
        for (ptrdiff_t j = 0; j < p->columns; j++) {
            const pool_place to = {
                w->pixels + i * w->row_stride * w->ld + j * w->column_stride,
                averages ? (real)p->row_taps[i] * (real)p->column_taps[j] : 1, p->c + i * p->row_ldc + j * p->ldc,
            };
            pool_pixel(averages, p, &to);
        }
}

static void pool(const fastpw_pool_args *p)
{
    if (p->row_taps)
        pool_rows(1, p);
    else
        pool_rows(0, p);
}

#endif
