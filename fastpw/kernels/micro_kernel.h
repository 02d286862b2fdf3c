/* The register tiles: rows x columns of accumulators over the whole depth.
 *
 * Wide: an accumulator is LANES columns of one row.  Each depth broadcasts one
 * element of every row of A against the vectors of the panel, or takes it from
 * a lane where the instruction set multiplies by lane.
 *
 * Narrow: an accumulator is LANES / split columns x split partial depths of one
 * row, so that few columns still fill whole vectors.  Each step repeats `split`
 * elements of every row of A against the vectors of the panel; the partial
 * depths are summed at the end.
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
#define MAX_NARROW_VECTORS 3
#define MAX_SPLIT 4                          /* but for one column, whose depths fill a vector */
#define MAX_ROWS 12

/* Weights that the second-level cache cannot hold come from the third, or from
 * memory, while the panel before is in use; so does what else is read later.
 * A wide tile takes two depths a turn. Its first turns fetch a row of C each:
 * all at once, its lines would keep those of A waiting (32 -> 64: an eighth).
 * The others fetch a row of what is next each, as long as there is any. */
#define LINES_OF_DEPTH ((WIDE_VECTORS * VEC_BYTES + CACHE_LINE - 1) / CACHE_LINE)
enum { SECOND_LEVEL = 2 };

/* The last depths are computed some rows at a time, which are stored while the next are computed: with all stores of 64
 * bytes at once, the next tile waits (Zen 4, 16 depths: 0.86 of the peak, this way 0.94; 64 depths: 0.96 and 0.98).
 * Narrower stores are better at once. */
#if VEC_BYTES == 64
enum { LAST_DEPTHS = 4, LAST_SUMS = 4 };
#else
enum { LAST_DEPTHS = 0, LAST_SUMS = MAX_ROWS * WIDE_VECTORS };
#endif
/* Rows first..end_of_group - 1 are finished together. */
INLINE int end_of_group(const int first, const int rows, const int vectors)
{
    const int end = first + LAST_SUMS / vectors;
    return end < rows ? end : rows;
}

/* Some depths a turn, where that spills nothing, until less than those and the last are `left`. Needs `rows`, `b`,
 * `at`, `left`, `streams`, and `c`, whose rows it fetches unless they go past the caches. */
#define MORE(depths) (WIDE_UNROLLS && left >= (depths) + LAST_DEPTHS)
#define TURNS(depths, columns, TURN)                                                                   \
    for (int i = 0; MORE(depths) && !streams && i < rows; i++) {                                       \
        prefetch_row(columns, c);                                                                      \
        c += b->ldc;                                                                                   \
        TURN;                                                                                          \
    }                                                                                                  \
    if (MORE(depths) && at->ahead->rows > 0) {                                                         \
        fastpw_ahead ahead = *at->ahead;         /* in registers */                                    \
        do {                                                                                           \
            UNROLL for (int line = 0; line < LINES_OF_DEPTH; line++)                                   \
                __builtin_prefetch(ahead.next + line * CACHE_LINE, 0, SECOND_LEVEL);                   \
            ahead.next += ahead.ld;                                                                    \
            ahead.rows--;                                                                              \
            TURN;                                                                                      \
        } while (MORE(depths) && ahead.rows > 0);                                                      \
        at->ahead->next = ahead.next;                                                                  \
        at->ahead->rows = ahead.rows;                                                                  \
    }                                                                                                  \
    while (MORE(depths)) {                                                                             \
        TURN;                                                                                          \
    }

/* One depth of rows first..last-1. The lower half of a tile's rows has a pointer of its own: from one, their distances
 * would not fit the registers. */
INLINE void wide_depth(const int rows, const int first, const int last, const int vectors, tile_row *acc, const char *a,
                       const char *a_low, ptrdiff_t lda, const char *w)
{
    const int half = (rows + 1) / 2;
    vec panel[WIDE_VECTORS];
    UNROLL for (int v = 0; v < vectors; v++)
        panel[v] = last - first == rows ? vec_load(w + v * VEC_BYTES) : vec_load_once(w + v * VEC_BYTES);
    UNROLL for (int i = first; i < last; i++) {
        const vec x = vec_set(real_load(i < half ? a + i * lda : a_low + (i - half) * lda));
        UNROLL for (int v = 0; v < vectors; v++) acc[i][v] += x * panel[v];
    }
}

