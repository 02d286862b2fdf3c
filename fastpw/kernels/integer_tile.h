/* Sums of products of small integers: rows against a panel. */
#ifndef FASTPW_INTEGER_TILE_H
#define FASTPW_INTEGER_TILE_H

#include "integer_set.h"
#include "vec_dot.h"

/* The accumulators of a tile leave room for the vectors of a panel, a unit of a row and the products. */
#if VEC_MULTIPLIES_BY_LANE
#  define INTEGER_VECTORS 4
#  define INTEGER_ROWS 6
#elif VEC_REGISTERS == 32
#  define INTEGER_VECTORS 2
#  define INTEGER_ROWS 12
#else
#  define INTEGER_VECTORS 2
#  define INTEGER_ROWS 6
#endif
#define INTEGER_COLUMNS (INTEGER_VECTORS * LANES)
#define INTEGER_HEAD_BYTES (FASTPW_HEAD_ROWS * INTEGER_COLUMNS * 4)
#define UNIT_BYTES (DOT_DEPTHS * (int)sizeof(staged))

INLINE ptrdiff_t steps_of(ptrdiff_t k) { return (k + DOT_DEPTHS - 1) / DOT_DEPTHS; }

INLINE const int32_t *head_row(const char *panel, int row) { return (const int32_t *)panel + row * INTEGER_COLUMNS; }

INLINE void integer_tile(const int rows, const fastpw_sums_args *s, const char *x, int32_t *sums)
{
    const int32_t *start = head_row(s->panel, s->start);
    const char *w = s->panel + INTEGER_HEAD_BYTES;
    const char *const end = x + steps_of(s->k) * UNIT_BYTES;
    const ptrdiff_t ld = s->ldx;
    ivec t[INTEGER_ROWS][INTEGER_VECTORS];
    UNROLL for (int i = 0; i < rows; i++)
        UNROLL for (int v = 0; v < INTEGER_VECTORS; v++) t[i][v] = ivec_load(start + v * LANES);
    for (; x < end; x += UNIT_BYTES, w += INTEGER_COLUMNS * DOT_DEPTHS) {
        dot_weights b[INTEGER_VECTORS];
        UNROLL for (int v = 0; v < INTEGER_VECTORS; v++) b[v] = dot_load(w + v * LANES * DOT_DEPTHS);
        UNROLL for (int i = 0; i < rows; i++) {
            const dot_unit a = dot_broadcast(x + i * ld);
            UNROLL for (int v = 0; v < INTEGER_VECTORS; v++) t[i][v] = dot_add(t[i][v], a, b[v]);
        }
    }
    UNROLL for (int i = 0; i < rows; i++)
        UNROLL for (int v = 0; v < INTEGER_VECTORS; v++) ivec_store(sums + i * INTEGER_COLUMNS + v * LANES, t[i][v]);
}

typedef void integer_tile_function(const fastpw_sums_args *, const char *, int32_t *);
#define INTEGER_TILE(rows)                                                                          \
    NOINLINE void integer_tile_##rows(const fastpw_sums_args *s, const char *x, int32_t *sums)      \
    {                                                                                               \
        integer_tile(rows, s, x, sums);                                                             \
    }
INTEGER_TILE(1)
INTEGER_TILE(2)
INTEGER_TILE(3)
INTEGER_TILE(4)
INTEGER_TILE(5)
INTEGER_TILE(6)
#if INTEGER_ROWS == 12
INTEGER_TILE(8)
INTEGER_TILE(12)
static integer_tile_function *const integer_tiles[] = {
    NULL, integer_tile_1, integer_tile_2, integer_tile_3, integer_tile_4, integer_tile_5, integer_tile_6,
    integer_tile_6, integer_tile_8, integer_tile_8, integer_tile_8, integer_tile_8, integer_tile_12};
static const int rows_of_tile[] = {0, 1, 2, 3, 4, 5, 6, 6, 8, 8, 8, 8, 12};
#else
static integer_tile_function *const integer_tiles[] = {
    NULL, integer_tile_1, integer_tile_2, integer_tile_3, integer_tile_4, integer_tile_5, integer_tile_6};
static const int rows_of_tile[] = {0, 1, 2, 3, 4, 5, 6};
#endif

static void integer_sums(const fastpw_sums_args *s)
{
    const char *x = s->x;
    int32_t *sums = s->sums;
    for (ptrdiff_t rows = s->m; rows > 0;) {
        const int height = rows_of_tile[rows < INTEGER_ROWS ? rows : INTEGER_ROWS];
        integer_tiles[height](s, x, sums);
        rows -= height, x += height * s->ldx, sums += height * INTEGER_COLUMNS;
    }
}

/* One weight per channel: lane j of a row meets weight j. */
typedef staged staged_lanes __attribute__((vector_size(LANES * sizeof(staged)), aligned(1), may_alias));
typedef int8_t weight_lanes __attribute__((vector_size(LANES), aligned(1), may_alias));

static void integer_scale(const fastpw_sums_args *s)
{
    const int32_t *start = head_row(s->panel, s->start);
    const char *w = s->panel + INTEGER_HEAD_BYTES;
    for (int v = 0; v < INTEGER_VECTORS; v++) {
        const ivec first = ivec_load(start + v * LANES);
        const ivec weights = __builtin_convertvector(*(const weight_lanes *)(w + v * LANES), ivec);
        for (ptrdiff_t i = 0; i < s->m; i++) {
            ivec t = first;
            if (s->k) {
                const char *x = s->x + i * s->ldx + v * LANES * (int)sizeof(staged);
                t += __builtin_convertvector(*(const staged_lanes *)x, ivec) * weights;
            }
            ivec_store(s->sums + i * INTEGER_COLUMNS + v * LANES, t);
        }
    }
}

#endif
