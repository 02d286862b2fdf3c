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

/* Of as many vectors as there are lanes, lane i becomes that of vector i. Lanes meet their neighbours, as often as it
 * takes for one lane of each vector to remain; with 8 lanes within halves of a vector, and the halves at the end. */
#if LANES == 16
#  define LANES_OF_EACH 0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30
#  define OTHER_LANES 1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31
#elif LANES == 8
#  define LANES_OF_EACH 0, 2, 8, 10, 4, 6, 12, 14
#  define OTHER_LANES 1, 3, 9, 11, 5, 7, 13, 15
#  define LAST_LANES 0, 1, 2, 3, 8, 9, 10, 11
#  define OTHER_LAST_LANES 4, 5, 6, 7, 12, 13, 14, 15
#else
#  define LANES_OF_EACH 0, 2, 4, 6
#  define OTHER_LANES 1, 3, 5, 7
#endif
#ifndef LAST_LANES
#  define LAST_LANES LANES_OF_EACH
#  define OTHER_LAST_LANES OTHER_LANES
#endif

INLINE ivec some_lanes(const int last, ivec a, ivec b)
{
    return last ? __builtin_shufflevector(a, b, LAST_LANES) : __builtin_shufflevector(a, b, LANES_OF_EACH);
}

INLINE ivec other_lanes(const int last, ivec a, ivec b)
{
    return last ? __builtin_shufflevector(a, b, OTHER_LAST_LANES) : __builtin_shufflevector(a, b, OTHER_LANES);
}

INLINE row_range joined(const int last, const row_range *a, const row_range *b)
{
#define JOINED(of, join) join(some_lanes(last, a->of, b->of), other_lanes(last, a->of, b->of))
    return (row_range){JOINED(low, ivec_unsigned_max), JOINED(high, ivec_max)};
#undef JOINED
}

INLINE row_range range_of_each(row_range *rows)
{
    for (int count = LANES; count > 2; count /= 2)
        for (int i = 0; i < count / 2; i++) rows[i] = joined(0, &rows[2 * i], &rows[2 * i + 1]);
    return joined(1, &rows[0], &rows[1]);
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
static void integer_quantize(const fastpw_quantize_args *s)
{
    const ptrdiff_t k = s->k, numbers = k * s->groups;
    const vec_lanes few = vec_first(numbers);
    vec_lanes some[QUANTIZED_VECTORS];
    for (int v = 0; v < QUANTIZED_VECTORS; v++) some[v] = vec_first(k - v * LANES);
    for (ptrdiff_t first = 0; first < s->m; first += LANES) {
        const int rows = (int)(s->m - first < LANES ? s->m - first : LANES);
        row_range ranges[LANES];
        for (int i = 0; i < rows; i++) ranges[i] = range_of(s->x + (first + i) * s->ldx, numbers, few);
        for (int i = rows; i < LANES; i++) ranges[i] = no_range();
        const row_range range = range_of_each(ranges);
        const row_rules rules = rules_of(&range);
        const ivec zeros = twice_int16(rules.zero);
        for (int i = 0; i < rows; i++) {
            const char *x = s->x + (first + i) * s->ldx;
            char *to = s->to + (first + i) * s->ldto;
            s->rows[first + i] = (fastpw_row_scale){rules.zero[i] + SHIFT_OF_I8, rules.scale[i]};
            const vec inverse = vec_set(rules.inverse[i]);
            const byte_rule rule = staging_rule(ivec_set(zeros[i]));
            for (ptrdiff_t g = 0; g < s->groups; g++)
                quantize_row(x + g * k * 4, k, some, inverse, &rule, (staged *)(to + g * s->from_group));
        }
    }
}

#endif
