/* What happens to a tile before its store: bias, residual, activation.
 *
 * Every activation is applied to finished sums, before they are stored to C.
 * The cheap ones are applied to the accumulators.  The costly ones need too many
 * registers for that.  So a tile leaves its sums in a buffer, which stays in the
 * first-level cache, and put_costly takes them from there to C.
 */
#ifndef FASTPW_EPILOGUE_H
#define FASTPW_EPILOGUE_H

#include "kernel_set.h"
#include "vec_lanes.h"
#include "vec_math.h"

#define MAX_VECTORS 2                       /* across the widest tile, after partial sums are added up */

typedef vec tile_row[MAX_VECTORS];

INLINE int vectors_of(const int columns) { return (columns + LANES - 1) / LANES; }

/* The address of the next row.  The assembly hides it from the compiler, which would otherwise compute the addresses of
 * all rows first and run out of registers.  It is volatile, because the compiler would otherwise keep the addresses
 * from one pass over the rows for the next. */
INLINE const char *next_row(const char *p, ptrdiff_t ld)
{
    p += ld;
    __asm__ volatile("" : "+r"(p));
    return p;
}

/* The columns that a block has, in all and vector by vector. */
typedef struct {
    ptrdiff_t n;
    vec_lanes lanes[MAX_VECTORS];
} tile_columns;

INLINE void set_columns(tile_columns *has, ptrdiff_t n)
{
    has->n = n;
    for (int v = 0; v < MAX_VECTORS; v++) has->lanes[v] = vec_first(n - v * LANES);
}

/* Adds rows in memory to those of a tile. The first `whole` vectors of a row are known to have all their columns. */
INLINE void add_rows(const int rows, const int vectors, const int whole, tile_row *t, const char *p, ptrdiff_t ld,
                     const tile_columns *has)
{
    UNROLL for (int i = 0; i < rows; i++, p = next_row(p, ld))
        UNROLL for (int v = 0; v < vectors; v++) {
            const char *from = p + v * VEC_BYTES;
            t[i][v] += v < whole ? vec_load(from) : vec_load_lanes(from, has->lanes[v]);
        }
}

/* stream_rows and put_rows store rows of a tile, and return where the row after them begins. */
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

/* Masks are left out for a tile with all its columns, unless they cost nothing: then one path is enough. */
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

/* Fetches the lines of C that a tile will store to.  Where a row does not begin with a line, the tile of the columns
 * before has fetched its first line already. */
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

enum { PIECE = MAX_VECTORS * LANES };           /* columns of the widest tile */

/* Finished sums in memory: rows of n, lds bytes apart.  Their activations go to rows that are ldc bytes apart.  They go
 * past the caches if `streams` says so, which asks for aligned rows of as many columns as the widest tile has. */
typedef struct {
    char *sums; ptrdiff_t lds;
    ptrdiff_t n, ldc;
    int32_t streams;
    const fastpw_epilogue *epilogue;
} finished_sums;

/* Activates the columns of each row that fill pieces, two vectors at a time.  One loop runs over the pieces of all
 * rows, because with a loop over rows around another, GCC loads the constants of the formulas anew for each row. */
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

/* Activates rows of any length in the same way, a vector at a time. */
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

/* Activates rows of any length by the faster loop where it is worth its start.  Rows that adjoin count as one row. Only
 * the last columns of long rows are left to put_lanes. */
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

/* C[i][j] = act(sums[i][j]) for m rows, where the activation is not cheap.
 *
 * This is the one way to a costly activation.  Whoever has finished sums in registers stores them to a buffer of the
 * sums' type, and calls this for many vectors at a time.  The buffer should be small enough for the first-level cache.
 * Exactly n columns of each row are read and written.  C may be the sums themselves: with ldc equal to lds, this
 * activates in place. */
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
    const finished_sums *costly;             /* where its sums go if its activation is costly */
    fastpw_ahead *ahead;
} tile_place;

/* Sets the accumulators to what they start from: bias and residual, or the partial sums in C.  The residual is read
 * here, before anything is stored, so that it may be C itself. */
INLINE void tile_begin(const int rows, const int width, tile_row *t, const fastpw_gemm_args *g, const tile_place *at)
{
    UNROLL for (int v = 0; v < MAX_VECTORS; v++) {
        if (v * LANES >= width) continue;        /* A loop of one round would cost clang the registers. */
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

/* Where the next rows of a tile go, and the number of the first of them. */
typedef struct {
    char *c, *z;
    int first;
} tile_rows;

/* Finishes the next rows of a tile.  Their sums go to z, if that is wanted.  Then a cheap activation is applied to
 * them, and the results go to C, or past the caches to C.  For a costly activation, the sums go to the buffer.  They go
 * there as whole vectors, so each row overwrites what the row before has beyond its columns. */
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

/* Has to be called when all rows of a tile are finished. */
INLINE void tile_end(const int rows, const fastpw_output *out, const tile_place *at)
{
    if (!is_cheap(out->epilogue->activation)) put_costly(at->costly, rows, at->c);
}

#endif
