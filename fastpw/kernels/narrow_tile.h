/* The register tiles for few columns, whose vectors hold several depths.
 *
 * An accumulator of a narrow tile holds LANES / split columns x `split` partial
 * sums of one row.  Each step multiplies the vectors of the panel by `split`
 * elements of every row of A, repeated over a vector.  The partial sums are
 * added up at the end.
 *
 * The column tile has one column.  Its panel is a vector of depths, so it
 * multiplies vectors of A as they lie.
 */
#ifndef FASTPW_NARROW_TILE_H
#define FASTPW_NARROW_TILE_H

#include "micro_kernel.h"
#include "vec_shuffle.h"

#define MAX_NARROW_VECTORS 3
#define MAX_SPLIT 4

/* Few columns take less time than their rows of A take to come from memory.  So a tile that reads a line of a row
 * fetches the same line of the row FETCHED_ROWS below.  It asks for each line twice, once for each half of the line
 * that it reads, because the processor drops requests while too many are under way.  Rows of up to SHORT_ROW bytes are
 * not fetched: the processor does that by itself. */
enum { FETCHED_ROWS = 48, SHORT_ROW = 2 * CACHE_LINE };

INLINE int has_long_rows(const fastpw_gemm_args *g) { return g->k * (ptrdiff_t)sizeof(real) > SHORT_ROW; }

/* Fetches from rows further below, at a step of so many bytes that begins one of a line's halves. */
INLINE void fetch_rows(const int rows, const int step, const char *a, ptrdiff_t lda, int rows_below)
{
    if ((uintptr_t)a % (CACHE_LINE / 2) >= (uintptr_t)step) return;
    UNROLL for (int i = 0; i < rows; i++) __builtin_prefetch(a + (rows_below + i) * lda, 0, SECOND_LEVEL);
}

INLINE void narrow_step(const int rows, const int vectors, const int split, vec acc[][MAX_NARROW_VECTORS],
                        const char *a, ptrdiff_t lda, const real *w)
{
    vec panel[MAX_NARROW_VECTORS];
    UNROLL for (int v = 0; v < vectors; v++) panel[v] = vec_load(w + v * LANES);
    UNROLL for (int i = 0; i < rows; i++) {
        const vec x = vec_load_repeated(split, a + i * lda);
        UNROLL for (int v = 0; v < vectors; v++) acc[i][v] += x * panel[v];
    }
}

/* The last depths, which are fewer than a step. It reads no further, because the memory behind them is not the
 * row's. */
INLINE void narrow_last(const int rows, const int vectors, const int split, vec acc[][MAX_NARROW_VECTORS],
                        const char *a, ptrdiff_t lda, const real *w, ptrdiff_t left)
{
    UNROLL for (int i = 0; i < rows; i++) {
        const vec x = vec_load_rest_repeated(split, a + i * lda, left);
        UNROLL for (int v = 0; v < vectors; v++) acc[i][v] += x * vec_load(w + v * LANES);
    }
}

/* Adds up the partial sums of a row's next `count` accumulators, which gives LANES columns. It is written as loops:
 * written out as sum_rows is, tiles of three vectors would spill accumulators. */
INLINE vec sum_split(const int split, const int count, const vec *acc)
{
    vec part[MAX_SPLIT];
    UNROLL for (int s = 0; s < split; s++) part[s] = s < count ? acc[s] : (vec){0};
    UNROLL for (int s = 1; s < split; s *= 2)
        UNROLL for (int v = 0; v < split; v += 2 * s)
            part[v] = v < count ? vec_pair_sums(part[v], part[v + s]) : (vec){0};
    return part[0];
}

/* The same for the next `count` rows of one accumulator each, which gives the columns of these rows, row by row. */
INLINE vec sum_rows(const int split, const int count, vec acc[][MAX_NARROW_VECTORS])
{
    vec part[MAX_SPLIT];
    UNROLL for (int r = 0; r < split; r++) part[r] = r < count ? acc[r][0] : (vec){0};
    const vec first = vec_pair_sums(part[0], part[1]);
    if (split == 2) return first;
    return vec_pair_sums(first, count > 2 ? vec_pair_sums(part[2], part[3]) : (vec){0});
}

