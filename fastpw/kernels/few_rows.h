/* Few rows of A against a B that is not packed.
 *
 * Each row of B is read once, from end to end.  The processor fetches such rows
 * ahead by itself, which it does not do for the columns that a tile reads of
 * rows that lie far apart.  C is read and written again for every few rows of
 * B, and stays in the first-level cache meanwhile.
 */
#ifndef FASTPW_FEW_ROWS_H
#define FASTPW_FEW_ROWS_H

#include "kernel_set.h"
#include "vec.h"

/* So many rows of A are computed together, and so many depths of each stay in registers while all columns are
 * computed. */
enum { MOST_FEW = 2, MOST_FEW_DEPTHS = 4 };

/* Of more rows, so many columns of C, and of the depths of B that they meet, stay in the first-level cache. */
enum { FEW_COLUMNS = 2048 / sizeof(real) };

/* What the sums of some depths start from: zero, what the caller has in C, or the sums of earlier depths in C. */
enum few_start { FEW_FROM_ZERO, FEW_ADD, FEW_GO_ON };

/* Adds some depths, from depth p on, to all columns.  Where the caller's C is added to, it is first added to zero,
 * because the tiles do so and results must have the same bits. */
INLINE void few_depths(const int rows, const int depths, const int start, const fastpw_few_args *f, ptrdiff_t p)
{
    const ptrdiff_t lda = f->lda, ldb = f->ldb, ldc = f->ldc, size = f->n * (ptrdiff_t)sizeof(real);
    const char *a = f->a + p * (ptrdiff_t)sizeof(real), *b = f->b + p * ldb;
    vec x[MOST_FEW][MOST_FEW_DEPTHS];
    UNROLL for (int i = 0; i < rows; i++)
        UNROLL for (int d = 0; d < depths; d++) x[i][d] = vec_set(real_load(a + i * lda + d * (int)sizeof(real)));
    for (ptrdiff_t j = 0; j < size; j += VEC_BYTES) {
        vec y[MOST_FEW_DEPTHS];
        UNROLL for (int d = 0; d < depths; d++) y[d] = vec_load(b + d * ldb + j);
        UNROLL for (int i = 0; i < rows; i++) {
            char *c = f->c + i * ldc + j;
            vec sum = start == FEW_FROM_ZERO ? (vec){0} : vec_load(c);
            if (start == FEW_ADD) sum = (vec){0} + sum;
            UNROLL for (int d = 0; d < depths; d++) sum += x[i][d] * y[d];
            vec_store(c, sum);
        }
    }
}

INLINE void start_depths(const int rows, const int depths, int start, const fastpw_few_args *f, ptrdiff_t p)
{
    if (start == FEW_GO_ON)
        few_depths(rows, depths, FEW_GO_ON, f, p);
    else if (start == FEW_ADD)
        few_depths(rows, depths, FEW_ADD, f, p);
    else
        few_depths(rows, depths, FEW_FROM_ZERO, f, p);
}

INLINE void some_depths(const int rows, int depths, int start, const fastpw_few_args *f, ptrdiff_t p)
{
    if (depths == MOST_FEW_DEPTHS)
        start_depths(rows, MOST_FEW_DEPTHS, start, f, p);
    else
        start_depths(rows, 1, start, f, p);
}

NOINLINE void few_rows_1(const fastpw_few_args *f, int depths, int start, ptrdiff_t p)
{
    some_depths(1, depths, start, f, p);
}

NOINLINE void few_rows_2(const fastpw_few_args *f, int depths, int start, ptrdiff_t p)
{
    some_depths(2, depths, start, f, p);
}

/* All rows meet some depths of B before the next, so that B comes from far away once. */
static void few_columns(const fastpw_few_args *f)
{
    const ptrdiff_t passes = (f->m + MOST_FEW - 1) / MOST_FEW, height = f->m / passes, taller = f->m % passes;
    int start = f->adds ? FEW_ADD : FEW_FROM_ZERO;
    for (ptrdiff_t p = 0, depths; p < f->k; p += depths, start = FEW_GO_ON) {
        fastpw_few_args part = *f;
        depths = p + MOST_FEW_DEPTHS <= f->k ? MOST_FEW_DEPTHS : 1;
        for (ptrdiff_t i = 0; i < passes; i++) {
            const ptrdiff_t rows = height + (i < taller);
            (rows == 1 ? few_rows_1 : few_rows_2)(&part, (int)depths, start, p);
            part.a += rows * f->lda, part.c += rows * f->ldc;
        }
    }
}

static void few(const fastpw_few_args *f)
{
    const ptrdiff_t most = f->m > MOST_FEW ? FEW_COLUMNS : f->n;
    fastpw_few_args part = *f;
    for (ptrdiff_t left = f->n; left > 0; left -= part.n) {
        part.n = left < most ? left : most;
        few_columns(&part);
        part.b += part.n * (ptrdiff_t)sizeof(real), part.c += part.n * (ptrdiff_t)sizeof(real);
    }
}

#endif
