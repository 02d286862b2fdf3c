/* Rows of float32, each quantized by its own extremes. */
#ifndef FASTPW_INTEGER_QUANTIZE_H
#define FASTPW_INTEGER_QUANTIZE_H

#include "integer_stage.h"

/* ---- the range of a row ---------------------------------------------------- */

/* The least and the largest number of a row, 0 among them: in each lane that of some numbers, or of some rows, that of
 * one row in each lane.  They are compared as integers, as which floats of one sign are in order, infinity and NaN above
 * all: so NaN is not lost, but stays in one of both. */
typedef struct {
    ivec low, high;                          /* the bits: largest without a sign, and largest */
} row_range;

INLINE row_range no_range(void) { return (row_range){ivec_set(INT32_MIN), {0}}; }

INLINE void widen(row_range *range, vec x)
{
    range->low = ivec_unsigned_max(range->low, (ivec)x);
    range->high = ivec_max(range->high, (ivec)x);
}

/* The last vector may lie over the one before. `few` says the numbers if they do not fill a vector. */
INLINE row_range range_of(const char *x, ptrdiff_t count, vec_lanes few)
{
    row_range range = no_range();
    if (count < LANES) {
        widen(&range, vec_load_lanes(x, few));
        return range;
    }
    for (ptrdiff_t p = 0; p + LANES < count; p += LANES) widen(&range, vec_load(x + p * 4));
    widen(&range, vec_load(x + (count - LANES) * 4));
    return range;
}

/* Of as many vectors as there are lanes, lane i becomes that of vector i.  Lanes meet their neighbours, as often as it
 * takes for one lane of each vector to remain: twice within each 16 bytes, and then such pieces meet their neighbours. */
#if LANES == 16
#  define EVEN_LANES 0, 2, 16, 18, 4, 6, 20, 22, 8, 10, 24, 26, 12, 14, 28, 30
#  define ODD_LANES 1, 3, 17, 19, 5, 7, 21, 23, 9, 11, 25, 27, 13, 15, 29, 31
#  define EVEN_PIECES 0, 1, 2, 3, 8, 9, 10, 11, 16, 17, 18, 19, 24, 25, 26, 27
#  define ODD_PIECES 4, 5, 6, 7, 12, 13, 14, 15, 20, 21, 22, 23, 28, 29, 30, 31
#elif LANES == 8
#  define EVEN_LANES 0, 2, 8, 10, 4, 6, 12, 14
#  define ODD_LANES 1, 3, 9, 11, 5, 7, 13, 15
#  define EVEN_PIECES 0, 1, 2, 3, 8, 9, 10, 11
#  define ODD_PIECES 4, 5, 6, 7, 12, 13, 14, 15
#else
#  define EVEN_LANES 0, 2, 4, 6
#  define ODD_LANES 1, 3, 5, 7
#  define EVEN_PIECES EVEN_LANES
#  define ODD_PIECES ODD_LANES
#endif

/* As floats, whose instructions need no table. */
#define EACH(a, b, ...) (ivec)__builtin_shufflevector((vec)(a), (vec)(b), __VA_ARGS__)

INLINE void join_pairs(const int pieces, int count, row_range *rows)
{
#define JOINED(of, join)                                                                      \
    (pieces ? join(EACH(a.of, b.of, EVEN_PIECES), EACH(a.of, b.of, ODD_PIECES))               \
            : join(EACH(a.of, b.of, EVEN_LANES), EACH(a.of, b.of, ODD_LANES)))
    for (int i = 0; i < count / 2; i++) {
        const row_range a = rows[2 * i], b = rows[2 * i + 1];
        rows[i] = (row_range){JOINED(low, ivec_unsigned_max), JOINED(high, ivec_max)};
    }
#undef JOINED
}

INLINE row_range range_of_each(row_range *rows)
{
    join_pairs(0, LANES, rows);
    join_pairs(0, LANES / 2, rows);
    for (int count = LANES / 4; count > 1; count /= 2) join_pairs(1, count, rows);
    return rows[0];
}

/* ---- the rule -------------------------------------------------------------- */

/* How the numbers of a row in each lane become integers: round(x * inverse) + zero, within int8. */
typedef struct {
    vec inverse, scale;
    ivec zero;
} row_rules;