/* Whether rows follow each other in memory without gaps, in C, residual and z. */
INLINE int rows_adjoin(const int columns, const fastpw_gemm_args *g, const tile_place *at)
{
    const ptrdiff_t row = g->n * (ptrdiff_t)sizeof(real);
    return (VEC_CLOSES_GAPS || g->n == columns) && g->out.ldc == row && (!at->residual || g->out.ldr == row) &&
           (!at->z || g->out.ldz == row);
}

/* Finishes rows that adjoin, `split` of them in each vector. */
INLINE void put_adjoining(const int rows, const int columns, const int split, vec acc[][MAX_NARROW_VECTORS],
                          const fastpw_gemm_args *g, const tile_place *at)
{
    const int vectors = (rows + split - 1) / split;
    const ptrdiff_t step = split * g->n * (ptrdiff_t)sizeof(real);
    const vec_lanes there = vec_first_of_each(columns, g->n), all = vec_first(split * g->n),
                    last = vec_first((rows - (vectors - 1) * split) * g->n);
    const vec bias = g->entry == FASTPW_FROM_BIAS ? vec_repeat(columns, vec_load_lanes(g->panel, vec_first(columns)))
                                                  : (vec){0};
    const char *earlier = g->entry == FASTPW_FROM_C ? at->c : at->residual;
    tile_row y[MAX_ROWS], start[MAX_ROWS];
#define LANES_OF(i) ((i) < vectors - 1 ? all : last)
    UNROLL for (int i = 0; i < vectors; i++) {
        y[i][0] = sum_rows(split, rows - i * split, acc + i * split);
        start[i][0] = bias;
    }
    if (earlier)
        UNROLL for (int i = 0; i < vectors; i++)
            start[i][0] += vec_open_gaps(vec_load_lanes(earlier + i * step, LANES_OF(i)), there);
    UNROLL for (int i = 0; i < vectors; i++) y[i][0] += start[i][0];
    if (at->z)
        UNROLL for (int i = 0; i < vectors; i++)
            vec_store_lanes(at->z + i * step, vec_close_gaps(y[i][0], there), LANES_OF(i));
    if (is_cheap(g->out.epilogue->activation)) {
        activate_cheaply(vectors, 1, g->out.epilogue->activation, y, g->out.epilogue);
        UNROLL for (int i = 0; i < vectors; i++)
            vec_store_lanes(at->c + i * step, vec_close_gaps(y[i][0], there), LANES_OF(i));
    } else
        UNROLL for (int i = 0; i < vectors; i++)
            vec_store(at->costly->sums + i * step, vec_close_gaps(y[i][0], there));
#undef LANES_OF
}

INLINE void narrow_tile(const int rows, const int vectors, const int split, const int fetches,
                        const fastpw_gemm_args *g, const tile_place *at)
{
    const int columns = vectors * LANES / split;
    const ptrdiff_t lda = g->lda, step = split * (int)sizeof(real);
    const char *a = at->a;
    const real *w = (const real *)(g->panel + HEAD_BYTES(columns));
    vec acc[MAX_ROWS][MAX_NARROW_VECTORS];
    UNROLL for (int i = 0; i < rows; i++)
        UNROLL for (int v = 0; v < vectors; v++) acc[i][v] = (vec){0};

    ptrdiff_t left = g->k;
    /* A turn takes two steps where that spills nothing, because the loop's own instructions take time, too. */
    for (; NARROW_UNROLLS && left >= 2 * split; left -= 2 * split, a += 2 * step, w += 2 * vectors * LANES) {
        if (fetches) fetch_rows(rows, 2 * step, a, lda, FETCHED_ROWS);
        narrow_step(rows, vectors, split, acc, a, lda, w);
        narrow_step(rows, vectors, split, acc, a + step, lda, w + vectors * LANES);
    }
    for (; left >= split; left -= split, a += step, w += vectors * LANES) {
        if (fetches && !NARROW_UNROLLS) fetch_rows(rows, step, a, lda, FETCHED_ROWS);
        narrow_step(rows, vectors, split, acc, a, lda, w);
    }
    if (left > 0) narrow_last(rows, vectors, split, acc, a, lda, w, left);

    if (vectors == 1 && rows_adjoin(columns, g, at)) {
        put_adjoining(rows, columns, split, acc, g, at);
        tile_end(rows, &g->out, at);
        return;
    }
    /* The partial sums are added up first, so that the registers are free when bias and residual come in. */
    tile_row sums[MAX_ROWS], start[MAX_ROWS];
    if (vectors == 1)
        UNROLL for (int i = 0; i < rows; i += split) {
            const vec some = sum_rows(split, rows - i, acc + i);
            UNROLL for (int r = 0; r < split; r++)
                if (i + r < rows) sums[i + r][0] = vec_from_lane(some, r * columns);
        }
    else
        UNROLL for (int i = 0; i < rows; i++)
            UNROLL for (int v = 0; v < vectors; v += split)
                sums[i][v / split] = sum_split(split, vectors - v, &acc[i][v]);
    tile_begin(rows, columns, start, g, at);
    UNROLL for (int i = 0; i < rows; i++)
        UNROLL for (int v = 0; v < vectors_of(columns); v++) sums[i][v] += start[i][v];
    tile_rows to = {at->c, at->z, 0};
    put_finished(rows, columns, 0, g->out.epilogue->activation, sums, &g->out, &at->has, at->costly, &to);
    tile_end(rows, &g->out, at);
}

