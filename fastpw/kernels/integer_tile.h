/* Products of small integers: rows against a panel. */
#ifndef FASTPW_INTEGER_TILE_H
#define FASTPW_INTEGER_TILE_H

#include "integer_finish.h"

/* `shifts`: rows are as the caller has them, and what staging would add is added here. */
INLINE void integer_tile(const int rows, const int vectors, const int shifts, const integer_place *at)
{
    const fastpw_integer_args *g = at->args;
    const char *x = at->x, *w = g->panel + INTEGER_HEAD_BYTES;
    const int32_t *start = head_row(g->panel, g->start);
    const char *const end = x + steps_of(g->k) * UNIT_BYTES;
    const ptrdiff_t ld = g->ldx;
    integer_sums t;
    UNROLL for (int i = 0; i < rows; i++)
        UNROLL for (int v = 0; v < vectors; v++) t[i][v] = ivec_load(start + v * LANES);
    for (; x < end; x += UNIT_BYTES, w += INTEGER_COLUMNS * DOT_DEPTHS) {
        dot_weights b[INTEGER_VECTORS];
        UNROLL for (int v = 0; v < vectors; v++) b[v] = dot_load(w + v * LANES * DOT_DEPTHS);
        UNROLL for (int i = 0; i < rows; i++) {
            const dot_unit a = shifts ? dot_broadcast_shifted(x + i * ld) : dot_broadcast(x + i * ld);
            UNROLL for (int v = 0; v < vectors; v++) t[i][v] = dot_add(t[i][v], a, b[v]);
        }
    }
    leave_sums(rows, vectors, !shifts, t, at);
}

typedef void integer_tile_function(const integer_place *);
typedef struct {
    int rows;
    integer_tile_function *compute;
} integer_tile_row;

#define WIDE_TILE(rows) \
    NOINLINE void integer_wide_##rows(const integer_place *at) { integer_tile(rows, INTEGER_VECTORS, 0, at); }
#define NARROW_TILE(rows) \
    NOINLINE void integer_narrow_##rows(const integer_place *at) { integer_tile(rows, INTEGER_VECTORS / 2, 0, at); }
#define WIDE_ROW(rows) {rows, integer_wide_##rows},
#define NARROW_ROW(rows) {rows, integer_narrow_##rows},
#if INTEGER_ROWS == 12
#  define WIDE_TILES(ROW) ROW(12) ROW(8) ROW(6) ROW(5) ROW(4) ROW(3) ROW(2) ROW(1)
#else
#  define WIDE_TILES(ROW) ROW(6) ROW(5) ROW(4) ROW(3) ROW(2) ROW(1)
#endif
#define NARROW_TILES(ROW) ROW(12) ROW(8) ROW(4) ROW(2) ROW(1)
WIDE_TILES(WIDE_TILE)
NARROW_TILES(NARROW_TILE)
static const integer_tile_row wide_tiles[] = {WIDE_TILES(WIDE_ROW)}, narrow_tiles[] = {NARROW_TILES(NARROW_ROW)};

#if DOT_SHIFTS
#  define SHIFTING_TILE(rows)                                                                                          \
    NOINLINE void shifting_wide_##rows(const integer_place *at) { integer_tile(rows, INTEGER_VECTORS, 1, at); }        \
    NOINLINE void shifting_narrow_##rows(const integer_place *at) { integer_tile(rows, INTEGER_VECTORS / 2, 1, at); }
#  define SHIFTING_WIDE_ROW(rows) {rows, shifting_wide_##rows},
#  define SHIFTING_NARROW_ROW(rows) {rows, shifting_narrow_##rows},
#  define SHIFTING_TILES(ROW) ROW(12) ROW(4) ROW(1)
SHIFTING_TILES(SHIFTING_TILE)
static const integer_tile_row shifting_wide_tiles[] = {SHIFTING_TILES(SHIFTING_WIDE_ROW)},
                              shifting_narrow_tiles[] = {SHIFTING_TILES(SHIFTING_NARROW_ROW)};
#endif

INLINE const integer_tile_row *tiles_of(const fastpw_integer_args *g)
{
    const int narrow = g->n * 2 <= INTEGER_COLUMNS;
#if DOT_SHIFTS
    if (g->shifts) return narrow ? shifting_narrow_tiles : shifting_wide_tiles;
#endif
    return narrow ? narrow_tiles : wide_tiles;
}

INLINE void integer_product(const fastpw_kernel_set *floats, const fastpw_integer_args *g)
{
    integer_buffer buffer;
    const integer_tile_row *tile = tiles_of(g);
    integer_place at = first_place(g, &buffer);
    for (ptrdiff_t i = 0; i < g->m; i += tile->rows) {
        while (tile->rows > g->m - i) tile++;
        move_to(&at, i);
        tile->compute(&at);
        finish_rows(floats, &at, i, tile->rows, &buffer);
    }
}

/* One weight per channel: lane j of a row meets weight j. */
typedef staged staged_lanes __attribute__((vector_size(LANES * sizeof(staged)), aligned(1), may_alias));
typedef int8_t weight_lanes __attribute__((vector_size(LANES), aligned(1), may_alias));

INLINE void scaled_row(const fastpw_integer_args *g, const char *x, integer_sums t)
{
    for (int v = 0; v < INTEGER_VECTORS; v++) {
        t[0][v] = ivec_load(head_row(g->panel, g->start) + v * LANES);
        if (!g->k) continue;
        const ivec weights = __builtin_convertvector(
            *(const weight_lanes *)(g->panel + INTEGER_HEAD_BYTES + v * LANES), ivec);
        x = v ? x + LANES * (int)sizeof(staged) : x;
        t[0][v] += __builtin_convertvector(*(const staged_lanes *)x, ivec) * weights;
    }
}

INLINE void integer_scaled(const fastpw_kernel_set *floats, const fastpw_integer_args *g)
{
    integer_buffer buffer;
    integer_place at = first_place(g, &buffer);
    for (ptrdiff_t i = 0; i < g->m; i++) {
        integer_sums t;
        move_to(&at, i);
        scaled_row(g, at.x, t);
        leave_sums(1, INTEGER_VECTORS, 1, t, &at);
        finish_rows(floats, &at, i, 1, &buffer);
    }
}

#endif
