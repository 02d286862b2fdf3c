/* Sums of outer products: C[m x n] (+)= A[k x m]^T . B[k x n].
 *
 * Channels-last tensors have both operands in the order in which the tile reads
 * them: at each depth, which is a pixel, neighbouring elements of A are
 * broadcast against neighbouring elements of B.  Earlier sums are added at the
 * end, so that a sum over a million pixels is a sum of the sums of its blocks:
 * one long sum would round worse.
 */
#ifndef FASTPW_OUTER_H
#define FASTPW_OUTER_H

#include "tiles.h"

/* B at one depth.  It is in memory, or it is dz, which outer_form computes, stores and sums. */
INLINE void outer_load(const int vectors, vec *panel, const char *w)
{
    UNROLL for (int v = 0; v < vectors; v++) panel[v] = vec_load_once(w + v * VEC_BYTES);
}

INLINE void outer_form(const int vectors, vec *panel, vec *sums, const char *dy, const char *s, char *dz,
                       const vec_lanes *lanes)
{
    UNROLL for (int v = 0; v < vectors; v++) {
        const int at = v * VEC_BYTES;
        panel[v] = vec_load_lanes(dy + at, lanes[v]) * grad_relu(vec_load_lanes(s + at, lanes[v]));
        vec_store(dz + at, panel[v]);
        sums[v] += panel[v];
    }
}

/* One depth of rows first..last-1. */
INLINE void outer_depth(const int first, const int last, const int vectors, tile_row *acc, const char *a,
                        const vec *panel)
{
    UNROLL for (int i = first; i < last; i++) {
        const vec x = vec_set(real_load(a + i * (int)sizeof(real)));
        UNROLL for (int v = 0; v < vectors; v++) acc[i][v] += x * panel[v];
    }
}

/* The same with A read as vectors, of which the last may overlap the one before. There have to be LANES rows or
 * more. */
INLINE void outer_depth_by_lane(const int rows, const int vectors, tile_row *acc, const char *a, const vec *panel)
{
    UNROLL for (int first = 0; first < rows; first += LANES) {
        const int at = first + LANES <= rows ? first : rows - LANES;
        const vec x = vec_load(a + at * (int)sizeof(real));
        UNROLL for (int lane = 0; lane < LANES; lane++)
            UNROLL for (int v = 0; v < vectors; v++)
                if (at + lane >= first) acc[at + lane][v] += x[lane] * panel[v];
    }
}

INLINE void outer_tile(const int rows, const int vectors, const int forms, const fastpw_outer_args *o,
                       const tile_place *at)
{
    const char *a = at->a, *w = o->b, *c = at->c;
    const ptrdiff_t lda = o->lda, ldb = o->ldb, ldc = o->ldc;
    fastpw_ahead *const next = at->ahead;
    const int keep = LAST_DEPTHS;
    int unfetched = rows;
    const fastpw_forming from = forms ? *o->forming : (fastpw_forming){0};
    const char *dy = from.dy, *s = from.s;
    char *dz = from.dz;
    tile_row acc[MAX_ROWS];
    vec panel[WIDE_VECTORS], sums[WIDE_VECTORS] = {0};
    const vec_lanes lanes[WIDE_VECTORS] = {at->has.lanes[0], at->has.lanes[1]};
    UNROLL for (int i = 0; i < rows; i++)
        UNROLL for (int v = 0; v < vectors; v++) acc[i][v] = (vec){0};
    ptrdiff_t left = o->k;
#define NEXT_PANEL                                                                                     \
    if (forms) {                                                                                       \
        outer_form(vectors, panel, sums, dy, s, dz, lanes);                                            \
        dy += from.lddy, s += from.lds, dz += ldb;                                                     \
    } else {                                                                                           \
        outer_load(vectors, panel, w);                                                                 \
        w += ldb;                                                                                      \
    }
#define ONE_DEPTH                                                                                      \
    NEXT_PANEL                                                                                         \
    outer_depth(0, rows, vectors, acc, a, panel);                                                      \
    left--, a += lda
#define TWO_DEPTHS                                                                                     \
    ONE_DEPTH;                                                                                         \
    ONE_DEPTH
    /* Two depths a turn would spill where tiles form dz. */
    if (forms) {
        TURNS(1, vectors * LANES, ONE_DEPTH)
    } else {
        TURNS(2, vectors * LANES, TWO_DEPTHS)
    }
    while (left > LAST_DEPTHS)
        if (VEC_MULTIPLIES_BY_LANE && rows >= LANES) {
            NEXT_PANEL
            outer_depth_by_lane(rows, vectors, acc, a, panel);
            left--, a += lda;
        } else {
            ONE_DEPTH;
        }
    if (forms) w = dz;
    char *to = at->c;
    UNROLL for (int first = 0; first < rows; first += LAST_SUMS / vectors) {
        const int last = end_of_group(first, rows, vectors);
        for (int p = 0; p < left; p++) {
            if (forms && !first)
                outer_form(vectors, panel, sums, dy + p * from.lddy, s + p * from.lds, dz + p * ldb, lanes);
            else
                outer_load(vectors, panel, w + p * ldb);
            outer_depth(first, last, vectors, acc, a + p * lda, panel);
        }
        if (o->adds) add_tile(last - first, vectors * LANES, acc + first, to, ldc, &at->has);
        to = put_tile(last - first, vectors * LANES, acc + first, to, ldc, &at->has);
    }
    if (forms && from.sums)
        UNROLL for (int v = 0; v < vectors; v++) {
            char *sum = from.sums + v * VEC_BYTES;
            vec_store_lanes(sum, vec_load_lanes(sum, lanes[v]) + sums[v], lanes[v]);
        }
#undef TWO_DEPTHS
#undef ONE_DEPTH
#undef NEXT_PANEL
}

