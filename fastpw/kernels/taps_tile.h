/* The wide tile over a depth in parts, the taps of a window.
 *
 * A table says where the rows of A lie for each part.  Where the columns fill
 * no more than one vector, a tile takes only the first vector of each depth of
 * the panel, which is half the work and leaves registers for more rows.
 */
#ifndef FASTPW_TAPS_TILE_H
#define FASTPW_TAPS_TILE_H

#include "micro_kernel.h"

/* One depth of rows first..last-1, each of which has a pointer of its own. */
INLINE void taps_depth(const int rows, const int first, const int last, const int vectors, tile_row *acc,
                       const char *const *a, ptrdiff_t depth, const char *w)
{
    const int few = last - first < rows || rows <= FEW_ROWS;
    vec panel[WIDE_VECTORS];
    UNROLL for (int v = 0; v < vectors; v++)
        panel[v] = few ? vec_load_once(w + v * VEC_BYTES) : vec_load(w + v * VEC_BYTES);
    UNROLL for (int i = first; i < last; i++) {
        const vec x = vec_set(real_load(a[i] + depth));
        UNROLL for (int v = 0; v < vectors; v++) acc[i][v] += x * panel[v];
    }
}

/* Where the operands are at the next depth of a part. */
typedef struct {
    const char *const *from;                 /* where the part begins in each row of A */
    ptrdiff_t depth, left;                   /* bytes behind that; depths */
    const char *w;
    const char *c;                           /* of so many rows that were not fetched so far */
    int unfetched;
} tap_operands;

/* All depths of a part but the last `keep`. It returns where those are. */
INLINE tap_operands tap_sums(const int rows, const int vectors, tile_row *acc, const fastpw_taps_args *g,
                             tap_operands o, ptrdiff_t keep, fastpw_ahead *next)
{
    const ptrdiff_t ldw = WIDE_VECTORS * VEC_BYTES, ldc = g->out.ldc;
    const int columns = vectors * LANES;
    const char *w = o.w, *c = o.c;
    int unfetched = o.unfetched;
    ptrdiff_t depth = 0, left = g->k;
    const char *a[MAX_ROWS];
    UNROLL for (int i = 0; i < rows; i++) a[i] = o.from[i];
    if (VEC_MULTIPLIES_BY_LANE)
        for (; left >= LANES; left -= LANES, depth += VEC_BYTES, w += LANES * ldw) {
            vec x[MAX_ROWS];
            UNROLL for (int i = 0; i < rows; i++) x[i] = vec_load(a[i] + depth);
            lane_depths(rows, vectors, acc, x, w, ldw);
        }
#define TWO_DEPTHS                                                                                     \
    taps_depth(rows, 0, rows, vectors, acc, a, depth, w);                                              \
    taps_depth(rows, 0, rows, vectors, acc, a, depth + (int)sizeof(real), w + ldw);                    \
    left -= 2, depth += 2 * (int)sizeof(real), w += 2 * ldw
    TURNS(2, columns, TWO_DEPTHS)
#undef TWO_DEPTHS
    for (; left > keep; left--, depth += sizeof(real), w += ldw)
        taps_depth(rows, 0, rows, vectors, acc, a, depth, w);
    o.depth = depth, o.w = w, o.left = left, o.c = c, o.unfetched = unfetched;
    return o;
}

INLINE void taps_tile(const int rows, const int vectors, const fastpw_taps_args *g, const tile_place *at)
{
    const int columns = vectors * LANES;
    /* A row of one vector is a line of C, or less.  Such rows follow each other, and the processor fetches them by
     * itself. */
    const int unfetched = vectors == WIDE_VECTORS ? rows : 0;
    const fastpw_gemm_args start = {.panel = g->panel, .entry = FASTPW_FROM_BIAS, .out = g->out};
    tap_operands o = {.from = (const char *const *)at->a, .w = g->panel + HEAD_BYTES(WIDE_COLUMNS) + g->from,
                      .c = at->c, .unfetched = unfetched};
    tile_row acc[MAX_ROWS];
    if (!WIDE_UNROLLS) prefetch_tile(rows, columns, at->c, g->out.ldc);
    tile_begin(rows, columns, acc, &start, at);
    for (ptrdiff_t tap = g->taps, of_line = g->taps_of_line;; o.from += g->ldrows) {
        tap--, of_line--;
        o = tap_sums(rows, vectors, acc, g, o, tap ? 0 : LAST_DEPTHS, at->ahead);
        if (!tap) break;
        if (!of_line) o.w += g->skip, of_line = g->taps_of_line;
    }
    const char *a[MAX_ROWS];
    UNROLL for (int i = 0; LAST_DEPTHS > 0 && i < rows; i++) a[i] = o.from[i] + o.depth;

    tile_rows to = {at->c, at->z, 0};
    const tile_columns has = at->has;            /* a copy, as activation is: stores might change what lies in memory */
    const int activation = g->out.epilogue->activation;
    UNROLL for (int first = 0; first < rows; first += LAST_SUMS / vectors) {
        const int last = end_of_group(first, rows, vectors);
        for (int p = 0; p < o.left; p++)
            taps_depth(rows, first, last, vectors, acc, a, p * (int)sizeof(real),
                       o.w + p * WIDE_VECTORS * VEC_BYTES);
        if (g->clears_sign) {
            UNROLL for (int i = first; i < last; i++)
                UNROLL for (int v = 0; v < vectors; v++) acc[i][v] += (vec){0};
        }
        put_finished(last - first, columns, 0, activation, acc + first, &g->out, &has, at->costly, &to);
    }
    tile_end(rows, &g->out, at);
}

#endif
