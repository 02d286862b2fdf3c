/* Convolution of small groups of channels: 2, 4 or 8 that lie in one vector, all of which go into each of theirs.
 *
 * The vectors of a depthwise convolution serve: of a pixel's vector, one channel
 * of each group is repeated over the lanes of its group, and multiplied by the
 * weights of that channel.  Sums add the taps of a window row by row, those of
 * a row channel by channel of the group, and so in one order, whatever the tile.
 * No weight of zero stands between groups, because that times infinity is NaN.
 */
#ifndef FASTPW_STENCIL_GROUPS_H
#define FASTPW_STENCIL_GROUPS_H

#include "stencil_tile.h"

#define TWICE(lane) lane, lane
#define FOUR_TIMES(lane) TWICE(lane), TWICE(lane)
#define EIGHT_TIMES(lane) FOUR_TIMES(lane), FOUR_TIMES(lane)
#if LANES == 16
#  define OF_PAIRS(i) OF_PAIRS_FROM(0, i), OF_PAIRS_FROM(8, i)
#  define OF_FOURS(i) FOUR_TIMES(i), FOUR_TIMES(4 + i), FOUR_TIMES(8 + i), FOUR_TIMES(12 + i)
#  define OF_EIGHTS(i) EIGHT_TIMES(i), EIGHT_TIMES(8 + i)
#elif LANES == 8
#  define OF_PAIRS(i) OF_PAIRS_FROM(0, i)
#  define OF_FOURS(i) FOUR_TIMES(i), FOUR_TIMES(4 + i)
#elif LANES == 4
#  define OF_PAIRS(i) TWICE(i), TWICE(2 + i)
#endif
#define OF_PAIRS_FROM(lane, i) TWICE(lane + i), TWICE(lane + 2 + i), TWICE(lane + 4 + i), TWICE(lane + 6 + i)

/* Lane i of each group of v, repeated over the lanes of its group. Groups are smaller than a vector. */
INLINE vec lane_of_groups(const int group, vec v, const int i)
{
#define LANE(size, lanes, lane) if (group == size && i == lane) return __builtin_shufflevector(v, v, lanes(lane))
#if LANES > 2
    LANE(2, OF_PAIRS, 0);
    LANE(2, OF_PAIRS, 1);
#endif
#if LANES > 4
    LANE(4, OF_FOURS, 0);
    LANE(4, OF_FOURS, 1);
    LANE(4, OF_FOURS, 2);
    LANE(4, OF_FOURS, 3);
#endif
#if LANES > 8
    LANE(8, OF_EIGHTS, 0);
    LANE(8, OF_EIGHTS, 1);
    LANE(8, OF_EIGHTS, 2);
    LANE(8, OF_EIGHTS, 3);
    LANE(8, OF_EIGHTS, 4);
    LANE(8, OF_EIGHTS, 5);
    LANE(8, OF_EIGHTS, 6);
    LANE(8, OF_EIGHTS, 7);
#endif
#undef LANE
    (void)group, (void)i;                      /* vectors of two lanes have no smaller groups */
    return v;
}

/* The same of a vector in memory. */
INLINE vec load_of_groups(const int group, const int whole, const char *p, const int i, vec_lanes lanes)
{
    if (group == LANES) return vec_set(real_load(p + i * (ptrdiff_t)sizeof(real)));
    return lane_of_groups(group, load_channels(whole, p, lanes), i);
}

/* Adds one channel of each group, in all taps of a row of the window. */
INLINE void add_of_groups(const int group, const int whole, const int i, vec *t, const fastpw_window *w,
                          const char *const *pixel, const char *weight, const stencil_channels *ch)
{
    for (ptrdiff_t j = 0; j < w->tap_columns; j++, pixel += w->column_step, weight += VEC_BYTES) {
        const vec v = vec_load(weight);
        UNROLL for (int k = 0; k < TILE_COLUMNS; k++)
            t[k] = vec_add_product(
                t[k], load_of_groups(group, whole, pixel[k * w->column_stride] + ch->from, i, ch->lanes), v);
    }
}

INLINE void add_known_of_groups(const int group, const int taps, const int stride, const int i, vec *t,
                                const char *const *pixel, const char *weight, const stencil_channels *ch)
{
    vec v[MOST_TAPS];
    /* Pixels are loaded again for each channel of the group: they would not all fit the registers until then. */
    __asm__ volatile("" ::: "memory");
    UNROLL for (int j = 0; j < taps; j++) v[j] = vec_load(weight + j * VEC_BYTES);
    UNROLL for (int q = 0; q < (TILE_COLUMNS - 1) * stride + taps; q++) {
        const vec x = load_of_groups(group, 1, pixel[q] + ch->from, i, ch->lanes);
        UNROLL for (int k = 0; k < TILE_COLUMNS; k++) {
            const int j = q - k * stride;
            if (j >= 0 && j < taps) t[k] = vec_add_product(t[k], x, v[j]);
        }
    }
}