/* LANES depths at once, A read as vectors. */
INLINE void wide_depths_by_lane(const int rows, const int vectors, tile_row *acc, const char *a, ptrdiff_t lda,
                                const char *w, ptrdiff_t ldb)
{
    vec x[MAX_ROWS];
    UNROLL for (int i = 0; i < rows; i++) x[i] = vec_load(a + i * lda);
    UNROLL for (int d = 0; d < LANES; d++, w += ldb) {
        vec panel[WIDE_VECTORS];
        UNROLL for (int v = 0; v < vectors; v++) panel[v] = vec_load(w + v * VEC_BYTES);
        UNROLL for (int i = 0; i < rows; i++)
            UNROLL for (int v = 0; v < vectors; v++) acc[i][v] = vec_kept(acc[i][v] + x[i][d] * panel[v]);
    }
}

/* B comes packed, behind its biases, or lies in rows of its own. */
INLINE void wide_tile(const int rows, const int vectors, const int streams, const int packed, const fastpw_block *b,
                      const tile_place *at)
{
    const int columns = vectors * LANES, two = 2 * (int)sizeof(real);
    const ptrdiff_t lda = b->lda, ldb = packed ? vectors * VEC_BYTES : b->ldb;
    const char *a = at->a, *a_low = next_row(a, (rows + 1) / 2 * lda), *c = at->c;
    const char *w = packed ? b->panel + vectors * VEC_BYTES : b->panel;
    tile_row acc[MAX_ROWS];
    if (!WIDE_UNROLLS && !streams) prefetch_tile(rows, columns, c, b->ldc);
    tile_begin(rows, columns, acc, b, at);

    ptrdiff_t left = b->k;
    if (VEC_MULTIPLIES_BY_LANE)
        for (; left >= LANES; left -= LANES, a += VEC_BYTES, a_low += VEC_BYTES, w += LANES * ldb)
            wide_depths_by_lane(rows, vectors, acc, a, lda, w, ldb);
#define TWO_DEPTHS                                                                                     \
    wide_depth(rows, 0, rows, vectors, acc, a, a_low, lda, w);                                         \
    wide_depth(rows, 0, rows, vectors, acc, a + sizeof(real), a_low + sizeof(real), lda, w + ldb);     \
    left -= 2, a += two, a_low += two, w += 2 * ldb
    TURNS(2, columns, TWO_DEPTHS)
#undef TWO_DEPTHS
    for (; left > LAST_DEPTHS; left--, a += sizeof(real), a_low += sizeof(real), w += ldb)
        wide_depth(rows, 0, rows, vectors, acc, a, a_low, lda, w);

    tile_rows to = {at->c, at->z};
    const tile_columns has = at->has;            /* both once: stores might change what lies in memory */
    const int activation = b->epilogue->activation;
    UNROLL for (int first = 0; first < rows; first += LAST_SUMS / vectors) {
        const int last = end_of_group(first, rows, vectors);
        for (int p = 0; p < left; p++) {
            const int depth = p * (int)sizeof(real);
            wide_depth(rows, first, last, vectors, acc, a + depth, a_low + depth, lda, w + p * ldb);
        }
        put_finished(last - first, columns, streams, activation, acc + first, b, &has, &to);
    }
    tile_end(rows, b, at);
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

/* The last depths, fewer than a step: beyond them lies memory that is not ours. */
INLINE void narrow_last(const int rows, const int vectors, const int split, vec acc[][MAX_NARROW_VECTORS],
                        const char *a, ptrdiff_t lda, const real *w, ptrdiff_t left)
{
    if (split == LANES) {
        const vec_lanes lanes = vec_first(left);
        const vec panel = vec_load(w);
        UNROLL for (int i = 0; i < rows; i++) acc[i][0] += vec_load_lanes(a + i * lda, lanes) * panel;
        return;
    }
    real rest[MAX_ROWS][MAX_SPLIT];
    memset(rest, 0, sizeof rest);
    for (int i = 0; i < rows; i++) memcpy(rest[i], a + i * lda, (size_t)left * sizeof(real));
    narrow_step(rows, vectors, split, acc, (const char *)rest, sizeof rest[0], w);
}

/* The partial depths of `split` neighbouring accumulators, summed: LANES columns. */
INLINE vec sum_split(const vec *acc, const int split, const int count)
{
    vec part[MAX_SPLIT];
    UNROLL for (int s = 0; s < split; s++) part[s] = s < count ? acc[s] : (vec){0};
    UNROLL for (int s = 1; s < split; s *= 2)
        UNROLL for (int v = 0; v < split; v += 2 * s)
            part[v] = v < count ? vec_pair_sums(part[v], part[v + s]) : (vec){0};
    return part[0];
}

/* The same of one vector in each row: four rows together, which need a third of the additions. */
INLINE void sum_rows(const int rows, const int split, vec acc[][MAX_NARROW_VECTORS], tile_row *sums)
{
    const int columns = LANES / split;
    UNROLL for (int i = 0; i < rows; i += 4) {
        vec part[4];
        UNROLL for (int r = 0; r < 4; r++) part[r] = i + r < rows ? acc[i + r][0] : (vec){0};
        vec total = vec_pair_sums(vec_pair_sums(part[0], part[1]), vec_pair_sums(part[2], part[3]));
        UNROLL for (int s = 4; s < split; s *= 2) total = vec_pair_sums(total, total);
        UNROLL for (int r = 0; r < 4; r++)
            if (i + r < rows) sums[i + r][0] = vec_from_lane(total, r * columns);
    }
}

INLINE void narrow_tile(const int rows, const int vectors, const int split, const fastpw_block *b,
                        const tile_place *at)
{
    const int columns = vectors * LANES / split;
    const ptrdiff_t lda = b->lda, step = split * (int)sizeof(real);
    const char *a = at->a;
    const real *w = (const real *)b->panel + columns;
    vec acc[MAX_ROWS][MAX_NARROW_VECTORS];
    UNROLL for (int i = 0; i < rows; i++)
        UNROLL for (int v = 0; v < vectors; v++) acc[i][v] = (vec){0};

    ptrdiff_t left = b->k;
    /* Two steps a turn, where that spills nothing: the loop's own instructions cost up to a tenth. */
    for (; NARROW_UNROLLS && left >= 2 * split; left -= 2 * split, a += 2 * step, w += 2 * vectors * LANES) {
        narrow_step(rows, vectors, split, acc, a, lda, w);
        narrow_step(rows, vectors, split, acc, a + step, lda, w + vectors * LANES);
    }
    for (; left >= split; left -= split, a += step, w += vectors * LANES)
        narrow_step(rows, vectors, split, acc, a, lda, w);
    if (split > 1 && left > 0) narrow_last(rows, vectors, split, acc, a, lda, w, left);

    /* The sums first: the accumulators are free when bias and residual come in. */
    tile_row sums[MAX_ROWS], start[MAX_ROWS];
    if (vectors == 1 && split >= 4)
        sum_rows(rows, split, acc, sums);
    else
        UNROLL for (int i = 0; i < rows; i++)
            UNROLL for (int v = 0; v < vectors; v += split)
                sums[i][v / split] = sum_split(&acc[i][v], split, vectors - v);
    tile_begin(rows, columns, start, b, at);
    UNROLL for (int i = 0; i < rows; i++)
        UNROLL for (int v = 0; v < vectors_of(columns); v++) sums[i][v] += start[i][v];
    tile_rows to = {at->c, at->z};
    put_finished(rows, columns, 0, b->epilogue->activation, sums, b, &at->has, &to);
    tile_end(rows, b, at);
}

#endif
