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

/* What a tile's rows go through on their way to C. */
typedef struct {
    integer_sums sums;
    char bytes[NARROW_ROWS][INTEGER_COLUMNS];
} integer_buffer;

/* Where a tile finds its rows, and where it leaves its sums. */
typedef struct {
    const fastpw_integer_args *args;
    const char *x;
    int puts_bytes;                          /* as results, to c; otherwise they go to the buffer as they are */
    int puts_some;                           /* c is the buffer, since C has not all columns of a panel */
    byte_rule rule;
    char *c; ptrdiff_t ldc;
    ivec (*sums)[INTEGER_VECTORS];
} integer_place;

INLINE integer_place place_of_rows(const fastpw_integer_args *g, integer_buffer *buffer)
{
    const fastpw_requantize *how = g->how;
    integer_place at = {.args = g, .sums = buffer->sums};
    at.puts_bytes = (how->c_type == FASTPW_I8 || how->c_type == FASTPW_U8) && !how->by_activation;
    at.puts_some = g->n < INTEGER_COLUMNS;
    at.c = at.puts_some ? buffer->bytes[0] : g->c;
    at.ldc = at.puts_some ? INTEGER_COLUMNS : g->ldc;
    if (at.puts_bytes || how->y_scale) at.rule = byte_rule_of(how->zero_point, (int32_t)how->low, how->c_type == FASTPW_U8);
    return at;
}

/* ---- from registers ------------------------------------------------------ */

/* Below what could leave int32; what is too low saturates later. */
INLINE ivec requantized(ivec t, vec scale, vec high) { return vec_round(vec_min(vec_of_integers(t) * scale, high)); }

INLINE void put_bytes(const int rows, const int vectors, const integer_sums t, const integer_place *at)
{
    const vec high = vec_set(at->args->how->high);
    vec scale[INTEGER_VECTORS];
    char *c = at->c;
    UNROLL for (int v = 0; v < vectors; v++) scale[v] = head_vector(at->args->panel, FASTPW_HEAD_SCALES, v);
    UNROLL for (int i = 0; i < rows; i += 2) {
        ivec y[2][INTEGER_VECTORS];
        const int second = i + 1 < rows;
        UNROLL for (int v = 0; v < vectors; v++) {
            y[0][v] = requantized(t[i][v], scale[v], high);
            y[1][v] = second ? requantized(t[i + second][v], scale[v], high) : y[0][v];
        }
        put_two_rows(vectors, y[0], y[1], &at->rule, c, c + second * at->ldc);
        c += 2 * at->ldc;
    }
}

INLINE void leave_sums(const int rows, const int vectors, const integer_sums t, const integer_place *at)
{
    if (at->puts_bytes) {
        put_bytes(rows, vectors, t, at);
        return;
    }
    UNROLL for (int i = 0; i < rows; i++)
        UNROLL for (int v = 0; v < vectors; v++) at->sums[i][v] = t[i][v];
}

/* ---- from the buffer ----------------------------------------------------- */

INLINE void copy_numbers(char *to, const char *from, ptrdiff_t size)
{
    for (; size >= 8; to += 8, from += 8, size -= 8) memcpy(to, from, 8);
    if (size & 4) memcpy(to, from, 4), to += 4, from += 4;
    if (size & 2) memcpy(to, from, 2), to += 2, from += 2;
    if (size & 1) *to = *from;
}

/* The sums of a dynamic row, without what its zero point makes of them; those of others as they are. */
INLINE vec in_floats(const int by_rows, const fastpw_integer_args *g, ptrdiff_t row, ivec t, int v)
{
    const vec scale = head_vector(g->panel, FASTPW_HEAD_SCALES, v), bias = head_vector(g->panel, FASTPW_HEAD_BIASES, v);
    if (!by_rows) return vec_rounded(vec_of_integers(t) * scale) + bias;
    const ivec column = ivec_load(head_row(g->panel, FASTPW_HEAD_COLUMN_SUMS) + v * LANES);
    const fastpw_row_scale *of = &g->rows[row];
    return vec_fused(vec_rounded(vec_of_integers(t - of->zero * column) * of->scale), scale, bias);
}

