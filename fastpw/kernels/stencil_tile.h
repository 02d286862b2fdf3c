/* A weight per channel for each tap of a window: depthwise convolution.
 *
 * A tile has FASTPW_WINDOW_COLUMNS outputs of a row, for a vector of channels at
 * a time, which are as many sums as keep two multiply-add units busy.  Each sum
 * adds its taps in one order, whatever the tile, so a result does not depend on
 * where its pixel lies.  Where a row of outputs ends, the rest of the tile is
 * computed and not stored.
 */
#ifndef FASTPW_STENCIL_TILE_H
#define FASTPW_STENCIL_TILE_H

#include "epilogue.h"

enum { TILE_COLUMNS = FASTPW_WINDOW_COLUMNS };

/* Widths and strides of windows with tiles of their own.  They are as wide as registers allow beside the sums, a pixel
 * and, without a fused multiply-add, a product.  All other windows take sum_taps, and most windows in float64. */
#if defined(REAL_F32) && (VEC_REGISTERS == 32 || VEC_ADDS_IN_PLACE)
#  define KNOWN_WINDOWS(DO) DO(3, 1) DO(3, 2) DO(5, 1) DO(5, 2) DO(7, 1) DO(7, 2)
#else
#  define KNOWN_WINDOWS(DO) DO(3, 1) DO(3, 2)
#endif
/* Whether narrow windows are computed for two vectors of channels at a time, which is where a vector is half a cache
 * line. */
enum { IN_PAIRS = VEC_BYTES == CACHE_LINE / 2 };
enum { MOST_TAPS = 7, PAIR_COLUMNS = TILE_COLUMNS / 2, TO_SECOND_LEVEL = 2 };

/* Where a tile is. */
typedef struct {
    const char *const *pixels;               /* of the first tap of its first output */
    ptrdiff_t columns;                       /* that are stored */
    const char *residual;
    char *z, *c;
} stencil_place;

/* Where a vector of channels lies: at byte `from` of the pixels that are read, and at byte `to` of those that are
 * written. */
typedef struct {
    ptrdiff_t from, to;
    vec_lanes lanes;
} stencil_channels;

#define FOR_COLUMNS(k, columns, count) UNROLL for (int k = 0; k < (columns); k++) if (k < (count))

INLINE vec load_channels(const int whole, const char *p, vec_lanes lanes)
{
    return whole ? vec_load(p) : vec_load_lanes(p, lanes);
}

INLINE void store_channels(const int whole, char *p, vec v, vec_lanes lanes)
{
    if (whole)
        vec_store(p, v);
    else
        vec_store_lanes(p, v, lanes);
}

/* Sets the sums to what they start from. The residual is added to the bias first, as it is in a product. */
INLINE void stencil_begin(const int columns, const int whole, vec *t, const fastpw_output *out, const stencil_place *at,
                          const stencil_channels *ch, vec bias)
{
    UNROLL for (int k = 0; k < columns; k++) t[k] = bias;
    if (at->residual)
        FOR_COLUMNS(k, columns, at->columns)
            t[k] += load_channels(whole, at->residual + k * out->ldr + ch->to, ch->lanes);
}

INLINE void stencil_put(const int width, const int whole, const vec *t, char *p, ptrdiff_t ld, ptrdiff_t columns,
                        vec_lanes lanes)
{
    FOR_COLUMNS(k, width, columns) store_channels(whole, p + k * ld, t[k], lanes);
}

