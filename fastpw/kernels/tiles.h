/* The tile functions.  They are compiled for every number of rows up to the
 * tallest, so that the rows left over at the end of a block take no longer than
 * the others. */
#ifndef FASTPW_TILES_H
#define FASTPW_TILES_H

#include "micro_kernel.h"
#include "narrow_tile.h"
#include "pack.h"
#include "planes.h"
#include "taps_tile.h"

/* The rows of the tallest tile, by the vectors across.  Its accumulators leave registers for the vectors of the panel
 * and for one element of A, or for all rows of A where the instruction set multiplies by lane. */
#if VEC_MULTIPLIES_BY_LANE
#  define ROWS_WIDE 8
#  define ROWS_1 12
#elif VEC_REGISTERS == 32
#  define ROWS_WIDE 12
#  define ROWS_1 12
#  define ROWS_2 12
#  define ROWS_3 8
#  if LANES < 12
#    define ROWS_COLUMN 8
#  else
#    define ROWS_COLUMN 12
#  endif
#else
#  define ROWS_WIDE 6
#  define ROWS_1 6
#  define ROWS_2 6
#  define ROWS_3 3
#  define ROWS_COLUMN 6
#endif

/* The rows of the tallest tile over half a wide panel, where each row needs a pointer of its own.  There are as many
 * sums as keep one from waiting for the one before. */
#if VEC_REGISTERS == 32
#  define ROWS_HALF 12
#else
#  define ROWS_HALF 8
#endif

/* One row meets so many panels together.  That makes eight accumulators, and the CPU has as many multiply-adds under
 * way. */
#define PANELS_OF_ROW 4

#define HEIGHTS_3(F, width) F(width, 1) F(width, 2) F(width, 3)
#define HEIGHTS_4(F, width) HEIGHTS_3(F, width) F(width, 4)
#define HEIGHTS_6(F, width) HEIGHTS_4(F, width) F(width, 5) F(width, 6)
#define HEIGHTS_8(F, width) HEIGHTS_6(F, width) F(width, 7) F(width, 8)
#define HEIGHTS_12(F, width) HEIGHTS_8(F, width) F(width, 9) F(width, 10) F(width, 11) F(width, 12)
#define HEIGHTS_OF(rows, F, width) HEIGHTS_##rows(F, width)
#define HEIGHTS(rows, F, width) HEIGHTS_OF(rows, F, width)

typedef void tile_function(const void *args, const tile_place *);

/* Rows of A that lie a multiple of SAME_SET bytes apart share one set of the first-level cache.  A tile must not have
 * more of them than the cache has ways, or every depth waits for the second level. */
enum { SAME_SET = 4096, WAYS = 8 };

/* The distances from row to row of a tile. */
typedef struct {
    ptrdiff_t a, c, residual, z;
} tile_steps;

/* Runs tiles of nearly equal height, because low ones are slow: 49 rows are 10 + 10 + 10 + 10 + 9, not 4 * 12 + 1.  The
 * first tile may be of a kind of its own. */
INLINE void run_tiles(const void *args, ptrdiff_t m, tile_place *at, const tile_steps step, tile_function *const *first,
                      tile_function *const *others, const int highest)
{
    const int tallest = highest > WAYS && step.a && step.a % SAME_SET == 0 ? WAYS : highest;
    tile_function *const *by_height = first;
    /* 32 bits are divided faster than 64. */
    const uint32_t tiles = (uint32_t)((m + tallest - 1) / tallest);
    const uint32_t height = (uint32_t)m / tiles, taller = (uint32_t)m % tiles;
    for (uint32_t i = 0; i < tiles; i++) {
        const ptrdiff_t rows = height + (i < taller);
        while (at->ahead->rows == 0 && at->ahead->ld) at->ahead++;
        by_height[rows - 1](args, at);
        by_height = others;
        at->a += rows * step.a;
        at->c += rows * step.c;
        if (at->residual) at->residual += rows * step.residual;
        if (at->z) at->z += rows * step.z;
    }
}

/* Defines a tile's functions, one for every number of rows, and the table of them. */
#define TILE_FUNCTION(tile, rows, type, call)                                            \
    NOINLINE void tile_##tile##_##rows(const void *args, const tile_place *at)           \
    {                                                                                    \
        const type *const g = args;                                                      \
        call;                                                                            \
    }
