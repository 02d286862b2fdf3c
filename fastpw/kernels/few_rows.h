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

INLINE void some_depths(const int rows, const int depths, int start, const fastpw_few_args *f, ptrdiff_t p)
{
    if (start == FEW_GO_ON)
        few_depths(rows, depths, FEW_GO_ON, f, p);
    else if (start == FEW_ADD)
        few_depths(rows, depths, FEW_ADD, f, p);
    else
        few_depths(rows, depths, FEW_FROM_ZERO, f, p);
}

INLINE void few_rows(const int rows, const fastpw_few_args *f)
{
    const int depths = MOST_FEW_DEPTHS;
    int start = f->adds ? FEW_ADD : FEW_FROM_ZERO;
    ptrdiff_t p = 0;
    for (; p + depths <= f->k; p += depths, start = FEW_GO_ON) some_depths(rows, depths, start, f, p);
    for (; p < f->k; p++, start = FEW_GO_ON) some_depths(rows, 1, start, f, p);
}

NOINLINE void few_rows_1(const fastpw_few_args *f) { few_rows(1, f); }
NOINLINE void few_rows_2(const fastpw_few_args *f) { few_rows(2, f); }

static void few(const fastpw_few_args *f)
{
    static void (*const by_rows[])(const fastpw_few_args *) = {few_rows_1, few_rows_2};
    const ptrdiff_t passes = (f->m + MOST_FEW - 1) / MOST_FEW;
    fastpw_few_args part = *f;
    for (ptrdiff_t i = 0; i < passes; i++) {
        const ptrdiff_t rows = f->m / passes + (i < f->m % passes);
        by_rows[rows - 1](&part);
        part.a += rows * f->lda, part.c += rows * f->ldc;
    }
}

#endif
