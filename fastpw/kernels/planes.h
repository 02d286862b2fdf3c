/* Pixels of few channels: a vector holds one channel of several pixels.
 *
 * A pixel of three channels does not fill a vector, and a tile that takes it by
 * itself spends its time on the lanes that are left.  Where pixels follow each
 * other without gaps, several are loaded at once and their channels put apart.
 * The sums of a pixel are made in the order of the tile that the panel was
 * packed for, so results have the same bits either way.
 */
#ifndef FASTPW_PLANES_H
#define FASTPW_PLANES_H

#include "epilogue.h"
#include "pack.h"

#if LANES == 8 && HAS_ALL_TILES
#  define HAS_PLANES 1

enum { MOST_CHANNELS = 4 };

/* Channels of neighbouring pixels in the order of memory: the lower half of a vector is from the first four pixels, and
 * the upper half from the next four. */
INLINE vec load_halves(const int channels, const char *p)
{
    const quad low = *(const quad_unaligned *)p, high = *(const quad_unaligned *)(p + channels * (int)sizeof(quad));
    return __builtin_shufflevector(low, high, 0, 1, 2, 3, 4, 5, 6, 7);
}

INLINE void store_halves(const int channels, char *p, vec v)
{
    *(quad_unaligned *)p = (quad_unaligned)__builtin_shufflevector(v, v, 0, 1, 2, 3);
    *(quad_unaligned *)(p + channels * (int)sizeof(quad)) = (quad_unaligned)__builtin_shufflevector(v, v, 4, 5, 6, 7);
}

/* Lanes a and b of each half of one vector, then c and d of each half of another. */
#define HALVES(one, other, a, b, c, d) \
    __builtin_shufflevector(one, other, a, b, 8 + c, 8 + d, 4 + a, 4 + b, 12 + c, 12 + d)

INLINE void load_planes(const int channels, vec *x, const char *p)
{
    vec m[MOST_CHANNELS];
    UNROLL for (int i = 0; i < channels; i++)
        m[i] = channels == 1 ? vec_load(p) : load_halves(channels, p + i * (int)sizeof(quad));
    if (channels == 1)
        x[0] = m[0];
    else if (channels == 2)
        x[0] = HALVES(m[0], m[1], 0, 2, 0, 2), x[1] = HALVES(m[0], m[1], 1, 3, 1, 3);
    else if (channels == 3) {
        const vec xy = HALVES(m[1], m[2], 2, 3, 1, 2), yz = HALVES(m[0], m[1], 1, 2, 0, 1);
        x[0] = HALVES(m[0], xy, 0, 3, 0, 2), x[1] = HALVES(yz, xy, 0, 2, 1, 3), x[2] = HALVES(yz, m[2], 1, 3, 0, 3);
    } else {
        const vec low = HALVES(m[0], m[1], 0, 1, 0, 1), high = HALVES(m[0], m[1], 2, 3, 2, 3),
                  next_low = HALVES(m[2], m[3], 0, 1, 0, 1), next_high = HALVES(m[2], m[3], 2, 3, 2, 3);
        x[0] = HALVES(low, next_low, 0, 2, 0, 2), x[1] = HALVES(low, next_low, 1, 3, 1, 3);
        x[2] = HALVES(high, next_high, 0, 2, 0, 2), x[3] = HALVES(high, next_high, 1, 3, 1, 3);
    }
}

INLINE void store_planes(const int channels, char *p, const vec *y)
{
    vec m[MOST_CHANNELS];
    if (channels == 1) {
        vec_store(p, y[0]);
        return;
    }
    if (channels == 2)
        m[0] = __builtin_shufflevector(y[0], y[1], 0, 8, 1, 9, 4, 12, 5, 13),
        m[1] = __builtin_shufflevector(y[0], y[1], 2, 10, 3, 11, 6, 14, 7, 15);
    else if (channels == 3) {
        const vec xy = HALVES(y[0], y[1], 0, 2, 0, 2), yz = HALVES(y[1], y[2], 1, 3, 1, 3),
                  zx = HALVES(y[2], y[0], 0, 2, 1, 3);
        m[0] = HALVES(xy, zx, 0, 2, 0, 2), m[1] = HALVES(yz, xy, 0, 2, 1, 3), m[2] = HALVES(zx, yz, 1, 3, 1, 3);
    } else {
        const vec xy = HALVES(y[0], y[1], 0, 1, 0, 1), zw = HALVES(y[2], y[3], 0, 1, 0, 1),
                  xy_high = HALVES(y[0], y[1], 2, 3, 2, 3), zw_high = HALVES(y[2], y[3], 2, 3, 2, 3);
        m[0] = HALVES(xy, zw, 0, 2, 0, 2), m[1] = HALVES(xy, zw, 1, 3, 1, 3);
        m[2] = HALVES(xy_high, zw_high, 0, 2, 0, 2), m[3] = HALVES(xy_high, zw_high, 1, 3, 1, 3);
    }
    UNROLL for (int i = 0; i < channels; i++) store_halves(channels, p + i * (int)sizeof(quad), m[i]);
}