INLINE void stencil_end(const int columns, const int whole, vec *t, const fastpw_output *out, const stencil_place *at,
                        const stencil_channels *ch)
{
    const vec alpha = vec_set((real)out->epilogue->alpha), beta = vec_set((real)out->epilogue->beta);
    if (at->z) stencil_put(columns, whole, t, at->z + ch->to, out->ldz, at->columns, ch->lanes);
#define CASE(NAME, reads, act, slope)                                                                        \
    case FASTPW_##NAME:                                                                                      \
        UNROLL for (int k = 0; k < columns; k++) t[k] = activate(t[k], FASTPW_##NAME, alpha, beta);     \
        break;
    switch (out->epilogue->activation) { FASTPW_CHEAP_ACTIVATIONS(CASE) }
#undef CASE
    stencil_put(columns, whole, t, at->c + ch->to, out->ldc, at->columns, ch->lanes);
}

/* Adds all taps of any window. */
INLINE void sum_taps(const int whole, vec *t, const fastpw_window *w, const char *const *row, const char *weight,
                     const stencil_channels *ch)
{
    for (ptrdiff_t i = 0; i < w->tap_rows; i++, row += w->row_step * w->ld) {
        const char *const *pixel = row;
        for (ptrdiff_t j = 0; j < w->tap_columns; j++, pixel += w->column_step, weight += VEC_BYTES) {
            const vec v = vec_load(weight);
            UNROLL for (int k = 0; k < TILE_COLUMNS; k++)
                t[k] = vec_add_product(
                    t[k], load_channels(whole, pixel[k * w->column_stride] + ch->from, ch->lanes), v);
        }
    }
}

/* Adds all taps of a window that is `taps` wide.  A row of its weights stays in registers, so each pixel is loaded once
 * for all outputs whose windows have it. */
INLINE void sum_known_taps(const int taps, const int stride, vec *t, const fastpw_window *w, const char *const *row,
                           const char *weight, const stencil_channels *ch)
{
    for (ptrdiff_t i = 0; i < w->tap_rows; i++, row += w->row_step * w->ld, weight += taps * VEC_BYTES) {
        vec v[MOST_TAPS];
        UNROLL for (int q = 0; q < (TILE_COLUMNS - 1) * stride + taps; q++) {
            if (q < taps) v[q] = vec_load(weight + q * VEC_BYTES);
            const vec x = vec_load(row[q] + ch->from);
            UNROLL for (int k = 0; k < TILE_COLUMNS; k++) {
                const int j = q - k * stride;
                if (j >= 0 && j < taps) t[k] = vec_add_product(t[k], x, v[j]);
            }
        }
    }
}

INLINE const char *weights_of_vector(const fastpw_stencil_args *s, ptrdiff_t vector)
{
    return s->weights + vector * (1 + s->window.tap_rows * s->window.tap_columns * s->group) * VEC_BYTES;
}

/* Computes the channels of a tile that fill vectors, from vector `first` on. */
INLINE void stencil_tile(const int taps, const int stride, const fastpw_stencil_args *s, const stencil_place *at,
                         ptrdiff_t first)
{
    stencil_channels ch = {s->at + first * VEC_BYTES, first * VEC_BYTES, vec_first(LANES)};
    const char *weights = weights_of_vector(s, first);
    const ptrdiff_t bytes = s->n / LANES * VEC_BYTES, step = weights_of_vector(s, 1) - s->weights;
    for (; ch.to < bytes; ch.to += VEC_BYTES, ch.from += VEC_BYTES, weights += step) {
        vec t[TILE_COLUMNS];
        stencil_begin(TILE_COLUMNS, 1, t, &s->out, at, &ch, vec_load(weights));
        if (taps)
            sum_known_taps(taps, stride, t, &s->window, at->pixels, weights + VEC_BYTES, &ch);
        else
            sum_taps(1, t, &s->window, at->pixels, weights + VEC_BYTES, &ch);
        stencil_end(TILE_COLUMNS, 1, t, &s->out, at, &ch);
    }
}

/* Adds all taps for four columns and two vectors of channels, so a whole cache line of each pixel is used at once.  It
 * need not stay in the cache for a second look, which it might not: pixels that lie a power of two apart share a few
 * lines of the cache.  With `fetch`, the tile also fetches the lines that the tile to its right is the first to read,
 * because the processor does not fetch so many short runs by itself. */
INLINE void sum_pairs(const int taps, const int stride, const int fetch, vec *t, const fastpw_window *w,
                      const char *const *row, const char *weight, ptrdiff_t step, ptrdiff_t from)
{
    const ptrdiff_t right = fetch ? (row[taps] - row[taps - 1]) * PAIR_COLUMNS * stride : 0;
    for (ptrdiff_t i = 0; i < w->tap_rows; i++, row += w->row_step * w->ld, weight += taps * VEC_BYTES) {
        vec v[MOST_TAPS][2];
        UNROLL for (int q = 0; q < (PAIR_COLUMNS - 1) * stride + taps; q++) {
            const char *p = row[q] + from;
            UNROLL for (int h = 0; h < 2; h++) {
                if (q < taps) v[q][h] = vec_load(weight + h * step + q * VEC_BYTES);
                const vec x = vec_load(p + h * VEC_BYTES);
                vec *sums = t + h * PAIR_COLUMNS;
                UNROLL for (int k = 0; k < PAIR_COLUMNS; k++) {
                    const int j = q - k * stride;
                    if (j >= 0 && j < taps) sums[k] = vec_add_product(sums[k], x, v[j][h]);
                }
            }
            if (fetch && q >= taps - stride && i + stride >= w->tap_rows)
                __builtin_prefetch(p + right, 0, TO_SECOND_LEVEL);
        }
    }
}

/* Whether all columns of a tile are stored, and nothing else is read or written.  Most tiles are like that, and without
 * the questions that the others ask, they take a twentieth less time.  The sums of a costly activation are stored as
 * they are. */
INLINE int is_plain(const fastpw_stencil_args *s, const stencil_place *at)
{
    const int activation = s->out.epilogue->activation;
    return at->columns >= PAIR_COLUMNS && !at->residual && !at->z
           && activation != FASTPW_CLIP;
}

INLINE void plain_pairs(const int taps, const int stride, const int fetch, const fastpw_stencil_args *s,
                        const stencil_place *at)
{
    const ptrdiff_t bytes = s->n / (2 * LANES) * 2 * VEC_BYTES, step = weights_of_vector(s, 1) - s->weights;
    const ptrdiff_t from = s->at, ldc = s->out.ldc;
    const fastpw_window window = s->window;      /* a copy, which the stores below cannot change */
    const char *const *const pixels = at->pixels;
    const char *weights = s->weights;
    char *c = at->c;
    const int relu = s->out.epilogue->activation == FASTPW_RELU;
    const vec none = vec_set(0);
    for (ptrdiff_t to = 0; to < bytes; to += 2 * VEC_BYTES, c += 2 * VEC_BYTES, weights += 2 * step) {
        vec t[2 * PAIR_COLUMNS];
        UNROLL for (int k = 0; k < 2 * PAIR_COLUMNS; k++) t[k] = vec_load(weights + k / PAIR_COLUMNS * step);
        sum_pairs(taps, stride, fetch, t, &window, pixels, weights + VEC_BYTES, step, from + to);
        if (relu)
            UNROLL for (int k = 0; k < 2 * PAIR_COLUMNS; k++) t[k] = activate(t[k], FASTPW_RELU, none, none);
        UNROLL for (int k = 0; k < PAIR_COLUMNS; k++) {
            if (fetch) __builtin_prefetch(c + (k + PAIR_COLUMNS) * ldc, 1);
            vec_store(c + k * ldc, t[k]);
            vec_store(c + k * ldc + VEC_BYTES, t[PAIR_COLUMNS + k]);
        }
    }
}

INLINE void any_pairs(const int taps, const int stride, const fastpw_stencil_args *s, const stencil_place *at)
{
    const ptrdiff_t bytes = s->n / (2 * LANES) * 2 * VEC_BYTES, step = weights_of_vector(s, 1) - s->weights;
    const char *weights = s->weights;
    stencil_channels ch = {s->at, 0, vec_first(LANES)};
    for (; ch.to < bytes; weights += 2 * step) {
        vec t[2 * PAIR_COLUMNS];
        UNROLL for (int h = 0; h < 2; h++) {
            stencil_begin(PAIR_COLUMNS, 1, t + h * PAIR_COLUMNS, &s->out, at, &ch, vec_load(weights + h * step));
            ch.to += VEC_BYTES;
        }
        sum_pairs(taps, stride, 0, t, &s->window, at->pixels, weights + VEC_BYTES, step, ch.from);
        ch.to -= 2 * VEC_BYTES;
        UNROLL for (int h = 0; h < 2; h++) {
            stencil_end(PAIR_COLUMNS, 1, t + h * PAIR_COLUMNS, &s->out, at, &ch);
            ch.to += VEC_BYTES;
        }
        ch.from += 2 * VEC_BYTES;
    }
}

/* Computes half a tile by pairs of vectors.  A tile with a costly activation fetches nothing for the next one: it waits
 * less for memory, and fetching takes it longer than it saves. */
INLINE void stencil_pairs(const int taps, const int stride, const fastpw_stencil_args *s, const stencil_place *at)
{
    if (!is_plain(s, at))
        any_pairs(taps, stride, s, at);
    else if (s->far && is_cheap(s->out.epilogue->activation))
        plain_pairs(taps, stride, 1, s, at);
    else
        plain_pairs(taps, stride, 0, s, at);
}

/* Computes both halves of a tile by pairs of vectors, and a last vector without another. */
INLINE void stencil_halves(const int taps, const int stride, const fastpw_stencil_args *s, const stencil_place *at)
{
    const ptrdiff_t right = at->columns - PAIR_COLUMNS;
    stencil_place half = *at;
    half.columns = right > 0 ? PAIR_COLUMNS : at->columns;
    stencil_pairs(taps, stride, s, &half);
    if (s->n / LANES % 2) stencil_tile(taps, stride, s, at, s->n / LANES - 1);
    if (right <= 0) return;
    half.columns = right;
    half.pixels += PAIR_COLUMNS * stride;
    half.c += PAIR_COLUMNS * s->out.ldc;
    if (half.residual) half.residual += PAIR_COLUMNS * s->out.ldr;
    if (half.z) half.z += PAIR_COLUMNS * s->out.ldz;
    stencil_pairs(taps, stride, s, &half);
}

/* Computes the last channels of a tile, which do not fill a vector. */
NOINLINE void stencil_rest(const fastpw_stencil_args *s, const stencil_place *at)
{
    const ptrdiff_t vectors = s->n / LANES;
    const char *weights = weights_of_vector(s, vectors);
    const stencil_channels ch = {s->at + vectors * VEC_BYTES, vectors * VEC_BYTES, vec_first(s->n % LANES)};
    vec t[TILE_COLUMNS];
    stencil_begin(TILE_COLUMNS, 0, t, &s->out, at, &ch, vec_load(weights));
    sum_taps(0, t, &s->window, at->pixels, weights + VEC_BYTES, &ch);
    stencil_end(TILE_COLUMNS, 0, t, &s->out, at, &ch);
}

typedef void stencil_function(const fastpw_stencil_args *, const stencil_place *);

#define STENCIL_TILE(taps, stride)                                                                         \
    NOINLINE void stencil_tile_##taps##_##stride(const fastpw_stencil_args *s, const stencil_place *at)     \
    {                                                                                                       \
        if (IN_PAIRS && (taps) == 3)                                                                        \
            stencil_halves(taps, stride, s, at);                                                            \
        else                                                                                                \
            stencil_tile(taps, stride, s, at, 0);                                                           \
    }
STENCIL_TILE(0, 0)
KNOWN_WINDOWS(STENCIL_TILE)

static stencil_function *function_for(const fastpw_window *w)
{
#define TRY(taps, stride)                                                                                   \
    if (w->tap_columns == taps && w->column_stride == stride && w->column_step == 1)                        \
        return stencil_tile_##taps##_##stride;
    KNOWN_WINDOWS(TRY)
#undef TRY
    return stencil_tile_0_0;
}

#endif