/* Adds all taps of a window to the sums of a tile; `taps` says how wide it is, if that is known. */
INLINE void sum_of_groups(const int group, const int taps, const int stride, const int whole, vec *sums,
                          const fastpw_window *window, const char *const *row, const char *weight,
                          const stencil_channels *ch)
{
    const fastpw_window w = *window;
    const stencil_channels channels = *ch;
    const ptrdiff_t step = w.tap_columns * VEC_BYTES;
    vec t[TILE_COLUMNS];
    UNROLL for (int k = 0; k < TILE_COLUMNS; k++) t[k] = sums[k];
    for (ptrdiff_t r = 0; r < w.tap_rows; r++, row += w.row_step * w.ld)
        UNROLL for (int i = 0; i < group; i++, weight += step) {
            if (taps)
                add_known_of_groups(group, taps, stride, i, t, row, weight, &channels);
            else
                add_of_groups(group, whole, i, t, &w, row, weight, &channels);
        }
    UNROLL for (int k = 0; k < TILE_COLUMNS; k++) sums[k] = t[k];
}

typedef void group_function(vec *, const fastpw_window *, const char *const *, const char *, const stencil_channels *);

/* The sums are out of line, and pass through memory: the rest of a tile is there once, not for each of them. */
#define GROUP_FUNCTION(name, group, taps, stride, whole)                                                        \
    NOINLINE void groups_##name(vec *t, const fastpw_window *w, const char *const *row, const char *weight,     \
                                const stencil_channels *ch)                                                     \
    {                                                                                                           \
        sum_of_groups(group, taps, stride, whole, t, w, row, weight, ch);                                       \
    }
GROUP_FUNCTION(2, 2, 0, 0, 1)
#if LANES > 2
GROUP_FUNCTION(2_rest, 2, 0, 0, 0)
GROUP_FUNCTION(4, 4, 0, 0, 1)
#endif
#if LANES > 4
GROUP_FUNCTION(4_rest, 4, 0, 0, 0)
GROUP_FUNCTION(8, 8, 0, 0, 1)
#endif
#if LANES > 8
GROUP_FUNCTION(8_rest, 8, 0, 0, 0)
#endif
#if HAS_ALL_TILES
GROUP_FUNCTION(4_3_1, 4, 3, 1, 1)
GROUP_FUNCTION(4_3_2, 4, 3, 2, 1)
#  if LANES > 4
GROUP_FUNCTION(8_3_1, 8, 3, 1, 1)
GROUP_FUNCTION(8_3_2, 8, 3, 2, 1)
#  endif
#endif

static group_function *known_group_function(const fastpw_stencil_args *s)
{
#if HAS_ALL_TILES
    const fastpw_window *w = &s->window;
    if (w->tap_columns != 3 || w->column_step != 1) return NULL;
    if (s->group == 4 && w->column_stride == 1) return groups_4_3_1;
    if (s->group == 4 && w->column_stride == 2) return groups_4_3_2;
#  if LANES > 4
    if (s->group == 8 && w->column_stride == 1) return groups_8_3_1;
    if (s->group == 8 && w->column_stride == 2) return groups_8_3_2;
#  endif
#else
    (void)s;
#endif
    return NULL;
}

static group_function *group_function_for(const fastpw_stencil_args *s, int whole)
{
    group_function *const known = whole ? known_group_function(s) : NULL;
    if (known) return known;
#if LANES > 8
    if (s->group == 8) return whole ? groups_8 : groups_8_rest;
#elif LANES > 4
    if (s->group == 8) return groups_8;
#endif
#if LANES > 4
    if (s->group == 4) return whole ? groups_4 : groups_4_rest;
#elif LANES > 2
    if (s->group == 4) return groups_4;
#endif
#if LANES > 2
    return whole ? groups_2 : groups_2_rest;
#else
    return groups_2;
#endif
}

INLINE void group_vector(const int whole, group_function *sum, const fastpw_stencil_args *s, const stencil_place *at,
                         const stencil_channels *ch, const char *weights)
{
    vec t[TILE_COLUMNS];
    stencil_begin(TILE_COLUMNS, whole, t, &s->out, at, ch, vec_load(weights));
    sum(t, &s->window, at->pixels, weights + VEC_BYTES, ch);
    stencil_end(TILE_COLUMNS, whole, t, &s->out, at, ch);
}

/* Computes all channels of a tile. */
NOINLINE void group_tile(const fastpw_stencil_args *s, const stencil_place *at)
{
    group_function *const sum = group_function_for(s, 1);
    const ptrdiff_t bytes = s->n / LANES * VEC_BYTES, step = weights_of_vector(s, 1) - s->weights;
    const char *weights = s->weights;
    stencil_channels ch = {s->at, 0, vec_first(LANES)};
    for (; ch.to < bytes; ch.to += VEC_BYTES, ch.from += VEC_BYTES, weights += step)
        group_vector(1, sum, s, at, &ch, weights);
    if (s->n % LANES == 0) return;
    ch.lanes = vec_first(s->n % LANES);
    group_vector(0, group_function_for(s, 0), s, at, &ch, weights);
}

#endif
