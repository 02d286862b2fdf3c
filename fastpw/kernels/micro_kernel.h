/* The wide register tile: rows x columns of accumulators over the whole depth.
 *
 * An accumulator holds LANES columns of one row.  Each depth multiplies the
 * vectors of the panel by one element of every row of A.  The element is
 * broadcast, or taken from a lane where the instruction set multiplies by lane.
 */
#ifndef FASTPW_MICRO_KERNEL_H
#define FASTPW_MICRO_KERNEL_H

#include "epilogue.h"
#include "kernel_set.h"
#include "pack.h"
#include "vec.h"

/* A wide tile has two vectors across.  With one, every multiply-add would need a load of its own.  With three, fewer
 * rows would share each vector of the panel. */
#define WIDE_VECTORS 2
#define WIDE_COLUMNS (WIDE_VECTORS * LANES)
#define MAX_ROWS 12

/* What is read next, weights above all, is fetched while the tile computes, because the second-level cache may not hold
 * it yet.  A wide tile takes two depths a turn.  Each of its first turns fetches a row of C; fetched all at once, the
 * lines of C would keep those of A waiting.  Each of the other turns fetches a row of what is read next, as long as
 * there is any. */
#define LINES_OF_DEPTH ((WIDE_VECTORS * VEC_BYTES + CACHE_LINE - 1) / CACHE_LINE)
enum { SECOND_LEVEL = 2 };

/* So few rows keep the panel's vectors in registers by force, because GCC would let each of their multiply-adds load
 * the vector, and the CPU does one load of 64 bytes a cycle. */
enum { FEW_ROWS = 3 };

/* The last depths are computed for some rows at a time, and a group of rows is stored while the next is computed.  With
 * all stores of 64 bytes at the end, the next tile would wait for them.  Narrower stores are faster all at once. */
#if VEC_BYTES == 64
enum { LAST_DEPTHS = 4, LAST_SUMS = 4 };
#else
enum { LAST_DEPTHS = 0, LAST_SUMS = MAX_ROWS * WIDE_VECTORS };
#endif

/* The rows from `first` to before the one returned are finished together. */
INLINE int end_of_group(const int first, const int rows, const int vectors)
{
    const int end = first + LAST_SUMS / vectors;
    return end < rows ? end : rows;
}

/* Runs TURN, which computes so many depths, as often as it leaves the last `keep` depths over.  It does nothing where
 * turns of several depths would spill.  Its surroundings declare `left`, `keep`, `next` (what is read next), `ldc`, and
 * `c` as the first of so many rows of C that are `unfetched`. */
#define MORE(depths) (WIDE_UNROLLS && left >= (depths) + keep)
#define TURNS(depths, columns, TURN)                                                                   \
    for (; MORE(depths) && unfetched > 0; unfetched--) {                                               \
        prefetch_row(columns, c);                                                                      \
        c += ldc;                                                                                      \
        TURN;                                                                                          \
    }                                                                                                  \
    if (MORE(depths) && next->rows > 0) {                                                              \
        fastpw_ahead ahead = *next;              /* in registers */                                    \
        do {                                                                                           \
            UNROLL for (int line = 0; line < LINES_OF_DEPTH; line++)                                   \
                __builtin_prefetch(ahead.next + line * CACHE_LINE, 0, SECOND_LEVEL);                   \
            ahead.next += ahead.ld;                                                                    \
            ahead.rows--;                                                                              \
            TURN;                                                                                      \
        } while (MORE(depths) && ahead.rows > 0);                                                      \
        next->next = ahead.next;                                                                       \
        next->rows = ahead.rows;                                                                       \
    }                                                                                                  \
    while (MORE(depths)) {                                                                             \
        TURN;                                                                                          \
    }

/* One depth of rows first..last-1.  The lower half of a tile's rows has a pointer of its own, because the distances of
 * all rows from one pointer would not fit the registers. */
