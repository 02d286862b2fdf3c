/* What becomes of sums in int32: stored, requantized, or in float32 with an activation. */
#ifndef FASTPW_INTEGER_FINISH_H
#define FASTPW_INTEGER_FINISH_H

#include "integer_tile.h"
#include "vec_lanes.h"

typedef uint8_t byte_lanes __attribute__((vector_size(LANES)));

/* The first `count` of the lanes' low bytes. */
INLINE void put_bytes(char *to, ivec v, ptrdiff_t count)
{
    const byte_lanes bytes = __builtin_convertvector(v, byte_lanes);
    if (count >= LANES)
        memcpy(to, &bytes, LANES);
    else
        memcpy(to, &bytes, (size_t)count);
}

/* Sums of one vector of columns, row by row. */
#define EACH_ROW(f) \
    for (ptrdiff_t i = 0, lds = INTEGER_COLUMNS; i < (f)->m; i++)
#define SUM_OF(f, v) ((f)->sums + i * lds + (v) * LANES)
INLINE vec head_vector(const fastpw_finish_args *f, int row, int v)
{
    return vec_load(head_row(f->panel, row) + v * LANES);
}

static void finish_integers(const fastpw_finish_args *f)
{
    EACH_ROW(f) memcpy(f->c + i * f->ldc, f->sums + i * lds, (size_t)f->n * sizeof(int32_t));
}

/* Bytes from the sums, or from the numbers in float32 that an activation has left in their place. */
INLINE void finish_bytes(const int by_activation, const fastpw_finish_args *f)
{
    const fastpw_requantize *how = f->how;
    const vec low = vec_set(how->low), high = vec_set(how->high), y_scale = vec_set(how->y_scale);
    for (int v = 0; v * LANES < f->n; v++) {
        const vec scale = head_vector(f, FASTPW_HEAD_SCALES, v);
        const ptrdiff_t left = f->n - v * LANES;
        EACH_ROW(f) {
            const ivec t = ivec_load(SUM_OF(f, v));
            const vec steps = by_activation ? (vec)t / y_scale : vec_of_integers(t) * scale;
            const ivec y = vec_round(vec_min(vec_max(steps, low), high)) + how->zero_point;
            put_bytes(f->c + i * f->ldc + v * LANES, y, left);
        }
    }
}

/* The sums become numbers in float32, before the activation. */
INLINE void scale_sums(const int by_rows, const int with_bias, const fastpw_finish_args *f)
{
    for (int v = 0; v * LANES < f->n; v++) {
        const vec scale = head_vector(f, FASTPW_HEAD_SCALES, v);
        const vec bias = head_vector(f, FASTPW_HEAD_BIASES, v);
        const ivec column = ivec_load(head_row(f->panel, FASTPW_HEAD_COLUMN_SUMS) + v * LANES);
        EACH_ROW(f) {
            ivec t = ivec_load(SUM_OF(f, v));
            vec z;
            if (by_rows)
                z = vec_fused(vec_rounded(vec_of_integers(t - f->rows[i].zero * column) * f->rows[i].scale), scale,
                              bias);
            else {
                z = vec_rounded(vec_of_integers(t) * scale);
                if (with_bias) z += bias;
            }
            vec_store(SUM_OF(f, v), z);
        }
    }
}

/* Activations are those of the set for floats: to these sums, or to C. */
static void activate_sums(const fastpw_kernel_set *floats, const fastpw_finish_args *f, char *c, ptrdiff_t ldc)
{
    static const float zeros[INTEGER_COLUMNS];
    const fastpw_scale_args args = {
        .m = f->m, .n = f->n, .bias = (const char *)zeros,
        .out = {.residual = (const char *)f->sums, .ldr = INTEGER_COLUMNS * 4, .c = c, .ldc = ldc,
                .epilogue = &f->how->epilogue},
    };
    floats->scale(&args);
}

INLINE void integer_finish(const fastpw_kernel_set *floats, const fastpw_finish_args *f)
{
    switch (f->how->c_type) {
    case FASTPW_I32:
        finish_integers(f);
        return;
    case FASTPW_F32:
        if (f->rows)
            scale_sums(1, 1, f);
        else
            scale_sums(0, 1, f);
        activate_sums(floats, f, f->c, f->ldc);
        return;
    default:
        if (!f->how->by_activation) {
            finish_bytes(0, f);
            return;
        }
        scale_sums(0, 0, f);
        activate_sums(floats, f, (char *)f->sums, INTEGER_COLUMNS * 4);
        finish_bytes(1, f);
    }
}

#endif
