/* What happens to a tile before its store: bias, residual, activation.
 *
 * The cheap activations are applied to the accumulators.  The others would
 * need the registers for their polynomials: they run over the tile right after
 * its store, while it is in the first-level cache.
 */
#ifndef FASTPW_EPILOGUE_H
#define FASTPW_EPILOGUE_H

#include "kernel_set.h"
#include "vec.h"
#include "vec_math.h"

#define MAX_VECTORS 2                       /* across the widest tile */

typedef vec tile_row[MAX_VECTORS];

INLINE int vectors_of(const int columns) { return (columns + LANES - 1) / LANES; }

/* The next row.  Hidden from the compiler, which would rather compute the
 * addresses of all rows first, and run out of registers for them; volatile, or
 * it would keep them from one pass over the rows for the next. */
INLINE const char *next_row(const char *p, ptrdiff_t ld)
{
    p += ld;
    __asm__ volatile("" : "+r"(p));
    return p;
}

/* Which columns a block has, vector by vector. */
typedef struct {
    ptrdiff_t n;
    vec_lanes lanes[MAX_VECTORS];
} tile_columns;

INLINE void set_columns(tile_columns *has, ptrdiff_t n)
{
    has->n = n;
    for (int v = 0; v < MAX_VECTORS; v++) has->lanes[v] = vec_first(n - v * LANES);
}

/* The first `whole` vectors are known to have all their columns. */
INLINE void add_rows(const int rows, const int vectors, const int whole, tile_row *t, const char *p, ptrdiff_t ld,
                     const tile_columns *has)
{
    UNROLL for (int i = 0; i < rows; i++, p = next_row(p, ld))
        UNROLL for (int v = 0; v < vectors; v++) {
            const char *from = p + v * VEC_BYTES;
            t[i][v] += v < whole ? vec_load(from) : vec_load_lanes(from, has->lanes[v]);
        }
}

/* These give back where the row after theirs begins. */
INLINE char *stream_rows(const int rows, const int vectors, const tile_row *t, char *p, ptrdiff_t ld)
{
    UNROLL for (int i = 0; i < rows; i++, p = (char *)next_row(p, ld))
        UNROLL for (int v = 0; v < vectors; v++) vec_stream(p + v * VEC_BYTES, t[i][v]);
    return p;
}

INLINE char *put_rows(const int rows, const int vectors, const int whole, const tile_row *t, char *p, ptrdiff_t ld,
                      const tile_columns *has)
{
    const tile_columns columns = *has;           /* a copy, which the stores below cannot change */
    UNROLL for (int i = 0; i < rows; i++, p = (char *)next_row(p, ld))
        UNROLL for (int v = 0; v < vectors; v++) {
            char *to = p + v * VEC_BYTES;
            if (v < whole)
                vec_store(to, t[i][v]);
            else
                vec_store_lanes(to, t[i][v], columns.lanes[v]);
        }
    return p;
}

/* A full tile goes without masks, unless they are free and spare a second path. */
INLINE void add_tile(const int rows, const int width, tile_row *t, const char *p, ptrdiff_t ld, const tile_columns *has)
{
    if (!VEC_MASK_IS_FREE && has->n == width)
        add_rows(rows, vectors_of(width), width / LANES, t, p, ld, has);
    else
        add_rows(rows, vectors_of(width), 0, t, p, ld, has);
}

INLINE char *put_tile(const int rows, const int width, const tile_row *t, char *p, ptrdiff_t ld,
                      const tile_columns *has)
{
    if (!VEC_MASK_IS_FREE && has->n == width)
        return put_rows(rows, vectors_of(width), width / LANES, t, p, ld, has);
    return put_rows(rows, vectors_of(width), 0, t, p, ld, has);
}

/* Lines that the tile will store to are fetched while it computes.  Where rows
 * do not begin with a line, the first was fetched for the columns before. */
INLINE void prefetch_row(const int width, const char *p)
{
    const int bytes = width * (int)sizeof(real);
    UNROLL for (int at = CACHE_LINE; at < bytes + CACHE_LINE; at += CACHE_LINE)
        __builtin_prefetch(p + (at < bytes ? at : bytes) - 1, 1);
}

INLINE void prefetch_tile(const int rows, const int width, const char *p, ptrdiff_t ld)
{
    UNROLL for (int i = 0; i < rows; i++, p = next_row(p, ld)) prefetch_row(width, p);
}

INLINE vec activate(vec z, const int activation, vec alpha, vec beta)
{
#define CASE(NAME, reads, act, slope) case FASTPW_##NAME: return act;
    switch (activation) { FASTPW_ACTIVATIONS(CASE) }
#undef CASE
    __builtin_unreachable();
}