#define NAME(tile, rows) tile_##tile##_##rows,
#define DEFINE_HEIGHTS(tile, kind, tallest)                                              \
    HEIGHTS(tallest, kind##_FUNCTION, tile)                                              \
    static tile_function *const heights_##tile[] = {HEIGHTS(tallest, NAME, tile)};

#define GEMM_FUNCTION(tile, rows, call) TILE_FUNCTION(tile, rows, fastpw_gemm_args, call)
#define WIDE_FUNCTION(tile, rows) GEMM_FUNCTION(tile, rows, wide_tile(rows, WIDE_VECTORS, 0, g, at))
#define STREAMING_FUNCTION(tile, rows) GEMM_FUNCTION(tile, rows, wide_tile(rows, WIDE_VECTORS, 1, g, at))
#define UNPACKED_FUNCTION(tile, rows) TILE_FUNCTION(tile, rows, fastpw_unpacked_args, unpacked_tile(rows, g, at))
#define ROW_FUNCTION(tile, panels) TILE_FUNCTION(tile, panels, fastpw_row_args, row_tile(panels, g, at))
#define TAPS_FUNCTION(tile, rows) TILE_FUNCTION(tile, rows, fastpw_taps_args, taps_tile(rows, WIDE_VECTORS, g, at))
#define HALF_FUNCTION(tile, rows) TILE_FUNCTION(tile, rows, fastpw_taps_args, taps_tile(rows, 1, g, at))
DEFINE_HEIGHTS(WIDE, WIDE, ROWS_WIDE)
#if HAS_ALL_TILES
DEFINE_HEIGHTS(STREAMING, STREAMING, ROWS_WIDE)
#else
#  define heights_STREAMING heights_WIDE
#endif
DEFINE_HEIGHTS(UNPACKED, UNPACKED, ROWS_WIDE)
DEFINE_HEIGHTS(ROW, ROW, PANELS_OF_ROW)

/* Holds the finished sums of one tile whose activation is costly. */
typedef vec tile_buffer[MAX_ROWS * MAX_VECTORS];

/* How the sums of tiles lie in the buffer.  Rows adjoin there if they adjoin in C, so that put_costly can take them for
 * one row; else they are made of whole vectors. */
INLINE finished_sums sums_in(tile_buffer buffer, const int columns, ptrdiff_t n, ptrdiff_t ldc,
                             const fastpw_epilogue *e, int streams)
{
    const ptrdiff_t row = n * (ptrdiff_t)sizeof(real);
    const int adjoin = columns == 1 || ldc == row;
    return (finished_sums){(char *)buffer, adjoin ? row : vectors_of(columns) * VEC_BYTES, n, ldc, streams, e};
}

/* Whether C is to go past the caches, and may: it is not read again, and all columns of the tile are there. */
INLINE int goes_past_caches(const fastpw_gemm_args *g)
{
    return HAS_ALL_TILES && g->streams && g->n == WIDE_COLUMNS;
}

INLINE void run_gemm(const fastpw_gemm_args *g, const int columns, tile_function *const *heights, const int highest)
{
    tile_buffer buffer;
    const finished_sums costly = sums_in(buffer, columns, g->n, g->out.ldc, g->out.epilogue, goes_past_caches(g));
    tile_place at;                               /* An initializer would clear it first, which takes some 25 cycles. */
    at.a = g->a, at.residual = g->out.residual, at.c = g->out.c, at.z = g->out.z;
    at.costly = &costly, at.ahead = g->ahead;
    set_columns(&at.has, g->n);
    const tile_steps step = {g->lda, g->out.ldc, g->out.ldr, g->out.ldz};
    run_tiles(g, g->m, &at, step, heights, heights, highest);
}

#if HAS_PLANES
/* Pixels of few channels, and as tiles those that are left over. */
static void run_few_channels(const fastpw_gemm_args *g, void (*tiles)(const fastpw_gemm_args *))
{
    const ptrdiff_t done = run_planes(g);
    fastpw_gemm_args rest = *g;
    rest.m -= done, rest.a += done * g->lda, rest.out.c += done * g->out.ldc;
    if (rest.m) tiles(&rest);
}
#  define FEW_CHANNELS(tile) if (has_planes(g)) { run_few_channels(g, gemm_##tile); return; }
#else
#  define FEW_CHANNELS(tile)
#endif

static void unpacked(const fastpw_unpacked_args *u)
{
    tile_place at = {.a = u->a, .c = u->c, .ahead = u->ahead};
    const tile_steps step = {.a = u->lda, .c = u->ldc};
    run_tiles(u, u->m, &at, step, heights_UNPACKED, heights_UNPACKED, ROWS_WIDE);
}

#if HAS_ALL_TILES
DEFINE_HEIGHTS(TAPS, TAPS, ROWS_WIDE)
DEFINE_HEIGHTS(HALF, HALF, ROWS_HALF)

static void taps(const fastpw_taps_args *g)
{
    tile_buffer buffer;
    const finished_sums costly = sums_in(buffer, WIDE_COLUMNS, g->n, g->out.ldc, g->out.epilogue, 0);
    tile_place at = {.a = (const char *)g->rows, .residual = g->out.residual, .c = g->out.c, .z = g->out.z,
                     .costly = &costly, .ahead = g->ahead};
    const tile_steps step = {sizeof *g->rows, g->out.ldc, g->out.ldr, g->out.ldz};
    set_columns(&at.has, g->n);
    if (g->n > LANES)
        run_tiles(g, g->m, &at, step, heights_TAPS, heights_TAPS, ROWS_WIDE);
    else
        run_tiles(g, g->m, &at, step, heights_HALF, heights_HALF, ROWS_HALF);
}
#  define TAPS taps
#else
#  define TAPS NULL                            /* The taps of a window are copied instead. */
#endif

static void row(const fastpw_row_args *r)
{
    const ptrdiff_t columns = WIDE_COLUMNS * (ptrdiff_t)sizeof(real);
    fastpw_ahead nothing = {0};
    tile_buffer buffer;
    const finished_sums costly = sums_in(buffer, WIDE_COLUMNS, WIDE_COLUMNS, columns, r->epilogue, 0);
    tile_place at = {.a = r->panels, .residual = r->residual, .c = r->c, .z = r->z, .costly = &costly,
                     .ahead = &nothing};
    const tile_steps step = {r->panel_bytes, columns, columns, columns};
    set_columns(&at.has, WIDE_COLUMNS);
    run_tiles(r, r->n / WIDE_COLUMNS, &at, step, heights_ROW, heights_ROW, PANELS_OF_ROW);
}

/* Defines what a row of the table of tiles needs: the functions of a tile, and how its panels are made. */
#define DEFINE_TILE(tile, tallest, columns, step, least_depth, heights, highest)                        \
    static void gemm_##tile(const fastpw_gemm_args *g)                                                  \
    {                                                                                                   \
        FEW_CHANNELS(tile)                                                                              \
        run_gemm(g, columns, heights, highest);                                                         \
    }                                                                                                   \
    static void pack_##tile(char *panel, ptrdiff_t n, ptrdiff_t k, const char *b, ptrdiff_t stride_n,   \
                            ptrdiff_t stride_k, const char *bias, ptrdiff_t stride_bias)                \
    {                                                                                                   \
        pack_panel(columns, step, panel, n, k, b, stride_n, stride_k, bias, stride_bias);               \
    }                                                                                                   \
    enum {                                                                                              \
        ROWS_OF_##tile = tallest, COLUMNS_OF_##tile = columns, STEP_OF_##tile = step,                   \
        LEAST_OF_##tile = least_depth                                                                   \
    };
