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

/* Fewer numbers than a vector takes. To shift a byte by 128 is to flip its highest bit. */
INLINE void stage_short_row(const int is_unsigned, const char *x, ptrdiff_t k, staged *to)
{
#if VEC_BYTES == 64
    ivec_store(to, stage_some(is_unsigned, x, k));
#else
    const int shift = is_unsigned ? SHIFT_OF_U8 : SHIFT_OF_I8;
    ptrdiff_t p = 0;
    for (; sizeof(staged) == 1 && p + 8 <= k; p += 8)
        *(int64_anywhere *)(to + p) = *(const int64_anywhere *)(x + p) ^ (shift ? (int64_t)0x8080808080808080 : 0);
    for (; p < k; p++) to[p] = (staged)((is_unsigned ? (uint8_t)x[p] : (int8_t)x[p]) + shift);
#endif
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
        stage_short_row(is_unsigned, x, k, to);
    for (ptrdiff_t p = k; p < whole; p++) to[p] = 0;
}

INLINE void stage_rows(const int is_unsigned, const fastpw_stage_args *s)
{
    const ptrdiff_t k = s->k;                /* a copy, which the stores below cannot change */
    const char *x = s->x;
    char *to = s->to;
    for (ptrdiff_t i = s->m; i > 0; i--, x += s->ldx, to += s->ldto) stage_row(is_unsigned, x, k, (staged *)to);
}

static void integer_stage(const fastpw_stage_args *s)
{
    if (s->x_type == FASTPW_U8)
        stage_rows(1, s);
    else
        stage_rows(0, s);
}

#endif
