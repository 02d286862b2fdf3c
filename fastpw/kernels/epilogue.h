/* What happens to a tile before its store: bias, residual, activation.
 *
 * Every activation is applied to finished sums, before they are stored to C.
 * The cheap ones work on the accumulators.  The costly ones would need the
 * registers for their polynomials: a tile leaves its sums in a buffer in the
 * first-level cache, and put_costly takes them from there to C.
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

/* ---- costly activations ------------------------------------------------- */

enum { PIECE = MAX_VECTORS * LANES };

/* Finished sums in memory: rows of n, lds bytes apart. Their activations go to rows that are ldc bytes apart, and past
 * the caches if those rows are made of whole, aligned vectors. */
typedef struct {
    char *sums; ptrdiff_t lds;
    ptrdiff_t n, ldc;
    int32_t streams;
    const fastpw_epilogue *epilogue;
} finished_sums;

/* Rows of whole vectors, in pieces as wide as the widest tile. One loop runs over the pieces of all rows: with one over
 * rows around it, GCC loads the constants of the formulas anew for each row. */
INLINE void put_pieces(const int activation, const finished_sums *s, ptrdiff_t m, char *c)
{
    const vec alpha = vec_set((real)s->epilogue->alpha), beta = vec_set((real)s->epilogue->beta);
    const ptrdiff_t pieces = s->n / PIECE, whole_row = pieces * PIECE * (ptrdiff_t)sizeof(real);
    const ptrdiff_t next_s = s->lds - whole_row, next_c = s->ldc - whole_row;
    const char *from = s->sums;
    const int streams = s->streams;
    for (ptrdiff_t left = pieces; m > 0;) {
        vec y[MAX_VECTORS];
        UNROLL for (int v = 0; v < MAX_VECTORS; v++)
            y[v] = activate(vec_load(from + v * VEC_BYTES), activation, alpha, beta);
        UNROLL for (int v = 0; v < MAX_VECTORS; v++)
            if (streams)
                vec_stream(c + v * VEC_BYTES, y[v]);
            else
                vec_store(c + v * VEC_BYTES, y[v]);
        from += MAX_VECTORS * VEC_BYTES, c += MAX_VECTORS * VEC_BYTES;
        if (--left == 0) left = pieces, m--, from += next_s, c += next_c;
    }
}

/* Rows of any length, likewise a vector at a time. */
INLINE void put_lanes(const int activation, const finished_sums *s, ptrdiff_t m, char *c)
{
    const vec alpha = vec_set((real)s->epilogue->alpha), beta = vec_set((real)s->epilogue->beta);
    const size_t n = s->n, whole_row = (n + LANES - 1) / LANES * VEC_BYTES;
    const ptrdiff_t next_s = s->lds - whole_row, next_c = s->ldc - whole_row;
    const vec_lanes rest = vec_first(n % LANES);
    const char *from = s->sums;
    for (ptrdiff_t left = n; m > 0;) {
        const int whole = left >= LANES;
        const vec y = activate(whole ? vec_load(from) : vec_load_lanes(from, rest), activation, alpha, beta);
        if (whole)
            vec_store(c, y);
        else
            vec_store_lanes(c, y, rest);
        left -= LANES, from += VEC_BYTES, c += VEC_BYTES;
        if (left <= 0) left = n, m--, from += next_s, c += next_c;
    }
}

/* Rows that adjoin are one row. Of long rows only the last columns are left to the slower loop. */
INLINE void put_activated(const int activation, const finished_sums *sums, ptrdiff_t m, char *c)
{
    enum { LONG = 4 * PIECE };
    const ptrdiff_t size = sizeof(real);
    finished_sums s = *sums;
    if (s.lds == s.n * size && s.ldc == s.n * size) s.n *= m, m = 1;
    if (s.n == PIECE || s.n >= LONG) {
        const ptrdiff_t rest = s.n % PIECE, whole = (s.n - rest) * size;
        put_pieces(activation, &s, m, c);
        if (!rest) return;
        s.n = rest, s.sums += whole, c += whole;
    }
    put_lanes(activation, &s, m, c);
}

#define DEFINE_PUT(NAME, reads, act, slope) \
    NOINLINE void put_##NAME(const finished_sums *s, ptrdiff_t m, char *c) { put_activated(FASTPW_##NAME, s, m, c); }
#define PUT(NAME, reads, act, slope) put_##NAME,
FASTPW_COSTLY_ACTIVATIONS(DEFINE_PUT)
static void (*const costly_puts[])(const finished_sums *, ptrdiff_t, char *) = {FASTPW_COSTLY_ACTIVATIONS(PUT)};
#undef DEFINE_PUT
#undef PUT

/* C[i][j] = act(sums[i][j]) for m rows, by an activation that is not cheap. C may be the sums themselves, ldc being lds
 * then: in place. Exactly n columns are read and written. It is the one way to a costly activation: whoever has
 * finished sums in registers stores them to a buffer of their own type, some thousand bytes that stay in the
 * first-level cache, and calls this for many vectors at a time. */
INLINE void put_costly(const finished_sums *s, ptrdiff_t m, char *c)
{
    costly_puts[s->epilogue->activation - CHEAP_ACTIVATIONS](s, m, c);
}

/* ---- tiles ---------------------------------------------------------------- */

/* One tile's place in its block. */
typedef struct {
    const char *a, *residual;
    char *c, *z;
    tile_columns has;
    const finished_sums *costly;             /* where its sums go instead of C if its activation is costly */
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
    int first;                               /* of them */
} tile_rows;

/* Some rows of a tile, one after the other. Their sums go to z, if that is wanted. What cheap activations make of them
 * goes to C, past the caches if its columns are all there and it is not read again; for the others, whole vectors of
 * sums go to the buffer, each row over what the one before has beyond its columns. */
INLINE void put_finished(const int rows, const int width, const int streams, const int activation, tile_row *t,
                         const fastpw_output *out, const tile_columns *has, const finished_sums *costly, tile_rows *to)
{
    const int vectors = vectors_of(width);
    if (to->z) to->z = put_tile(rows, width, t, to->z, out->ldz, has);
    const int first = to->first;
    to->first += rows;
    if (!is_cheap(activation)) {
        put_rows(rows, vectors, vectors, t, costly->sums + first * costly->lds, costly->lds, has);
        return;
    }
    activate_cheaply(rows, vectors, activation, t, out->epilogue);
    to->c = streams ? stream_rows(rows, vectors, t, to->c, out->ldc) : put_tile(rows, width, t, to->c, out->ldc, has);
}

/* When all rows are there. */
INLINE void tile_end(const int rows, const fastpw_output *out, const tile_place *at)
{
    if (!is_cheap(out->epilogue->activation)) put_costly(at->costly, rows, at->c);
}

#endif
