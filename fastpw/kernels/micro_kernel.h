/* The register tiles: rows x columns of accumulators over the whole depth.
 *
 * Wide: an accumulator is LANES columns of one row.  Each depth broadcasts one
 * element of every row of A against WIDE_VECTORS vectors of the panel.
 *
 * Narrow: an accumulator is QUAD columns x SPLIT partial depths of one row, so
 * that few columns still fill whole vectors.  Each step repeats SPLIT elements
 * of every row of A against `quads` vectors of the panel; the partial depths
 * are summed at the end.
 */
#ifndef FASTPW_MICRO_KERNEL_H
#define FASTPW_MICRO_KERNEL_H

#include "epilogue.h"
#include "kernel_set.h"
#include "vec.h"

/* Two vectors across: with one, every multiply-add needs a load of its own;
 * with three, fewer rows share each vector of the panel. */
#define WIDE_VECTORS 2
#define WIDE_COLUMNS (WIDE_VECTORS * LANES)
#define MAX_QUADS (WIDE_COLUMNS / QUAD - 1)
#define MAX_ROWS 12

INLINE void wide_depth(const int rows, tile_row *acc, const char *a, ptrdiff_t lda, const real *w)
{
    vec panel[WIDE_VECTORS];
    UNROLL for (int v = 0; v < WIDE_VECTORS; v++) panel[v] = vec_load(w + v * LANES);
    UNROLL for (int i = 0; i < rows; i++) {
        const vec x = vec_set(real_load(a + i * lda));
        UNROLL for (int v = 0; v < WIDE_VECTORS; v++) acc[i][v] += x * panel[v];
    }
}

/* LANES depths at once, A read as vectors. */
INLINE void wide_depths_by_lane(const int rows, tile_row *acc, const char *a, ptrdiff_t lda, const real *w)
{
    vec x[MAX_ROWS];
    UNROLL for (int i = 0; i < rows; i++) x[i] = vec_load(a + i * lda);
    UNROLL for (int d = 0; d < LANES; d++, w += WIDE_COLUMNS) {
        vec panel[WIDE_VECTORS];
        UNROLL for (int v = 0; v < WIDE_VECTORS; v++) panel[v] = vec_load(w + v * LANES);
        UNROLL for (int i = 0; i < rows; i++)
            UNROLL for (int v = 0; v < WIDE_VECTORS; v++) acc[i][v] += x[i][d] * panel[v];
    }
}

INLINE void wide_tile(const int rows, const fastpw_block *b, const tile_place *at)
{
    const ptrdiff_t lda = b->lda;
    const char *a = at->a;
    const real *w = (const real *)b->panel + WIDE_COLUMNS;
    tile_row acc[MAX_ROWS];
    prefetch_tile(rows, WIDE_COLUMNS, at->c, b->ldc);
    tile_begin(rows, WIDE_COLUMNS, acc, b, at);

    ptrdiff_t left = b->k;
    if (VEC_MULTIPLIES_BY_LANE)
        for (; left >= LANES; left -= LANES, a += VEC_BYTES, w += LANES * WIDE_COLUMNS)
            wide_depths_by_lane(rows, acc, a, lda, w);
    for (; left > 0; left--, a += sizeof(real), w += WIDE_COLUMNS) wide_depth(rows, acc, a, lda, w);

    tile_end(rows, WIDE_COLUMNS, acc, b, at);
}

INLINE void narrow_step(const int rows, const int quads, vec acc[][MAX_QUADS], const char *a, ptrdiff_t lda,
                        const real *w)
{
    vec panel[MAX_QUADS];
    UNROLL for (int q = 0; q < quads; q++) panel[q] = vec_load(w + q * LANES);
    UNROLL for (int i = 0; i < rows; i++) {
        const vec x = vec_load_repeated(a + i * lda);
        UNROLL for (int q = 0; q < quads; q++) acc[i][q] += x * panel[q];
    }
}

/* The partial depths of SPLIT neighbouring accumulators, summed: LANES columns. */
INLINE vec sum_split(const vec *acc, const int count)
{
    vec part[SPLIT];
    UNROLL for (int s = 0; s < SPLIT; s++) part[s] = s < count ? acc[s] : (vec){0};
    UNROLL for (int s = 1; s < SPLIT; s *= 2)
        UNROLL for (int q = 0; q < SPLIT; q += 2 * s) part[q] = vec_pair_sums(part[q], part[q + s]);
    return part[0];
}

INLINE void narrow_tile(const int rows, const int quads, const fastpw_block *b, const tile_place *at)
{
    const ptrdiff_t lda = b->lda;
    const char *a = at->a;
    const real *w = (const real *)b->panel + quads * QUAD;
    vec acc[MAX_ROWS][MAX_QUADS];
    prefetch_tile(rows, quads * QUAD, at->c, b->ldc);
    UNROLL for (int i = 0; i < rows; i++)
        UNROLL for (int q = 0; q < quads; q++) acc[i][q] = (vec){0};

    ptrdiff_t left = b->k;
    for (; left >= SPLIT; left -= SPLIT, a += SPLIT * sizeof(real), w += quads * LANES)
        narrow_step(rows, quads, acc, a, lda, w);
    if (SPLIT > 1 && left > 0) {
        /* The last depths come by way of a copy: beyond them lies memory that is not ours. */
        real rest[rows][SPLIT];
        memset(rest, 0, sizeof rest);
        for (int i = 0; i < rows; i++) memcpy(rest[i], a + i * lda, (size_t)left * sizeof(real));
        narrow_step(rows, quads, acc, (const char *)rest, sizeof rest[0], w);
    }

    tile_row sums[MAX_ROWS];
    tile_begin(rows, quads * QUAD, sums, b, at);
    UNROLL for (int i = 0; i < rows; i++)
        UNROLL for (int q = 0; q < quads; q += SPLIT) sums[i][q / SPLIT] += sum_split(&acc[i][q], quads - q);
    tile_end(rows, quads * QUAD, sums, b, at);
}

#endif