#define TILE(tile)                                                                                      \
    {                                                                                                   \
        .mr = ROWS_OF_##tile, .nr = COLUMNS_OF_##tile, .depth_step = STEP_OF_##tile,                    \
        .least_depth = LEAST_OF_##tile, .head_bytes = HEAD_BYTES(COLUMNS_OF_##tile),                     \
        .pack = pack_##tile, .gemm = gemm_##tile                                                        \
    }

DEFINE_TILE(WIDE, ROWS_WIDE, WIDE_COLUMNS, 1, 0, goes_past_caches(g) ? heights_STREAMING : heights_WIDE, ROWS_WIDE)

/* The narrow tiles.  VECTORS_n is the number of vectors across a tile of n columns, SPLIT_n the number of depths in
 * each vector, and LEAST_n the least depth at which it is worth its sums at the end: with less, a wider tile takes no
 * longer. The smaller the split, the less there is to sum at the end.  bench/constants.md has what was measured of the
 * widths and depths chosen here.  Tiles that split depths have a second kind of functions, LONG, which fetch rows of
 * A. */
#define WHOLE_FUNCTION(tile, rows) GEMM_FUNCTION(tile, rows, wide_tile(rows, VECTORS_##tile, 0, g, at))
#define SPLIT_FUNCTION(tile, rows) GEMM_FUNCTION(tile, rows, narrow_tile(rows, VECTORS_##tile, SPLIT_##tile, 0, g, at))
#define LONG_FUNCTION(tile, rows) \
    GEMM_FUNCTION(LONG_##tile, rows, narrow_tile(rows, VECTORS_##tile, SPLIT_##tile, 1, g, at))
#define COLUMN_FUNCTION(tile, rows) GEMM_FUNCTION(tile, rows, column_tile(rows, g, at))
#define DEFINE_WHOLE(columns, tallest)                                                                  \
    DEFINE_HEIGHTS(columns, WHOLE, tallest)                                                             \
    DEFINE_TILE(columns, tallest, columns, 1, 0, heights_##columns, tallest)
#if HAS_ALL_TILES
#  define DEFINE_LONG(columns, tallest)                                                                 \
    HEIGHTS(tallest, LONG_FUNCTION, columns)                                                            \
    static tile_function *const long_heights_##columns[] = {HEIGHTS(tallest, NAME, LONG_##columns)};
#else
#  define DEFINE_LONG(columns, tallest) enum { NO_LONG_##columns };
#  define long_heights_4 heights_4
#  define long_heights_8 heights_8
#  define long_heights_12 heights_12
#  define long_heights_24 heights_24
#endif
#define DEFINE_SPLIT(columns, tallest)                                                                  \
    DEFINE_HEIGHTS(columns, SPLIT, tallest)                                                             \
    DEFINE_LONG(columns, tallest)                                                                       \
    DEFINE_TILE(columns, tallest, columns, SPLIT_##columns, LEAST_##columns,                            \
                has_long_rows(g) ? long_heights_##columns : heights_##columns, tallest)
#define DEFINE_COLUMN(tallest)                                                                          \
    DEFINE_HEIGHTS(1, COLUMN, tallest)                                                                  \
    DEFINE_TILE(1, tallest, 1, LANES, LEAST_1, heights_1, has_long_rows(g) ? LONG_ROWS_OF_COLUMN : tallest)

#if LANES == 16
#  define LEAST_1 4
#  define VECTORS_4 1
#  define SPLIT_4 4
#  define LEAST_4 8
#  define VECTORS_8 2
#  define SPLIT_8 4
#  define LEAST_8 18
#  define VECTORS_16 1
#  define VECTORS_24 3
#  define SPLIT_24 2
#  define LEAST_24 20
DEFINE_COLUMN(ROWS_COLUMN)
DEFINE_SPLIT(4, ROWS_1)
DEFINE_SPLIT(8, ROWS_2)
DEFINE_WHOLE(16, ROWS_1)
DEFINE_SPLIT(24, ROWS_3)
#  define N_TILES 6
#  define TILES TILE(WIDE), TILE(24), TILE(16), TILE(8), TILE(4), TILE(1)
#elif LANES == 8
#  define LEAST_1 2
#  define VECTORS_4 1
#  define SPLIT_4 2
#  define LEAST_4 2
#  define VECTORS_8 2
#  define SPLIT_8 2
#  define VECTORS_12 3
#  define SPLIT_12 2
#  if VEC_REGISTERS == 32
#    define LEAST_8 4
#    define LEAST_12 16
#  else
#    define LEAST_8 2
#    define LEAST_12 32
#  endif
DEFINE_COLUMN(ROWS_COLUMN)
DEFINE_SPLIT(4, ROWS_1)
DEFINE_SPLIT(8, ROWS_2)
DEFINE_SPLIT(12, ROWS_3)
#  define N_TILES 5
#  define TILES TILE(WIDE), TILE(12), TILE(8), TILE(4), TILE(1)
#elif LANES == 4
#  define VECTORS_4 1
DEFINE_WHOLE(4, ROWS_1)
#  define N_TILES 2
#  define TILES TILE(WIDE), TILE(4)
#else
#  define VECTORS_2 1
DEFINE_WHOLE(2, ROWS_1)
#  define N_TILES 2
#  define TILES TILE(WIDE), TILE(2)
#endif

#endif
