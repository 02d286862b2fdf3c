/* Rows and weights in the form in which tiles read them. */
#ifndef FASTPW_INTEGER_STAGE_H
#define FASTPW_INTEGER_STAGE_H

#include "integer_tile.h"
#include "vec_lanes.h"

/* Columns beyond n and depths beyond k become zeros. Steps of depths follow each other; in each, the depths of a column
 * lie side by side. */
static void integer_pack(char *to, ptrdiff_t n, ptrdiff_t k, const char *w, ptrdiff_t stride_n, ptrdiff_t stride_k)
{
    for (ptrdiff_t p = 0; p < k; p += DOT_DEPTHS)
        for (ptrdiff_t j = 0; j < INTEGER_COLUMNS; j++)
            for (int d = 0; d < DOT_DEPTHS; d++)
                *to++ = j < n && p + d < k ? w[j * stride_n + (p + d) * stride_k] : 0;
}

INLINE void stage_row(const fastpw_stage_args *s, const char *x, staged *to)
{
    const ptrdiff_t whole = steps_of(s->k) * DOT_DEPTHS;
    if (s->x_type == FASTPW_U8)
        for (ptrdiff_t p = 0; p < s->k; p++) to[p] = (staged)((uint8_t)x[p] + SHIFT_OF_U8);
    else
        for (ptrdiff_t p = 0; p < s->k; p++) to[p] = (staged)((int8_t)x[p] + SHIFT_OF_I8);
    for (ptrdiff_t p = s->k; p < whole; p++) to[p] = 0;
}

static void integer_stage(const fastpw_stage_args *s)
{
    for (ptrdiff_t i = 0; i < s->m; i++) stage_row(s, s->x + i * s->ldx, (staged *)(s->to + i * s->ldto));
}

/* ---- rows of float32, quantized ----------------------------------------- */

/* The least and the largest number of a row, 0 among them; and 0, or NaN if one is infinite or NaN. */
typedef struct {
    vec low, high, finite;
} row_range;

INLINE void widen(row_range *range, vec x)
{
    range->low = vec_min(x, range->low);
    range->high = vec_max(x, range->high);
    range->finite += x * 0;
}

INLINE float least(vec v)
{
    float low = v[0];
    for (int i = 1; i < LANES; i++) low = v[i] < low ? v[i] : low;
    return low;
}

INLINE int all_zero(vec v)
{
    float sum = v[0];
    for (int i = 1; i < LANES; i++) sum += v[i];
    return sum == 0;
}

/* How the numbers of a row become integers: round(x * inverse), between low and high, plus zero (and the shift). */
typedef struct {
    vec inverse, low, high;
    ivec zero;
} row_rule;

/* XNNPACK's rule: the zero point comes from the end of the range at which it is more accurate. Each step is rounded by
 * itself, in vectors since only those have vec_rounded. */
INLINE row_rule rule_of(const row_range *range, fastpw_row_scale *row)
{
    const float low = least(range->low), high = -least(-range->high), width = high - low;
    const int finite = all_zero(range->finite) && width <= 0x1.fffffep127f;
    float inverse = finite ? 255 / width : 1;
    if (!(inverse <= 0x1.fffffep127f)) inverse = 1;
    const vec from_low = vec_rounded(vec_set(finite ? low : 0) * inverse);
    const vec from_high = vec_rounded(vec_set(finite ? high : 0) * inverse);
    const vec at_low = -128 - from_low, at_high = 127 - from_high;
    const float error = vec_rounded(-128 + from_low)[0] + vec_rounded(127 + from_high)[0];
    const vec zero = vec_min(vec_max(error > 0 ? at_low : at_high, vec_set(-128)), vec_set(127));
    const ivec rounded = vec_round(zero);
    row->zero = rounded[0] + SHIFT_OF_I8;
    row->scale = finite ? 1 / inverse : __builtin_nanf("");
    return (row_rule){vec_set(inverse), vec_of_integers(-128 - rounded), vec_of_integers(127 - rounded),
                      rounded + SHIFT_OF_I8};
}

INLINE void quantize_vector(const row_rule *rule, vec x, staged *to)
{
    const vec steps = vec_min(vec_max(vec_rounded(x * rule->inverse), rule->low), rule->high);
    typedef staged narrow __attribute__((vector_size(LANES * sizeof(staged))));
    const narrow q = __builtin_convertvector(vec_round(steps) + rule->zero, narrow);
    memcpy(to, &q, sizeof q);
}

static void quantize_row(const fastpw_quantize_args *s, const char *x, char *to, fastpw_row_scale *row)
{
    const ptrdiff_t all = s->k * s->groups;
    const vec_lanes of_row = vec_first(all % LANES), of_group = vec_first(s->k % LANES);
    row_range range = {{0}, {0}, {0}};
    ptrdiff_t p = 0;
    for (; p + LANES <= all; p += LANES) widen(&range, vec_load(x + p * 4));
    if (p < all) widen(&range, vec_load_lanes(x + p * 4, of_row));
    const row_rule rule = rule_of(&range, row);
    for (ptrdiff_t g = 0; g < s->groups; g++, x += s->k * 4, to += s->from_group) {
        for (p = 0; p + LANES <= s->k; p += LANES) quantize_vector(&rule, vec_load(x + p * 4), (staged *)to + p);
        if (p < s->k) quantize_vector(&rule, vec_load_lanes(x + p * 4, of_group), (staged *)to + p);
    }
}

static void integer_quantize(const fastpw_quantize_args *s)
{
    for (ptrdiff_t i = 0; i < s->m; i++) quantize_row(s, s->x + i * s->ldx, s->to + i * s->ldto, &s->rows[i]);
}

#endif
