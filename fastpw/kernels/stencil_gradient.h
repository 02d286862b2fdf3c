/* The gradient of a depthwise convolution's weights: for each tap of a window,
 * sums over outputs of dz times the pixel under the tap.
 *
 * A tile has some taps of a vector of channels.  Their sums stay in registers
 * while it walks over rows of outputs, so each dz is loaded once for all of
 * them.  Taps that lie on no pixel are left out, so what dz holds there does
 * not matter.
 */
#ifndef FASTPW_STENCIL_GRADIENT_H
#define FASTPW_STENCIL_GRADIENT_H

#include "gradient.h"

/* Windows with tiles of their own: how many taps they are wide, and how many rows of taps a tile has.  The last tiles
 * of a window have one row of taps.  All other windows, most of those in float64, are summed tap by tap. */
#if defined(REAL_F32) && VEC_REGISTERS == 32
#  define SUMMED_WINDOWS(DO) DO(3, 3) DO(5, 2) DO(7, 1)
#  define SUMMED_ROWS(DO) DO(3, 3) DO(3, 1) DO(5, 2) DO(5, 1) DO(7, 1)
#elif defined(REAL_F32)
#  define SUMMED_WINDOWS(DO) DO(3, 3) DO(5, 1) DO(7, 1)
#  define SUMMED_ROWS(DO) DO(3, 3) DO(3, 1) DO(5, 1) DO(7, 1)
#else
#  define SUMMED_WINDOWS(DO) DO(3, 3)
#  define SUMMED_ROWS(DO) DO(3, 3) DO(3, 1)
#endif

/* The most sums that a tile has: they stay in registers beside a dz and a pixel.  The array of sums has this constant
 * size, because one of taps * down sums would live in memory. */
enum { MOST_SUMS = 10 };

/* A span of outputs: from `start` to before `stop`. */
typedef struct {
    ptrdiff_t start, stop;
} output_span;

/* Where a tile is: its first row of taps, and the rows and columns of outputs that have a pixel under each of its
 * taps. */
typedef struct {
    ptrdiff_t tap_row;
    output_span rows, inner;
} summed_place;

/* The outputs that have a pixel under a tap. */
INLINE output_span outputs_met(const fastpw_slide *s, ptrdiff_t tap, ptrdiff_t outputs)
{
    const ptrdiff_t at = s->origin + tap * s->step, last = s->inputs - 1 - at;
    output_span met = {at < 0 ? (-at + s->stride - 1) / s->stride : 0, last < 0 ? 0 : last / s->stride + 1};
    if (met.stop > outputs) met.stop = outputs;
    if (met.start > met.stop) met.start = met.stop;
    return met;
}

INLINE output_span both_spans(output_span a, output_span b)
{
    output_span both = {a.start > b.start ? a.start : b.start, a.stop < b.stop ? a.stop : b.stop};
    if (both.start > both.stop) both.start = both.stop;
    return both;
}

/* Adds the products of one output to the sums.  x is the pixel under its first tap, at column `at`.  Near an edge, only
 * the taps that lie on a pixel are added. */
INLINE void add_output(const int taps, const int down, const int inner, vec *t, const fastpw_stencil_gradient_args *g,
                       vec dz, const char *x, ptrdiff_t at)
{
    const ptrdiff_t row_step = g->down.step * g->row_ldx;
    UNROLL for (int j = 0; j < taps; j++)
        if (inner || (at + j >= 0 && at + j < g->across.inputs))
            UNROLL for (int i = 0; i < down; i++)
                t[i * taps + j] = vec_add_product(t[i * taps + j], dz, vec_load(x + i * row_step + j * g->ldx));
}

INLINE void add_outputs(const int taps, const int down, const int inner, vec *t, const fastpw_stencil_gradient_args *g,
                        const char *dz, const char *x, output_span columns)
{
    const ptrdiff_t lddz = g->lddz, step = g->across.stride * g->ldx;
    ptrdiff_t at = columns.start * g->across.stride + g->across.origin;
    dz += columns.start * lddz, x += at * g->ldx;
    for (ptrdiff_t q = columns.start; q < columns.stop; q++, dz += lddz, x += step, at += g->across.stride)
        add_output(taps, down, inner, t, g, vec_load(dz), x, at);
}

