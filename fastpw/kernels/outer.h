/* Sums of outer products: C[m x n] (+)= A[k x m]^T . B[k x n].
 *
 * Channels-last tensors have both operands in the order in which the tile
 * wants them: at each depth (a pixel) neighbouring elements of A are broadcast
 * against neighbouring elements of B.  Earlier sums are added at the end: a sum
 * over a million pixels is one of its blocks' sums, not one long sum.
 */
#ifndef FASTPW_OUTER_H
#define FASTPW_OUTER_H

#include "tiles.h"

/* One depth of rows first..last-1. */
INLINE void outer_depth(const int first, const int last, const int vectors, tile_row *acc, const char *a, const char *w)
{
    vec panel[WIDE_VECTORS];
    UNROLL for (int v = 0; v < vectors; v++) panel[v] = vec_load(w + v * VEC_BYTES);
    UNROLL for (int i = first; i < last; i++) {
        const vec x = vec_set(real_load(a + i * (int)sizeof(real)));
        UNROLL for (int v = 0; v < vectors; v++) acc[i][v] += x * panel[v];
    }
}

/* A read as vectors, the last of which may overlap the one before: rows >= LANES. */
INLINE void outer_depth_by_lane(const int rows, const int vectors, tile_row *acc, const char *a, const char *w)
{
    vec panel[WIDE_VECTORS];
    UNROLL for (int v = 0; v < vectors; v++) panel[v] = vec_load(w + v * VEC_BYTES);
    UNROLL for (int first = 0; first < rows; first += LANES) {
        const int at = first + LANES <= rows ? first : rows - LANES;
        const vec x = vec_load(a + at * (int)sizeof(real));
        UNROLL for (int lane = 0; lane < LANES; lane++)
            UNROLL for (int v = 0; v < vectors; v++)
                if (at + lane >= first) acc[at + lane][v] += x[lane] * panel[v];
    }
}

INLINE void outer_tile(const int rows, const int vectors, const fastpw_block *b, const tile_place *at)
{
    const char *a = at->a, *w = b->panel;
    const ptrdiff_t lda = b->lda, ldb = b->ldb;
    const char *c = at->c;
    const int streams = 0;
    tile_row acc[MAX_ROWS];
    UNROLL for (int i = 0; i < rows; i++)
        UNROLL for (int v = 0; v < vectors; v++) acc[i][v] = (vec){0};
    ptrdiff_t left = b->k;
#define TWO_DEPTHS                                                                                     \
    outer_depth(0, rows, vectors, acc, a, w);                                                          \
    outer_depth(0, rows, vectors, acc, a + lda, w + ldb);                                              \
    left -= 2, a += 2 * lda, w += 2 * ldb
    TURNS(vectors * LANES, TWO_DEPTHS)
#undef TWO_DEPTHS
    for (; left > LAST_DEPTHS; left--, a += lda, w += ldb)
        if (VEC_MULTIPLIES_BY_LANE && rows >= LANES)
            outer_depth_by_lane(rows, vectors, acc, a, w);
        else
            outer_depth(0, rows, vectors, acc, a, w);
    char *to = at->c;
    UNROLL for (int first = 0; first < rows; first += LAST_SUMS / vectors) {
        const int last = end_of_group(first, rows, vectors);
        for (int p = 0; p < left; p++) outer_depth(first, last, vectors, acc, a + p * lda, w + p * ldb);
        if (b->entry == FASTPW_FROM_C) add_tile(last - first, vectors * LANES, acc + first, to, b->ldc, &at->has);
        to = put_tile(last - first, vectors * LANES, acc + first, to, b->ldc, &at->has);
    }
}

/* One vector across where the columns left over need no more. */
#define OUTER_1_FUNCTION(width, rows)                                                    \
    NOINLINE void tile_##width##_##rows(const fastpw_block *b, const tile_place *at)     \
    {                                                                                    \
        outer_tile(rows, 1, b, at);                                                      \
    }
#define OUTER_2_FUNCTION(width, rows)                                                    \
    NOINLINE void tile_##width##_##rows(const fastpw_block *b, const tile_place *at)     \
    {                                                                                    \
        outer_tile(rows, 2, b, at);                                                      \
    }

HEIGHTS(ROWS_WIDE, OUTER_1_FUNCTION, OUTER_1)
HEIGHTS(ROWS_WIDE, OUTER_2_FUNCTION, OUTER_2)

/* Some panels at a time, so that rows are read in long runs: 64 bytes of each would touch a page each. */
static void split_rows(ptrdiff_t m, ptrdiff_t n, const char *rows, ptrdiff_t ld, char *panels, ptrdiff_t panel_bytes)
{
    enum { GROUP = 8, ROW_BYTES = WIDE_COLUMNS * sizeof(real) };
    const ptrdiff_t whole = n / WIDE_COLUMNS;
    for (ptrdiff_t first = 0; first < whole; first += GROUP) {
        const ptrdiff_t last = first + GROUP < whole ? first + GROUP : whole;
        for (ptrdiff_t p = 0; p < m; p++)
            for (ptrdiff_t j = first; j < last; j++)
                UNROLL for (int v = 0; v < ROW_BYTES; v += VEC_BYTES)
                    vec_store(panels + j * panel_bytes + p * ROW_BYTES + v, vec_load(rows + p * ld + j * ROW_BYTES + v));
    }
    if (whole * WIDE_COLUMNS == n) return;
    tile_columns has;
    set_columns(&has, n - whole * WIDE_COLUMNS);
    for (ptrdiff_t p = 0; p < m; p++)
        UNROLL for (int v = 0; v < WIDE_VECTORS; v++)
            vec_store(panels + whole * panel_bytes + p * ROW_BYTES + v * VEC_BYTES,
                      vec_load_lanes(rows + p * ld + whole * ROW_BYTES + v * VEC_BYTES, has.lanes[v]));
}

static void outer_block(const fastpw_block *b)
{
    static tile_function *const one[] = {HEIGHTS(ROWS_WIDE, NAME, OUTER_1)};
    static tile_function *const two[] = {HEIGHTS(ROWS_WIDE, NAME, OUTER_2)};
    tile_function *const *by_height = b->n <= LANES ? one : two;
    run_tiles(b, by_height, ROWS_WIDE, sizeof(real));
}

#endif