#define ONE_MORE(...) + 1
enum { CHEAP_ACTIVATIONS = 0 FASTPW_CHEAP_ACTIVATIONS(ONE_MORE) };
#undef ONE_MORE
INLINE int is_cheap(int activation) { return activation < CHEAP_ACTIVATIONS; }

INLINE void activate_registers(const int rows, const int vectors, const int activation, tile_row *t,
                               const fastpw_epilogue *e)
{
    const vec alpha = vec_set((real)e->alpha), beta = vec_set((real)e->beta);
    UNROLL for (int i = 0; i < rows; i++)
        UNROLL for (int v = 0; v < vectors; v++) t[i][v] = activate(t[i][v], activation, alpha, beta);
}

INLINE void activate_cheaply(const int rows, const int vectors, const int activation, tile_row *t,
                             const fastpw_epilogue *e)
{
#define CASE(NAME, reads, act, slope) case FASTPW_##NAME: activate_registers(rows, vectors, FASTPW_##NAME, t, e); break;
    switch (activation) { FASTPW_CHEAP_ACTIVATIONS(CASE) }
#undef CASE
}

INLINE void activate_stored(const int activation, ptrdiff_t m, ptrdiff_t n, char *c, ptrdiff_t ldc,
                            const fastpw_epilogue *e)
{
    const vec alpha = vec_set((real)e->alpha), beta = vec_set((real)e->beta);
    for (ptrdiff_t i = 0; i < m; i++, c += ldc) {
        ptrdiff_t j = 0;
        for (; j + LANES <= n; j += LANES) {
            char *p = c + j * (ptrdiff_t)sizeof(real);
            vec_store(p, activate(vec_load(p), activation, alpha, beta));
        }
        if (j < n) {
            char *p = c + j * (ptrdiff_t)sizeof(real);
            const vec_lanes lanes = vec_first(n - j);
            vec_store_lanes(p, activate(vec_load_lanes(p, lanes), activation, alpha, beta), lanes);
        }
    }
}

/* act(C) in place, for the activations that are not cheap. */
NOINLINE void activate_memory(ptrdiff_t m, ptrdiff_t n, char *c, ptrdiff_t ldc, const fastpw_epilogue *e)
{
    if (ldc == n * (ptrdiff_t)sizeof(real)) n *= m, m = 1;
#define CASE(NAME, reads, act, slope) case FASTPW_##NAME: activate_stored(FASTPW_##NAME, m, n, c, ldc, e); break;
    switch (e->activation) { FASTPW_COSTLY_ACTIVATIONS(CASE) }
#undef CASE
}

/* One tile's place in its block. */
typedef struct {
    const char *a, *residual;
    char *c, *z;
    tile_columns has;
    fastpw_ahead *ahead;
} tile_place;

/* What the accumulators start from: bias and residual, or the partial sums in
 * C.  The residual is read here, before anything is stored, so that it may be
 * the output itself. */
INLINE void tile_begin(const int rows, const int width, tile_row *t, const fastpw_gemm_args *g, const tile_place *at)
{
    UNROLL for (int v = 0; v < MAX_VECTORS; v++) {
        if (v * LANES >= width) continue;        /* a loop of one round costs clang the registers */
        const char *head = g->panel + v * VEC_BYTES;
        const vec bias = g->entry != FASTPW_FROM_BIAS ? (vec){0}
                         : (v + 1) * LANES <= width ? vec_load(head)
                                                    : vec_load_lanes(head, vec_first(width - v * LANES));
        UNROLL for (int i = 0; i < rows; i++) t[i][v] = bias;
    }
    if (g->entry == FASTPW_FROM_C)
        add_tile(rows, width, t, at->c, g->out.ldc, &at->has);
    else if (at->residual)
        add_tile(rows, width, t, at->residual, g->out.ldr, &at->has);
}

/* Where the next rows of a tile go. */
typedef struct {
    char *c, *z;
} tile_rows;

/* Some rows of a tile, one after the other. C may go past the caches if its columns are all there and it is not read
 * again. */
INLINE void put_finished(const int rows, const int width, const int streams, const int activation, tile_row *t,
                         const fastpw_output *out, const tile_columns *has, tile_rows *to)
{
    if (to->z) to->z = put_tile(rows, width, t, to->z, out->ldz, has);
    activate_cheaply(rows, vectors_of(width), activation, t, out->epilogue);
    if (streams)
        to->c = stream_rows(rows, vectors_of(width), t, to->c, out->ldc);
    else
        to->c = put_tile(rows, width, t, to->c, out->ldc, has);
}

/* When all rows are there. */
INLINE void tile_end(const int rows, const fastpw_output *out, const tile_place *at)
{
    if (!is_cheap(out->epilogue->activation)) activate_memory(rows, at->has.n, at->c, out->ldc, out->epilogue);
}

#endif