/* Tiles are one vector wide for columns left over that need no more, and two vectors wide for all others. */
#define OUTER_FUNCTION(tile, rows, call) TILE_FUNCTION(tile, rows, fastpw_outer_args, call)
#define OUTER_1_FUNCTION(tile, rows) OUTER_FUNCTION(tile, rows, outer_tile(rows, 1, 0, g, at))
#define OUTER_2_FUNCTION(tile, rows) OUTER_FUNCTION(tile, rows, outer_tile(rows, 2, 0, g, at))
DEFINE_HEIGHTS(OUTER_1, OUTER_1, ROWS_WIDE)
DEFINE_HEIGHTS(OUTER_2, OUTER_2, ROWS_WIDE)

/* Tiles form dz where registers are left for it and its sums.  It costs only its instructions there, because the caches
 * that hold its operands have nothing else to do meanwhile. */
#if OUTER_FORMS
#  define FORMING_1_FUNCTION(tile, rows) OUTER_FUNCTION(tile, rows, outer_tile(rows, 1, 1, g, at))
#  define FORMING_2_FUNCTION(tile, rows) OUTER_FUNCTION(tile, rows, outer_tile(rows, 2, 1, g, at))
DEFINE_HEIGHTS(FORMING_1, FORMING_1, ROWS_WIDE)
DEFINE_HEIGHTS(FORMING_2, FORMING_2, ROWS_WIDE)
#endif

/* Fills some panels at a time, so that rows are read in long runs.  With one panel at a time, every few bytes would
 * come from another page. */
static void split_rows(ptrdiff_t m, ptrdiff_t n, const char *rows, ptrdiff_t ld, char *panels, ptrdiff_t panel_bytes)
{
    enum { GROUP = 8, ROW_BYTES = WIDE_COLUMNS * sizeof(real) };
    const ptrdiff_t whole = n / WIDE_COLUMNS;
    for (ptrdiff_t first = 0; first < whole; first += GROUP) {
        const ptrdiff_t last = first + GROUP < whole ? first + GROUP : whole;
        for (ptrdiff_t p = 0; p < m; p++)
            for (ptrdiff_t j = first; j < last; j++)
                UNROLL for (int v = 0; v < ROW_BYTES; v += VEC_BYTES)
                    vec_store(panels + j * panel_bytes + p * ROW_BYTES + v,
                              vec_load(rows + p * ld + j * ROW_BYTES + v));
    }
    if (whole * WIDE_COLUMNS == n) return;
    tile_columns has;
    set_columns(&has, n - whole * WIDE_COLUMNS);
    for (ptrdiff_t p = 0; p < m; p++)
        UNROLL for (int v = 0; v < WIDE_VECTORS; v++)
            vec_store(panels + whole * panel_bytes + p * ROW_BYTES + v * VEC_BYTES,
                      vec_load_lanes(rows + p * ld + whole * ROW_BYTES + v * VEC_BYTES, has.lanes[v]));
}

#if OUTER_FORMS
enum { FORMED_ACTIVATIONS = 1 << FASTPW_RELU };      /* the one whose derivative outer_form computes */
#else
enum { FORMED_ACTIVATIONS = 0 };
#endif

static void outer(const fastpw_outer_args *o)
{
    tile_function *const *tiles = o->n <= LANES ? heights_OUTER_1 : heights_OUTER_2, *const *first = tiles;
    tile_place at = {.a = o->a, .c = o->c, .ahead = o->ahead};
    const tile_steps step = {.a = sizeof(real), .c = o->ldc};
    set_columns(&at.has, o->n);
#if OUTER_FORMS
    if (o->forming) first = o->n <= LANES ? heights_FORMING_1 : heights_FORMING_2;
#endif
    run_tiles(o, o->m, &at, step, first, tiles, ROWS_WIDE);
}

#endif