/* A vector whose lane i is the sum of all lanes of row i. */
INLINE vec sum_lanes(const int rows, const vec *acc)
{
    vec part[LANES];
    UNROLL for (int i = 0; i < LANES; i++) part[i] = i < rows ? acc[i] : (vec){0};
    UNROLL for (int each = 2; each <= LANES; each *= 2)
        UNROLL for (int i = 0; i < LANES / each; i++)
            part[i] = i * each < rows ? vec_pair_sums(part[2 * i], part[2 * i + 1]) : (vec){0};
    return part[0];
}

/* One element of each row, in a vector. Adjacent elements are loaded at once. */
INLINE vec load_column(const int rows, const char *p, ptrdiff_t ld)
{
    real elements[LANES] = {0};
    if (ld == sizeof(real)) return vec_load_lanes(p, vec_first(rows));
    for (int i = 0; i < rows; i++) elements[i] = real_load(p + i * ld);
    return vec_load(elements);
}

INLINE void store_column(const int rows, char *p, ptrdiff_t ld, vec v)
{
    real elements[LANES];
    if (ld == sizeof(real)) {
        vec_store_lanes(p, v, vec_first(rows));
        return;
    }
    vec_store(elements, v);
    for (int i = 0; i < rows; i++) memcpy(p + i * ld, &elements[i], sizeof(real));
}

/* The column tile takes fewer rows at a time where they are long, because memory is then read in longer runs. */
enum { LONG_ROWS_OF_COLUMN = 4 };

/* The sums of one column, for up to LANES rows. */
INLINE void column_tile(const int rows, const fastpw_gemm_args *g, const tile_place *at)
{
    const ptrdiff_t lda = g->lda;
    const char *a = at->a, *w = g->panel + HEAD_BYTES(1);
    vec acc[LANES], start = {0};
    UNROLL for (int i = 0; i < rows; i++) acc[i] = (vec){0};

    const int fetches = rows <= LONG_ROWS_OF_COLUMN && has_long_rows(g);
    ptrdiff_t left = g->k;
    for (; left >= LANES; left -= LANES, a += VEC_BYTES, w += VEC_BYTES) {
        const vec panel = vec_load(w);
        if (fetches) {
            fetch_rows(rows, VEC_BYTES, a, lda, FETCHED_ROWS);
            fetch_rows(rows, VEC_BYTES, a, lda, FETCHED_ROWS / 2);
        }
        UNROLL for (int i = 0; i < rows; i++) acc[i] += vec_load(a + i * lda) * panel;
    }
    if (left > 0) {
        const vec_lanes lanes = vec_first(left);
        const vec panel = vec_load(w);
        UNROLL for (int i = 0; i < rows; i++) acc[i] += vec_load_lanes(a + i * lda, lanes) * panel;
    }

    if (g->entry == FASTPW_FROM_BIAS) start = vec_set(real_load(g->panel));
    if (g->entry == FASTPW_FROM_C)
        start = load_column(rows, at->c, g->out.ldc);
    else if (at->residual)
        start += load_column(rows, at->residual, g->out.ldr);
    tile_row y[1] = {{sum_lanes(rows, acc) + start}};
    if (at->z) store_column(rows, at->z, g->out.ldz, y[0][0]);
    if (is_cheap(g->out.epilogue->activation)) {
        activate_cheaply(1, 1, g->out.epilogue->activation, y, g->out.epilogue);
        store_column(rows, at->c, g->out.ldc, y[0][0]);
    } else
        vec_store(at->costly->sums, y[0][0]);
    tile_end(rows, &g->out, at);
}

#endif
