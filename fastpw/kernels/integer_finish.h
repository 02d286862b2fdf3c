/* What becomes of sums in int32: stored, requantized, or in float32 with an activation. */
#ifndef FASTPW_INTEGER_FINISH_H
#define FASTPW_INTEGER_FINISH_H

#include "integer_set.h"
#include "vec_lanes.h"
#include "vec_narrow.h"

/* The accumulators of a tile leave room for the vectors of a panel, a unit of a row and the products. A narrow tile has
 * half the vectors, for a last panel of so few columns, and up to NARROW_ROWS rows. */
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
#define NARROW_ROWS 12
#define INTEGER_COLUMNS (INTEGER_VECTORS * LANES)
#define INTEGER_HEAD_BYTES (FASTPW_HEAD_ROWS * INTEGER_COLUMNS * 4)
#define UNIT_BYTES (DOT_DEPTHS * (int)sizeof(staged))

INLINE ptrdiff_t steps_of(ptrdiff_t k) { return (k + DOT_DEPTHS - 1) / DOT_DEPTHS; }

INLINE const int32_t *head_row(const char *panel, int row) { return (const int32_t *)panel + row * INTEGER_COLUMNS; }
INLINE vec head_vector(const char *panel, int row, int v) { return vec_load(head_row(panel, row) + v * LANES); }

typedef ivec integer_sums[NARROW_ROWS][INTEGER_VECTORS];

/* What a tile's rows go through on their way to C: sums, or numbers of which C has not all columns. */
typedef union {
    integer_sums sums;
    char rows[1];
} integer_buffer;

/* Where a fused multiply-add takes many instructions, a tile is not made larger by them. */
#define DYNAMIC_IN_REGISTERS !VEC_FUSES_IN_SOFTWARE

/* What a tile does with its sums: what most layers ask for it stores to C. */
enum integer_way { LEAVES_SUMS, PUTS_BYTES, PUTS_DYNAMIC };

/* Where a tile finds its rows, and where it leaves its sums. */
typedef struct {
    const fastpw_integer_args *args;
    enum integer_way way;
    int puts_some;                           /* c is the buffer, since C has not all columns of a panel */
    const char *x;
    const fastpw_row_scale *rows;
    byte_rule rule;
    first_bytes bytes;                       /* where a mask is free: the columns of C */
    vec_lanes lanes[INTEGER_VECTORS];
    char *c; ptrdiff_t ldc;
    ivec (*sums)[INTEGER_VECTORS];
} integer_place;

INLINE int size_of_result(const fastpw_integer_args *g)
{
    return g->how->c_type == FASTPW_I8 || g->how->c_type == FASTPW_U8 ? 1 : 4;
}

INLINE integer_place first_place(const fastpw_integer_args *g, integer_buffer *buffer)
{
    const fastpw_requantize *how = g->how;
    const int size = size_of_result(g);
    integer_place at = {.args = g, .sums = buffer->sums};
    if (!how->by_activation && size == 1) at.way = PUTS_BYTES;
    if (DYNAMIC_IN_REGISTERS && !how->by_activation && g->rows) at.way = PUTS_DYNAMIC;
    at.puts_some = !VEC_MASK_IS_FREE && at.way != LEAVES_SUMS && g->n < INTEGER_COLUMNS;
    at.c = at.puts_some ? buffer->rows : g->c;
    at.ldc = at.puts_some ? INTEGER_COLUMNS * size : g->ldc;
    if (size == 1) at.rule = byte_rule_of(how->zero_point, (int32_t)how->low, how->c_type == FASTPW_U8);
    at.bytes = first_bytes_of(g->n);
    for (int v = 0; VEC_MASK_IS_FREE && v < INTEGER_VECTORS; v++) at.lanes[v] = vec_first(g->n - v * LANES);
    return at;
}

/* The place of the rows from row i on. */
INLINE void move_to(integer_place *at, ptrdiff_t i)
{
    const fastpw_integer_args *g = at->args;
    at->x = g->x + i * g->ldx;
    if (g->rows) at->rows = g->rows + i;
    if (!at->puts_some) at->c = g->c + i * g->ldc;
}

/* ---- from registers ------------------------------------------------------ */

