/* Depthwise convolution with windows of 3 x 3, two rows of outputs at a time.
 *
 * Two rows of outputs have rows of pixels in common, and each pixel and weight that is loaded serves both.  A tile of
 * both has eight sums or more, as many as keep two multiply-add units busy.  Windows two pixels apart have less in
 * common, and gain nothing.  Each sum adds its taps in the order in
 * which all tiles add them.
 */
#ifndef FASTPW_STENCIL_TWO_ROWS_H
#define FASTPW_STENCIL_TWO_ROWS_H

#include "stencil_tile.h"

#ifdef REAL_F32
#  define HAS_TWO_ROWS HAS_ALL_TILES
#else
#  define HAS_TWO_ROWS 0
#endif
/* Where the compiler schedules multiply-adds itself, it spills with eight columns, even with 32 registers. */
enum { BOTH_COLUMNS = VEC_REGISTERS == 32 && VEC_ADDS_IN_PLACE ? 8 : 4, BOTH_TAPS = 3 };

/* Where a tile of two rows is. */
typedef struct {
    const char *const *pixels;               /* of the first tap of its first output */
    ptrdiff_t columns;                       /* that are stored */
    char *c;
} both_place;

#if HAS_TWO_ROWS
/* Adds all taps to both rows. */
INLINE void sum_both(vec *t, const fastpw_window *w, const char *const *row,
                     const char *weight, ptrdiff_t from)
{
    UNROLL for (int i = 0; i < BOTH_TAPS + 1; i++, row += w->ld) {
        vec x[BOTH_COLUMNS - 1 + BOTH_TAPS];
        UNROLL for (int j = 0; j < BOTH_TAPS; j++) {
            UNROLL for (int k = 0; k < BOTH_COLUMNS; k++) {
                if (j == 0 || k == BOTH_COLUMNS - 1) x[k + j] = vec_load(row[k + j] + from);
            }
            UNROLL for (int r = 0; r < 2; r++) {
                const int tap = i - r;
                if (tap < 0 || tap >= BOTH_TAPS) continue;
                const vec v = vec_load(weight + (tap * BOTH_TAPS + j) * VEC_BYTES);
                UNROLL for (int k = 0; k < BOTH_COLUMNS; k++)
                    t[r * BOTH_COLUMNS + k] = vec_add_product(t[r * BOTH_COLUMNS + k], x[k + j], v);
            }
        }
    }
}

/* Fetches, of a vector of channels, the pixels that the tile to the right is the first to read, and the lines that it
 * stores to.  Its pixels lie `right` bytes from those of this tile, and its results follow this tile's. */
INLINE void fetch_both(const char *const *row, ptrdiff_t ld, ptrdiff_t from, ptrdiff_t right, char *c, ptrdiff_t ldc,
                       ptrdiff_t row_ldc)
{
    row += 2 * ld + BOTH_TAPS - 1;
    UNROLL for (int k = 0; k < BOTH_COLUMNS; k++) {
        __builtin_prefetch(row[k] + from + right, 0, TO_SECOND_LEVEL);
        __builtin_prefetch(row[ld + k] + from + right, 0, TO_SECOND_LEVEL);
        __builtin_prefetch(c + (k + BOTH_COLUMNS) * ldc, 1);
        __builtin_prefetch(c + (k + BOTH_COLUMNS) * ldc + row_ldc, 1);
    }
}