INLINE void wide_depth(const int rows, const int first, const int last, const int vectors, tile_row *acc, const char *a,
                       const char *a_low, ptrdiff_t lda, const char *w)
{
    const int half = (rows + 1) / 2, few = last - first < rows || rows <= FEW_ROWS;
    vec panel[WIDE_VECTORS];
    UNROLL for (int v = 0; v < vectors; v++)
        panel[v] = few ? vec_load_once(w + v * VEC_BYTES) : vec_load(w + v * VEC_BYTES);
    UNROLL for (int i = first; i < last; i++) {
        const vec x = vec_set(real_load(i < half ? a + i * lda : a_low + (i - half) * lda));
        UNROLL for (int v = 0; v < vectors; v++) acc[i][v] += x * panel[v];
    }
}

/* LANES depths, for which x has each row of A as a vector. */
INLINE void lane_depths(const int rows, const int vectors, tile_row *acc, const vec *x, const char *w, ptrdiff_t ldb)
{
    UNROLL for (int d = 0; d < LANES; d++, w += ldb) {
        vec panel[WIDE_VECTORS];
        UNROLL for (int v = 0; v < vectors; v++) panel[v] = vec_load(w + v * VEC_BYTES);
        UNROLL for (int i = 0; i < rows; i++)
            UNROLL for (int v = 0; v < vectors; v++) acc[i][v] = vec_kept(acc[i][v] + x[i][d] * panel[v]);
    }
}

/* LANES depths of a wide tile. */
INLINE void wide_depths_by_lane(const int rows, const int vectors, tile_row *acc, const char *a, ptrdiff_t lda,
                                const char *w, ptrdiff_t ldb)
{
    vec x[MAX_ROWS];
    UNROLL for (int i = 0; i < rows; i++) x[i] = vec_load(a + i * lda);
    lane_depths(rows, vectors, acc, x, w, ldb);
}

/* Where the operands of a wide tile are at the next depth. B lies in a panel, or in rows of its own. */
typedef struct {
    const char *a, *a_low; ptrdiff_t lda;
    const char *w; ptrdiff_t ldw;
    ptrdiff_t left;                          /* depths */
} wide_operands;

INLINE wide_operands operands_of(const int rows, const char *a, ptrdiff_t lda, const char *w, ptrdiff_t ldw,
                                 ptrdiff_t k)
{
    return (wide_operands){a, next_row(a, (rows + 1) / 2 * lda), lda, w, ldw, k};
}

/* All depths but the last LAST_DEPTHS. It returns where those are. */
INLINE wide_operands wide_sums(const int rows, const int vectors, const int streams, tile_row *acc,
                               const wide_operands start, const char *c, ptrdiff_t ldc, fastpw_ahead *next)
{
    const int two = 2 * (int)sizeof(real);
    const ptrdiff_t lda = start.lda, ldw = start.ldw, keep = LAST_DEPTHS;
    int unfetched = streams ? 0 : rows;
    const char *a = start.a, *a_low = start.a_low, *w = start.w;
    ptrdiff_t left = start.left;
    if (VEC_MULTIPLIES_BY_LANE)
        for (; left >= LANES; left -= LANES, a += VEC_BYTES, a_low += VEC_BYTES, w += LANES * ldw)
            wide_depths_by_lane(rows, vectors, acc, a, lda, w, ldw);
#define TWO_DEPTHS                                                                                     \
    wide_depth(rows, 0, rows, vectors, acc, a, a_low, lda, w);                                         \
    wide_depth(rows, 0, rows, vectors, acc, a + sizeof(real), a_low + sizeof(real), lda, w + ldw);     \
    left -= 2, a += two, a_low += two, w += 2 * ldw
    TURNS(2, vectors * LANES, TWO_DEPTHS)
#undef TWO_DEPTHS
    for (; left > LAST_DEPTHS; left--, a += sizeof(real), a_low += sizeof(real), w += ldw)
        wide_depth(rows, 0, rows, vectors, acc, a, a_low, lda, w);
    return (wide_operands){a, a_low, lda, w, ldw, left};
}

/* The last depths of rows first..last-1. */
INLINE void wide_last(const int rows, const int first, const int last, const int vectors, tile_row *acc,
                      const wide_operands *o)
{
    for (int p = 0; p < o->left; p++) {
        const int depth = p * (int)sizeof(real);
        wide_depth(rows, first, last, vectors, acc, o->a + depth, o->a_low + depth, o->lda, o->w + p * o->ldw);
    }
}