/* XNNPACK's rule: the zero point comes from the end of the range at which it is more accurate. Each step is rounded by
 * itself. */
INLINE row_rules rules_of(const row_range *range)
{
    const vec largest = vec_set(0x1.fffffep127f), width = (vec)range->high - (vec)range->low;
    const vec_mask finite = vec_at_most(width, largest);
    const vec low = vec_where(finite, (vec)range->low), high = vec_where(finite, (vec)range->high);
    const vec quotient = vec_select(finite, 255 / width, vec_set(__builtin_inff()));
    const vec inverse = vec_select(vec_at_most(quotient, largest), quotient, vec_set(1));
    const vec from_low = vec_rounded(low * inverse), from_high = vec_rounded(high * inverse);
    const vec at_low = -128 - from_low, at_high = 127 - from_high;
    const vec error = vec_rounded(-128 + from_low) + vec_rounded(127 + from_high);
    const vec zero = vec_select(vec_less(vec_set(0), error), at_low, at_high);
    return (row_rules){inverse, vec_select(finite, 1 / inverse, vec_set(__builtin_nanf(""))),
                       vec_round(vec_min(vec_max(zero, vec_set(-128)), vec_set(127)))};
}

/* ---- the rows -------------------------------------------------------------- */

enum { QUANTIZED_NUMBERS = QUANTIZED_VECTORS * LANES };

/* `some` says which numbers there are. NULL: all. */
INLINE void quantize_numbers(const char *x, const vec_lanes *some, vec inverse, const byte_rule *rule, staged *to)
{
    ivec q[QUANTIZED_VECTORS];
    UNROLL for (int v = 0; v < QUANTIZED_VECTORS; v++) {
        const char *from = x + v * VEC_BYTES;
        q[v] = vec_round((some ? vec_load_lanes(from, some[v]) : vec_load(from)) * inverse);
    }
    put_staged(q, rule, to);
}

/* The last numbers may lie over those before. Beyond k there are zeros up to a whole step. */
INLINE void quantize_row(const char *x, ptrdiff_t k, const vec_lanes *some, vec inverse, const byte_rule *rule,
                         staged *to)
{
    const ptrdiff_t last = k - QUANTIZED_NUMBERS;
    for (ptrdiff_t p = 0; p < last; p += QUANTIZED_NUMBERS) quantize_numbers(x + p * 4, NULL, inverse, rule, to + p);
    if (last >= 0)
        quantize_numbers(x + last * 4, NULL, inverse, rule, to + last);
    else
        quantize_numbers(x, some, inverse, rule, to);
    for (ptrdiff_t p = k; p < steps_of(k) * DOT_DEPTHS; p++) to[p] = 0;
}

/* As many rows as there are lanes at a time: their rules take one vector. */
static void integer_quantize(const fastpw_quantize_args *args)
{
    const fastpw_quantize_args s = *args;    /* a copy, which the stores below cannot change */
    const ptrdiff_t numbers = s.k * s.groups;
    const vec_lanes few = vec_first(numbers);
    const char *x = s.x;
    char *to = s.to;
    fastpw_row_scale *row = s.rows;
    vec_lanes some[QUANTIZED_VECTORS];
    for (int v = 0; v < QUANTIZED_VECTORS; v++) some[v] = vec_first(s.k - v * LANES);
    for (ptrdiff_t left = s.m; left > 0; left -= LANES) {
        const int count = (int)(left < LANES ? left : LANES);
        row_range ranges[LANES];
        for (int i = 0; i < count; i++) ranges[i] = range_of(x + i * s.ldx, numbers, few);
        for (int i = count; i < LANES; i++) ranges[i] = no_range();
        const row_range range = range_of_each(ranges);
        const row_rules rules = rules_of(&range);
        const ivec zeros = twice_int16(rules.zero);
        for (int i = 0; i < count; i++, x += s.ldx, to += s.ldto) {
            const vec inverse = vec_set(rules.inverse[i]);
            const byte_rule rule = staging_rule(ivec_set(zeros[i]));
            *row++ = (fastpw_row_scale){rules.zero[i] + SHIFT_OF_I8, rules.scale[i]};
            for (ptrdiff_t g = 0; g < s.groups; g++)
                quantize_row(x + g * s.k * 4, s.k, some, inverse, &rule, (staged *)(to + g * s.from_group));
        }
    }
}

#endif
