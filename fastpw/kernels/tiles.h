/* The tile functions compiled for every number of rows up to the tallest, so
 * that the rows left over at a block's end are no slower than the others. */
#ifndef FASTPW_TILES_H
#define FASTPW_TILES_H

#include "micro_kernel.h"
#include "pack.h"

/* The tallest tile of each width: its accumulators leave registers for the
 * panel's vectors and one row of A (for all rows of A where it comes by lane). */
#if VEC_MULTIPLIES_BY_LANE
#  define ROWS_WIDE 8
#  define ROWS_1 12
#elif VEC_REGISTERS == 32
#  define ROWS_WIDE 12
#  define ROWS_1 12
#  define ROWS_2 12
#  define ROWS_3 8
#  define ROWS_4 6
#  define ROWS_5 4
#  define ROWS_6 4
#  define ROWS_7 3
#else
#  define ROWS_WIDE 6
#  define ROWS_1 6
#  define ROWS_2 6
#  define ROWS_3 4
#endif

#define HEIGHTS_3(F, width) F(width, 1) F(width, 2) F(width, 3)
#define HEIGHTS_4(F, width) HEIGHTS_3(F, width) F(width, 4)
#define HEIGHTS_6(F, width) HEIGHTS_4(F, width) F(width, 5) F(width, 6)
#define HEIGHTS_8(F, width) HEIGHTS_6(F, width) F(width, 7) F(width, 8)
#define HEIGHTS_12(F, width) HEIGHTS_8(F, width) F(width, 9) F(width, 10) F(width, 11) F(width, 12)
#define HEIGHTS_OF(rows, F, width) HEIGHTS_##rows(F, width)
#define HEIGHTS(rows, F, width) HEIGHTS_OF(rows, F, width)

typedef void tile_function(const fastpw_block *, const tile_place *);

/* Tiles of nearly equal height: 49 rows are 10 + 10 + 10 + 10 + 9, not 4 * 12 + 1.
 * lda is the distance of the rows of A, or of its columns where A comes transposed. */
INLINE void run_tiles(const fastpw_block *b, tile_function *const *by_height, const int tallest, ptrdiff_t lda)
{
    tile_place at = {b->a, b->residual, b->c, b->z, columns_of(b->n)};
    ptrdiff_t tiles = (b->m + tallest - 1) / tallest;
    for (ptrdiff_t left = b->m; left > 0; tiles--) {
        const ptrdiff_t rows = (left + tiles - 1) / tiles;
        by_height[rows - 1](b, &at);
        left -= rows;
        at.a += rows * lda;
        at.c += rows * b->ldc;
        if (at.residual) at.residual += rows * b->ldr;
        if (at.z) at.z += rows * b->ldz;
    }
}

#define WIDE_FUNCTION(width, rows)                                                       \
    NOINLINE void tile_##width##_##rows(const fastpw_block *b, const tile_place *at)     \
    {                                                                                    \
        wide_tile(rows, b, at);                                                          \
    }
#define NARROW_FUNCTION(quads, rows)                                                     \
    NOINLINE void tile_##quads##_##rows(const fastpw_block *b, const tile_place *at)     \
    {                                                                                    \
        narrow_tile(rows, quads, b, at);                                                 \
    }
#define NAME(width, rows) tile_##width##_##rows,

/* A row of the table of tiles: its functions and its panels. */
#define DEFINE_TILE(width, kind, columns, step)                                          \
    HEIGHTS(ROWS_##width, kind##_FUNCTION, width)                                        \
    static void block_##width(const fastpw_block *b)                                     \
    {                                                                                    \
        static tile_function *const by_height[] = {HEIGHTS(ROWS_##width, NAME, width)};  \
        run_tiles(b, by_height, ROWS_##width, b->lda);                                   \
    }                                                                                    \
    static void pack_##width(char *panel, ptrdiff_t n, ptrdiff_t k, const char *b, ptrdiff_t stride_n,  \
                             ptrdiff_t stride_k, const char *bias, ptrdiff_t stride_bias)               \
    {                                                                                    \
        pack_panel(columns, step, panel, n, k, b, stride_n, stride_k, bias, stride_bias);               \
    }
#define TILE(width, columns, step) {ROWS_##width, columns, step, pack_##width, block_##width}

DEFINE_TILE(WIDE, WIDE, WIDE_COLUMNS, 1)
#define DEFINE_NARROW(quads) DEFINE_TILE(quads, NARROW, quads * QUAD, SPLIT)
#define NARROW_TILE(quads) TILE(quads, quads * QUAD, SPLIT)

DEFINE_NARROW(1)
#if LANES >= 8
DEFINE_NARROW(2)
DEFINE_NARROW(3)
#endif
#if LANES >= 16
DEFINE_NARROW(4)
DEFINE_NARROW(5)
DEFINE_NARROW(6)
DEFINE_NARROW(7)
#endif

/* Widest first. */
#if LANES >= 16
#  define N_TILES 8
#  define TILES TILE(WIDE, WIDE_COLUMNS, 1), NARROW_TILE(7), NARROW_TILE(6), NARROW_TILE(5), NARROW_TILE(4), \
                NARROW_TILE(3), NARROW_TILE(2), NARROW_TILE(1)
#elif LANES >= 8
#  define N_TILES 4
#  define TILES TILE(WIDE, WIDE_COLUMNS, 1), NARROW_TILE(3), NARROW_TILE(2), NARROW_TILE(1)
#else
#  define N_TILES 2
#  define TILES TILE(WIDE, WIDE_COLUMNS, 1), NARROW_TILE(1)
#endif

#endif