/* The sum of one column: as the wide tile makes it of a single channel, as the tile of one column does, which adds up
 * the products in pairs, and as that of four columns, which adds every other product apart.  A missing channel counts
 * as zero there, which makes a negative zero positive. */
INLINE vec plane_sum(const int channels, const int columns, const vec *x, const vec *w, vec bias)
{
    const vec zero = {0};
    vec part[MOST_CHANNELS];
    if (channels == 1) return bias + x[0] * w[0];
    UNROLL for (int i = 0; i < MOST_CHANNELS; i++) part[i] = i < channels ? zero + x[i] * w[i] : zero;
    if (columns == 1) return ((part[0] + part[1]) + (part[2] + part[3]) + zero) + bias;
    if (channels > 2) part[0] += x[2] * w[2];
    part[1] = channels == 4 ? part[1] + x[3] * w[3] : channels == 3 ? part[1] + zero : part[1];
    return (part[0] + part[1]) + bias;
}

/* Where a weight lies in the panel of that tile. */
INLINE const char *weight_of_plane(const int channels, const int columns, const fastpw_gemm_args *g, int channel,
                                   int column)
{
    const int wide = 2 * LANES, split = 2;
    const int head = channels == 1 ? wide : columns == 1 ? 1 : MOST_CHANNELS;
    const int at = channels == 1 ? column
                   : columns == 1 ? channel
                                  : channel / split * LANES + column * split + channel % split;
    return g->panel + (head + at) * (int)sizeof(real);
}

INLINE void planes_of_pixels(const int channels, const int columns, const fastpw_gemm_args *g, ptrdiff_t pixels)
{
    const int activation = g->out.epilogue->activation;
    const vec alpha = vec_set((real)g->out.epilogue->alpha), beta = vec_set((real)g->out.epilogue->beta);
    const char *a = g->a;
    char *c = g->out.c;
    vec w[MOST_CHANNELS][MOST_CHANNELS], bias[MOST_CHANNELS];
    UNROLL for (int j = 0; j < columns; j++) {
        bias[j] = vec_set(real_load(g->panel + j * (int)sizeof(real)));
        UNROLL for (int i = 0; i < channels; i++)
            w[j][i] = vec_set(real_load(weight_of_plane(channels, columns, g, i, j)));
    }
    for (; pixels > 0; pixels -= LANES, a += channels * VEC_BYTES, c += columns * VEC_BYTES) {
        vec x[MOST_CHANNELS], y[MOST_CHANNELS];
        load_planes(channels, x, a);
        UNROLL for (int j = 0; j < columns; j++) y[j] = plane_sum(channels, columns, x, w[j], bias[j]);
        if (activation == FASTPW_RELU)
            UNROLL for (int j = 0; j < columns; j++) y[j] = activate(y[j], FASTPW_RELU, alpha, beta);
        else if (activation == FASTPW_CLIP)
            UNROLL for (int j = 0; j < columns; j++) y[j] = activate(y[j], FASTPW_CLIP, alpha, beta);
        store_planes(columns, c, y);
    }
}

#define COLUMNS_OF_PLANES(F)                                                                  \
    CHANNELS_OF_PLANES(F, 1) CHANNELS_OF_PLANES(F, 2) CHANNELS_OF_PLANES(F, 3) CHANNELS_OF_PLANES(F, 4)
#define CHANNELS_OF_PLANES(F, columns) F(1, columns) F(2, columns) F(3, columns) F(4, columns)
#define DEFINE_PLANES(channels, columns)                                                      \
    NOINLINE void planes_##channels##_##columns(const fastpw_gemm_args *g, ptrdiff_t pixels)  \
    {                                                                                         \
        planes_of_pixels(channels, columns, g, pixels);                                       \
    }
#define PLANES(channels, columns) planes_##channels##_##columns,
COLUMNS_OF_PLANES(DEFINE_PLANES)
static void (*const planes[])(const fastpw_gemm_args *, ptrdiff_t) = {COLUMNS_OF_PLANES(PLANES)};
#undef DEFINE_PLANES
#undef PLANES

/* Whether pixels lie without gaps, and nothing but a bias and an activation is asked for. */
INLINE int has_planes(const fastpw_gemm_args *g)
{
    const ptrdiff_t size = sizeof(real);
    return g->k <= MOST_CHANNELS && g->k > 0 && g->n <= MOST_CHANNELS && g->m >= LANES && g->lda == g->k * size &&
           g->out.ldc == g->n * size && g->entry == FASTPW_FROM_BIAS && !g->out.residual && !g->out.z;
}

/* Computes the pixels that fill vectors, and says how many those are. */
static ptrdiff_t run_planes(const fastpw_gemm_args *g)
{
    const fastpw_epilogue *e = g->out.epilogue;
    const ptrdiff_t pixels = g->m / LANES * LANES, all = pixels * g->n, row = all * (ptrdiff_t)sizeof(real);
    planes[(g->n - 1) * MOST_CHANNELS + g->k - 1](g, pixels);
    if (!is_cheap(e->activation)) {
        const finished_sums sums = {g->out.c, row, all, row, 0, e};
        put_costly(&sums, 1, g->out.c);
    }
    return pixels;
}

#else
#  define HAS_PLANES 0
#endif
#endif