INLINE void finish_both(vec *t, const fastpw_epilogue *e)
{
    const vec alpha = vec_set((real)e->alpha), beta = vec_set((real)e->beta);
#define CASE(NAME, reads, act, slope)                                                                        \
    case FASTPW_##NAME:                                                                                      \
        UNROLL for (int k = 0; k < 2 * BOTH_COLUMNS; k++) t[k] = activate(t[k], FASTPW_##NAME, alpha, beta); \
        break;
    switch (e->activation) { FASTPW_CHEAP_ACTIVATIONS(CASE) }
#undef CASE
}

/* Computes whole vectors of channels of a tile, and with `fetch` fetches for the tile to its right. */
INLINE void compute_both(const int fetch, const fastpw_stencil_args *s, const both_place *at)
{
    const fastpw_window window = s->window;      /* a copy, which the stores below cannot change */
    const fastpw_epilogue epilogue = *s->out.epilogue;
    const ptrdiff_t bytes = s->n / LANES * VEC_BYTES, step = weights_of_vector(s, 1) - s->weights;
    const ptrdiff_t ldc = s->out.ldc, row_ldc = s->row_ldc, from = s->at, columns = at->columns;
    const char *const *const pixels = at->pixels;
    const ptrdiff_t right = (pixels[BOTH_TAPS - 1] - pixels[BOTH_TAPS - 2]) * BOTH_COLUMNS;
    const char *weights = s->weights;
    char *c = at->c;
    for (ptrdiff_t to = 0; to < bytes; to += VEC_BYTES, c += VEC_BYTES, weights += step) {
        vec t[2 * BOTH_COLUMNS];
        if (fetch && to % CACHE_LINE == 0) fetch_both(pixels, window.ld, from + to, right, c, ldc, row_ldc);
        const vec bias = vec_load(weights);
        UNROLL for (int k = 0; k < 2 * BOTH_COLUMNS; k++) t[k] = bias;
        sum_both(t, &window, pixels, weights + VEC_BYTES, from + to);
        finish_both(t, &epilogue);
        if (columns >= BOTH_COLUMNS) {
            UNROLL for (int k = 0; k < BOTH_COLUMNS; k++) vec_store(c + k * ldc, t[k]);
            UNROLL for (int k = 0; k < BOTH_COLUMNS; k++) vec_store(c + row_ldc + k * ldc, t[BOTH_COLUMNS + k]);
            continue;
        }
        FOR_COLUMNS(k, BOTH_COLUMNS, columns) vec_store(c + k * ldc, t[k]);
        FOR_COLUMNS(k, BOTH_COLUMNS, columns) vec_store(c + row_ldc + k * ldc, t[BOTH_COLUMNS + k]);
    }
}

NOINLINE void both_tile(const fastpw_stencil_args *s, const both_place *at) { compute_both(0, s, at); }
NOINLINE void both_tile_far(const fastpw_stencil_args *s, const both_place *at) { compute_both(1, s, at); }

/* Whether two rows may be computed at a time: the window is one that is known, and nothing but the sums goes in. */
INLINE int takes_both(const fastpw_stencil_args *s)
{
    const fastpw_window *w = &s->window;
    return s->group == 1 && w->tap_rows == BOTH_TAPS && w->tap_columns == BOTH_TAPS && w->row_step == 1 && w->column_step == 1
           && w->row_stride == 1 && w->column_stride == 1 && s->n >= LANES && !s->out.residual
           && !s->out.z && is_cheap(s->out.epilogue->activation);
}

/* Computes all pairs of rows; the channels that do not fill a vector are left. */
static void rows_by_two(const fastpw_stencil_args *s)
{
    const fastpw_window *w = &s->window;
    for (ptrdiff_t p = 0; p + 1 < s->rows; p += 2) {
        both_place at = {w->pixels + p * w->ld, 0, s->out.c + p * s->row_ldc};
        for (ptrdiff_t k = 0; k < s->columns; k += BOTH_COLUMNS) {
            at.columns = s->columns - k;
            (s->far > 1 ? both_tile_far : both_tile)(s, &at);
            at.pixels += BOTH_COLUMNS;
            at.c += BOTH_COLUMNS * s->out.ldc;
        }
    }
}
#else
INLINE int takes_both(const fastpw_stencil_args *s) { (void)s; return 0; }
static void rows_by_two(const fastpw_stencil_args *s) { (void)s; }
#endif

#endif