/* Below what could leave int32; what is too low saturates later. */
INLINE ivec requantized(ivec t, vec scale, vec high) { return vec_round(vec_min(vec_of_integers(t) * scale, high)); }

INLINE void put_bytes(const int rows, const int vectors, const integer_sums t, const integer_place *at)
{
    /* All copies, which the stores below cannot change. */
    const vec high = vec_set(at->args->how->high);
    const int together = PUT_VECTORS / vectors;
    const byte_rule rule = at->rule;
    const first_bytes first = at->bytes;
    const ptrdiff_t ldc = at->ldc;
    vec scale[INTEGER_VECTORS];
    char *c = at->c;
    UNROLL for (int v = 0; v < vectors; v++) scale[v] = head_vector(at->args->panel, FASTPW_HEAD_SCALES, v);
    UNROLL for (int i = 0; i < rows; i += together, c += together * ldc) {
        const int count = rows - i < together ? rows - i : together;
        ivec y[PUT_VECTORS];
        UNROLL for (int q = 0; q < PUT_VECTORS; q++)
            y[q] = q < count * vectors ? requantized(t[i + q / vectors][q % vectors], scale[q % vectors], high) : y[0];
        put_rows(vectors, count, y, &rule, first, c, ldc);
    }
}

/* Without what the row's zero point makes of the sums. */
INLINE vec of_dynamic_row(ivec t, const fastpw_row_scale *row, const char *panel, int v)
{
    const ivec column = ivec_load(head_row(panel, FASTPW_HEAD_COLUMN_SUMS) + v * LANES);
    const vec in_steps = vec_rounded(vec_of_integers(t - row->zero * column) * row->scale);
    return vec_fused(in_steps, head_vector(panel, FASTPW_HEAD_SCALES, v), head_vector(panel, FASTPW_HEAD_BIASES, v));
}

/* The addition makes 0 of -0. */
INLINE vec between(vec z, vec low, vec high) { return vec_min(vec_max(z + vec_set(0), low), high); }

INLINE void put_dynamic(const int rows, const int vectors, const integer_sums t, const integer_place *at)
{
    /* All copies, which the stores below cannot change. */
    const vec low = vec_set(at->args->how->low), high = vec_set(at->args->how->high);
    const fastpw_row_scale *row = at->rows;
    const char *panel = at->args->panel;
    const ptrdiff_t ldc = at->ldc;
    vec_lanes lanes[INTEGER_VECTORS];
    char *c = at->c;
    UNROLL for (int v = 0; v < vectors; v++) lanes[v] = at->lanes[v];
    UNROLL for (int i = 0; i < rows; i++, row++, c += ldc)
        UNROLL for (int v = 0; v < vectors; v++) {
            const vec z = between(of_dynamic_row(t[i][v], row, panel, v), low, high);
            if (VEC_MASK_IS_FREE)
                vec_store_lanes(c + v * VEC_BYTES, z, lanes[v]);
            else
                vec_store(c + v * VEC_BYTES, z);
        }
}

/* `dynamic`: the rows may have been quantized. */
INLINE void leave_sums(const int rows, const int vectors, const int dynamic, const integer_sums t,
                       const integer_place *at)
{
    if (at->way == PUTS_BYTES)
        put_bytes(rows, vectors, t, at);
    else if (DYNAMIC_IN_REGISTERS && dynamic && at->way == PUTS_DYNAMIC)
        put_dynamic(rows, vectors, t, at);
    else
        UNROLL for (int i = 0; i < rows; i++)
            UNROLL for (int v = 0; v < vectors; v++) at->sums[i][v] = t[i][v];
}

/* ---- from the buffer ----------------------------------------------------- */

/* The last piece may lie over the one before. */
INLINE void copy_numbers(char *to, const char *from, ptrdiff_t size)
{
    if (size >= 8) {
        for (ptrdiff_t i = 0; i + 8 < size; i += 8) memcpy(to + i, from + i, 8);
        memcpy(to + size - 8, from + size - 8, 8);
    } else if (size >= 4) {
        memcpy(to, from, 4);
        memcpy(to + size - 4, from + size - 4, 4);
    } else
        for (ptrdiff_t i = 0; i < size; i++) to[i] = from[i];
}