/* Sums a tile's taps for all channels that fill vectors. */
INLINE void sum_tile(const int taps, const int down, const fastpw_stencil_gradient_args *args, const summed_place *at)
{
    const fastpw_stencil_gradient_args g = *args;         /* a copy, which the stores below cannot change */
    const ptrdiff_t row = at->rows.start * g.down.stride + g.down.origin + at->tap_row * g.down.step;
    const char *dz = g.dz + at->rows.start * g.row_lddz, *x = g.x + row * g.row_ldx;
    char *sums = g.sums + at->tap_row * taps * g.ldsums;
    const output_span left = {0, at->inner.start}, right = {at->inner.stop, g.columns};
    for (ptrdiff_t v = 0; v < g.n / LANES; v++, dz += VEC_BYTES, x += VEC_BYTES, sums += VEC_BYTES) {
        vec t[MOST_SUMS];
        UNROLL for (int k = 0; k < taps * down; k++) t[k] = vec_set(0);
        const char *dz_row = dz, *x_row = x;
        for (ptrdiff_t p = at->rows.start; p < at->rows.stop; p++) {
            add_outputs(taps, down, 0, t, &g, dz_row, x_row, left);
            add_outputs(taps, down, 1, t, &g, dz_row, x_row, at->inner);
            add_outputs(taps, down, 0, t, &g, dz_row, x_row, right);
            dz_row += g.row_lddz, x_row += g.down.stride * g.row_ldx;
        }
        UNROLL for (int k = 0; k < taps * down; k++)
            vec_store(sums + k * g.ldsums, vec_load(sums + k * g.ldsums) + t[k]);
    }
}

typedef void summing_function(const fastpw_stencil_gradient_args *, const summed_place *);

#define SUM_TILE(taps, down)                                                                                     \
    NOINLINE void sum_tile_##taps##_##down(const fastpw_stencil_gradient_args *g, const summed_place *at)         \
    {                                                                                                             \
        sum_tile(taps, down, g, at);                                                                              \
    }
SUMMED_ROWS(SUM_TILE)

/* Sums one row of taps, over the rows of outputs in a span that have a pixel under it. */
INLINE void sum_tap_row(summing_function *tile, const fastpw_stencil_gradient_args *g, summed_place at,
                        output_span rows)
{
    at.rows = both_spans(rows, outputs_met(&g->down, at.tap_row, g->rows));
    if (at.rows.start < at.rows.stop) tile(g, &at);
}

/* Sums a window, `down` rows of taps at a time over the outputs that have pixels under all of them.  Outputs above and
 * below those, and rows of taps that are left over, are summed one row of taps at a time. */
INLINE void sum_known_window(const int down, summing_function *tile, summing_function *one,
                             const fastpw_stencil_gradient_args *g)
{
    summed_place at = {0, {0, g->rows}, {0, g->columns}};
    for (ptrdiff_t j = 0; j < g->across.taps; j++)
        at.inner = both_spans(at.inner, outputs_met(&g->across, j, g->columns));
    for (ptrdiff_t first = 0; first < g->down.taps; first += down) {
        output_span all = {0, first + down <= g->down.taps ? g->rows : 0};
        for (int i = 0; i < down; i++) all = both_spans(all, outputs_met(&g->down, first + i, g->rows));
        at.tap_row = first, at.rows = all;
        if (all.start < all.stop) tile(g, &at);
        for (; at.tap_row < first + down && at.tap_row < g->down.taps; at.tap_row++) {
            sum_tap_row(one, g, at, (output_span){0, all.start});
            sum_tap_row(one, g, at, (output_span){all.stop, g->rows});
        }
    }
}

/* Sums any window tap by tap, for the channels from byte `at` on. */
static void sum_any_window(const fastpw_stencil_gradient_args *g, ptrdiff_t at)
{
    char *sums = g->sums + at;
    for (ptrdiff_t i = 0; i < g->down.taps; i++) {
        const output_span rows = outputs_met(&g->down, i, g->rows);
        for (ptrdiff_t j = 0; j < g->across.taps; j++, sums += g->ldsums) {
            const output_span columns = outputs_met(&g->across, j, g->columns);
            const ptrdiff_t column = columns.start * g->across.stride + g->across.origin + j * g->across.step;
            for (ptrdiff_t p = rows.start; p < rows.stop; p++) {
                const ptrdiff_t row = p * g->down.stride + g->down.origin + i * g->down.step;
                column_sums(columns.stop - columns.start, g->n - at / (int)sizeof(real),
                            g->dz + p * g->row_lddz + columns.start * g->lddz + at, g->lddz,
                            g->x + row * g->row_ldx + column * g->ldx + at, g->across.stride * g->ldx, sums);
            }
        }
    }
}

static void stencil_gradient(const fastpw_stencil_gradient_args *g)
{
    const ptrdiff_t whole = g->n / LANES * VEC_BYTES;
#define TRY(wide, high)                                                                                          \
    if (g->across.taps == wide && g->across.step == 1) {                                                          \
        sum_known_window(high, sum_tile_##wide##_##high, sum_tile_##wide##_1, g);                                 \
        if (g->n % LANES) sum_any_window(g, whole);                                                               \
        return;                                                                                                   \
    }
    SUMMED_WINDOWS(TRY)
#undef TRY
    sum_any_window(g, 0);
}

#endif
