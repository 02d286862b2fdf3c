/* Rows and weights in the form in which tiles read them. */
#ifndef FASTPW_INTEGER_STAGE_H
#define FASTPW_INTEGER_STAGE_H

#include "integer_finish.h"

/* Columns beyond n and depths beyond k become zeros. Steps of depths follow each other; in each, the depths of a column
 * lie side by side. */
static void integer_pack(char *to, ptrdiff_t n, ptrdiff_t k, const char *w, ptrdiff_t stride_n, ptrdiff_t stride_k)
{
    for (ptrdiff_t p = 0; p < k; p += DOT_DEPTHS)
        for (ptrdiff_t j = 0; j < INTEGER_COLUMNS; j++)
            for (int d = 0; d < DOT_DEPTHS; d++)
                *to++ = j < n && p + d < k ? w[j * stride_n + (p + d) * stride_k] : 0;
}

/* Beyond k there are zeros up to a whole step. The last vector may lie over the one before. */
INLINE void stage_row(const int is_unsigned, const char *x, ptrdiff_t k, staged *to)
{
    const ptrdiff_t whole = steps_of(k) * DOT_DEPTHS;
    if (k >= STAGED_NUMBERS) {
        for (ptrdiff_t p = 0; p + STAGED_NUMBERS < k; p += STAGED_NUMBERS)
            ivec_store(to + p, stage_numbers(is_unsigned, x + p));
        ivec_store(to + k - STAGED_NUMBERS, stage_numbers(is_unsigned, x + k - STAGED_NUMBERS));
    } else
        for (ptrdiff_t p = 0; p < k; p++)
            to[p] = (staged)(is_unsigned ? (uint8_t)x[p] + SHIFT_OF_U8 : (int8_t)x[p] + SHIFT_OF_I8);
    for (ptrdiff_t p = k; p < whole; p++) to[p] = 0;
}

static void integer_stage(const fastpw_stage_args *s)
{
    for (ptrdiff_t i = 0; i < s->m; i++) {
        const char *x = s->x + i * s->ldx;
        staged *to = (staged *)(s->to + i * s->ldto);
        if (s->x_type == FASTPW_U8)
            stage_row(1, x, s->k, to);
        else
            stage_row(0, x, s->k, to);
    }
}

#endif