INLINE vec in_floats(const fastpw_integer_args *g, ptrdiff_t row, ivec t, int v)
{
    if (g->rows) return of_dynamic_row(t, &g->rows[row], g->panel, v);
    return vec_rounded(vec_of_integers(t) * head_vector(g->panel, FASTPW_HEAD_SCALES, v)) +
           head_vector(g->panel, FASTPW_HEAD_BIASES, v);
}

/* In place, between bounds or for an activation. */
INLINE void make_floats(const fastpw_integer_args *g, ptrdiff_t i, int rows, integer_sums sums)
{
    const vec low = vec_set(g->how->low), high = vec_set(g->how->high);
    for (int r = 0; r < rows; r++)
        for (int v = 0; v < INTEGER_VECTORS; v++) {
            const vec z = in_floats(g, i + r, sums[r][v], v);
            sums[r][v] = (ivec)(g->how->by_activation ? z : between(z, low, high));
        }
}

/* Bytes of what an activation has left in place of the sums. */
INLINE void put_activated_bytes(const integer_place *at, ptrdiff_t i, int rows, const integer_sums sums)
{
    const fastpw_integer_args *g = at->args;
    const vec low = vec_set(g->how->low), high = vec_set(g->how->high), y_scale = vec_set(g->how->y_scale);
    for (int r = 0; r < rows; r++) {
        char bytes[INTEGER_COLUMNS];
        ivec y[PUT_VECTORS];
        for (int v = 0; v < PUT_VECTORS; v++)
            y[v] = vec_round(vec_min(vec_max((vec)sums[r][v % INTEGER_VECTORS] / y_scale, low), high));
        put_rows(INTEGER_VECTORS, 1, y, &at->rule, at->bytes, bytes, 0);
        copy_numbers(g->c + (i + r) * g->ldc, bytes, g->n);
    }
}

/* The activations are those of the set for floats: from the sums to C, or in place. */
static void activate_sums(const fastpw_kernel_set *floats, const fastpw_integer_args *g, const integer_sums sums,
                          int rows, char *c, ptrdiff_t ldc)
{
    static const float zeros[INTEGER_COLUMNS];
    const fastpw_scale_args args = {
        .m = rows, .n = g->n, .bias = (const char *)zeros,
        .out = {.residual = (const char *)sums, .ldr = INTEGER_COLUMNS * 4, .c = c, .ldc = ldc,
                .epilogue = &g->how->epilogue},
    };
    floats->scale(&args);
}

INLINE void copy_rows(const int size, const fastpw_integer_args *g, ptrdiff_t i, int rows, const char *from)
{
    char *c = g->c + i * g->ldc;
    for (; rows > 0; rows--, c += g->ldc, from += INTEGER_COLUMNS * size)
        if (g->n == INTEGER_COLUMNS)
            memcpy(c, from, (size_t)(INTEGER_COLUMNS * size));
        else
            copy_numbers(c, from, g->n * size);
}

NOINLINE void finish_sums(const fastpw_kernel_set *floats, const integer_place *at, ptrdiff_t i, int rows,
                          integer_sums sums)
{
    const fastpw_integer_args *g = at->args;
    if (g->how->c_type != FASTPW_I32) make_floats(g, i, rows, sums);
    if (!g->how->by_activation)
        copy_rows(4, g, i, rows, (const char *)sums);
    else if (g->how->c_type == FASTPW_F32)
        activate_sums(floats, g, sums, rows, g->c + i * g->ldc, g->ldc);
    else {
        activate_sums(floats, g, sums, rows, (char *)sums, INTEGER_COLUMNS * 4);
        put_activated_bytes(at, i, rows, sums);
    }
}

/* What is left to do of some rows, from row i on, after a tile. */
INLINE void finish_rows(const fastpw_kernel_set *floats, const integer_place *at, ptrdiff_t i, int rows,
                        integer_buffer *buffer)
{
    if (at->way == LEAVES_SUMS)
        finish_sums(floats, at, i, rows, buffer->sums);
    else if (at->puts_some && at->way == PUTS_BYTES)
        copy_rows(1, at->args, i, rows, buffer->rows);
    else if (at->puts_some)
        copy_rows(4, at->args, i, rows, buffer->rows);
}

#endif