INLINE void wide_tile(const int rows, const int vectors, const int streams, const fastpw_gemm_args *g,
                      const tile_place *at)
{
    const int columns = vectors * LANES;
    wide_operands o = operands_of(rows, at->a, g->lda, g->panel + HEAD_BYTES(columns), vectors * VEC_BYTES, g->k);
    tile_row acc[MAX_ROWS];
    if (!WIDE_UNROLLS && !streams) prefetch_tile(rows, columns, at->c, g->out.ldc);
    tile_begin(rows, columns, acc, g, at);
    o = wide_sums(rows, vectors, streams, acc, o, at->c, g->out.ldc, at->ahead);

    tile_rows to = {at->c, at->z, 0};
    const tile_columns has = at->has;            /* a copy, as activation is: stores might change what lies in memory */
    const int activation = g->out.epilogue->activation;
    UNROLL for (int first = 0; first < rows; first += LAST_SUMS / vectors) {
        const int last = end_of_group(first, rows, vectors);
        wide_last(rows, first, last, vectors, acc, &o);
        put_finished(last - first, columns, streams, activation, acc + first, &g->out, &has, at->costly, &to);
    }
    tile_end(rows, &g->out, at);
}

/* The wide tile for a B that lies in rows of its own. All columns are there. */
INLINE void unpacked_tile(const int rows, const fastpw_unpacked_args *u, const tile_place *at)
{
    wide_operands o = operands_of(rows, at->a, u->lda, u->b, u->ldb, u->k);
    tile_row acc[MAX_ROWS];
    if (!WIDE_UNROLLS) prefetch_tile(rows, WIDE_COLUMNS, at->c, u->ldc);
    UNROLL for (int i = 0; i < rows; i++)
        UNROLL for (int v = 0; v < WIDE_VECTORS; v++) acc[i][v] = (vec){0};
    if (u->adds) add_rows(rows, WIDE_VECTORS, WIDE_VECTORS, acc, at->c, u->ldc, &at->has);
    o = wide_sums(rows, WIDE_VECTORS, 0, acc, o, at->c, u->ldc, at->ahead);

    char *to = at->c;
    UNROLL for (int first = 0; first < rows; first += LAST_SUMS / WIDE_VECTORS) {
        const int last = end_of_group(first, rows, WIDE_VECTORS);
        wide_last(rows, first, last, WIDE_VECTORS, acc, &o);
        to = put_rows(last - first, WIDE_VECTORS, WIDE_VECTORS, acc + first, to, u->ldc, &at->has);
    }
}

/* One row of A against several panels.  The accumulators of one panel would wait for their own last multiply-add;
 * meanwhile, this tile computes those of the others.  The roles are exchanged: panels take the place of rows, and A is
 * what they share. */
INLINE void row_tile(const int panels, const fastpw_row_args *r, const tile_place *at)
{
    const ptrdiff_t ld = r->panel_bytes, depth = WIDE_VECTORS * VEC_BYTES;
    const char *w = at->a, *a = r->a;
    const int from_bias = r->entry == FASTPW_FROM_BIAS;
    const fastpw_output out = {r->residual, depth, r->z, depth, r->c, depth, r->epilogue};
    tile_row acc[MAX_ROWS];
    UNROLL for (int i = 0; i < panels; i++)
        UNROLL for (int v = 0; v < WIDE_VECTORS; v++)
            acc[i][v] = from_bias ? vec_load(w + i * ld + v * VEC_BYTES) : (vec){0};
    if (r->entry == FASTPW_FROM_C)
        add_tile(panels, WIDE_COLUMNS, acc, at->c, depth, &at->has);
    else if (at->residual)
        add_tile(panels, WIDE_COLUMNS, acc, at->residual, depth, &at->has);
    w += HEAD_BYTES(WIDE_COLUMNS);
    for (ptrdiff_t left = r->k; left > 0; left--, a += sizeof(real), w += depth) {
        const vec x = vec_set(real_load(a));
        UNROLL for (int i = 0; i < panels; i++)
            UNROLL for (int v = 0; v < WIDE_VECTORS; v++) acc[i][v] += x * vec_load(w + i * ld + v * VEC_BYTES);
    }
    tile_rows to = {at->c, at->z, 0};
    put_finished(panels, WIDE_COLUMNS, 0, r->epilogue->activation, acc, &out, &at->has, at->costly, &to);
    tile_end(panels, &out, at);
}

#endif