/* Numbers in float32 from row i on, between bounds. That of 0 and the bias is no -0. */
INLINE void put_floats(const int by_rows, const fastpw_integer_args *g, ptrdiff_t i, int rows, const integer_sums sums)
{
    const vec low = vec_set(g->how->low), high = vec_set(g->how->high);
    for (int v = 0; v * LANES < g->n; v++) {
        const vec_lanes lanes = vec_first(g->n - v * LANES);
        char *c = g->c + i * g->ldc + v * VEC_BYTES;
        for (int r = 0; r < rows; r++, c += g->ldc) {
            const vec z = in_floats(by_rows, g, i + r, sums[r][v], v) + vec_set(0);
            const vec y = vec_min(vec_max(z, low), high);
            if (!VEC_MASK_IS_FREE && g->n - v * LANES >= LANES)
                vec_store(c, y);
            else
                vec_store_lanes(c, y, lanes);
        }
    }
}

/* In place, for an activation. */
INLINE void make_floats(const fastpw_integer_args *g, ptrdiff_t i, int rows, integer_sums sums)
{
    for (int r = 0; r < rows; r++)
        for (int v = 0; v < INTEGER_VECTORS; v++)
            sums[r][v] = (ivec)(g->rows ? in_floats(1, g, i + r, sums[r][v], v) : in_floats(0, g, i + r, sums[r][v], v));
}

/* Bytes of what an activation has left in place of the sums. */
INLINE void put_activated_bytes(const integer_place *at, ptrdiff_t i, int rows, const integer_sums sums)
{
    const fastpw_integer_args *g = at->args;
    const vec low = vec_set(g->how->low), high = vec_set(g->how->high), y_scale = vec_set(g->how->y_scale);
    for (int r = 0; r < rows; r++) {
        char bytes[INTEGER_COLUMNS];
        ivec y[INTEGER_VECTORS];
        for (int v = 0; v < INTEGER_VECTORS; v++)
            y[v] = vec_round(vec_min(vec_max((vec)sums[r][v] / y_scale, low), high));
        put_two_rows(INTEGER_VECTORS, y, y, &at->rule, bytes, bytes);
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

NOINLINE void finish_sums(const fastpw_kernel_set *floats, const integer_place *at, ptrdiff_t i, int rows,
                          integer_sums sums)
{
    const fastpw_integer_args *g = at->args;
    char *c = g->c + i * g->ldc;
    if (g->how->c_type == FASTPW_I32) {
        for (int r = 0; r < rows; r++) copy_numbers(c + r * g->ldc, (const char *)sums[r], g->n * 4);
        return;
    }
    if (!g->how->by_activation) {
        if (g->rows)
            put_floats(1, g, i, rows, sums);
        else
            put_floats(0, g, i, rows, sums);
        return;
    }
    make_floats(g, i, rows, sums);
    if (g->how->c_type == FASTPW_F32) {
        activate_sums(floats, g, sums, rows, c, g->ldc);
        return;
    }
    activate_sums(floats, g, sums, rows, (char *)sums, INTEGER_COLUMNS * 4);
    put_activated_bytes(at, i, rows, sums);
}

/* What is left to do of some rows, from row i on, after a tile. */
INLINE void finish_rows(const fastpw_kernel_set *floats, const integer_place *at, ptrdiff_t i, int rows,
                        integer_buffer *buffer)
{
    const fastpw_integer_args *g = at->args;
    if (!at->puts_bytes)
        finish_sums(floats, at, i, rows, buffer->sums);
    else if (at->puts_some)
        for (int r = 0; r < rows; r++) copy_numbers(g->c + (i + r) * g->ldc, buffer->bytes[r], g->n);
}

#endif
