/* THE CONTRACT between core and kernels for integers: kernel_set.h's counterpart.
 *
 *     t[i][j] = start[j] + sum over p of X[i][p] * W[p][j]           exactly, in int32
 *     C[i][j] = what fastpw_requantize makes of t[i][j]
 *
 * X holds int8 or uint8 numbers.  A set reads them as it likes best: `stage` or `quantize` copies rows to that form,
 * which may add a number to each (shift_of); where each row begins, ldx or ldto bytes after the one before, is the
 * caller's business.  Sums wrap around on their way, so the shift may leave int32 as long as the result does not.
 */
#ifndef FASTPW_INTEGER_SET_H
#define FASTPW_INTEGER_SET_H

#include "kernel_set.h"

/* A panel is nr columns of W, behind a head of so many rows of nr numbers.  The sums of a product start from one of
 * the first three, by what X holds: no pixel at all, int8, uint8.  (Start: the bias less the zero point, shifted as
 * X is, times the sum of the column.) */
enum fastpw_head_row {
    FASTPW_HEAD_PADDING,                     /* int32 */
    FASTPW_HEAD_I8,                          /* int32 */
    FASTPW_HEAD_U8,                          /* int32 */
    FASTPW_HEAD_COLUMN_SUMS,                 /* int32, for rows with a zero point of their own */
    FASTPW_HEAD_SCALES,                      /* float32 */
    FASTPW_HEAD_BIASES,                      /* float32, for results in float32 */
    FASTPW_HEAD_ROWS
};

/* Of a row that was quantized by itself: its numbers stand for (X - zero) * scale. */
typedef struct {
    int32_t zero;                            /* shifted as X is */
    float scale;
} fastpw_row_scale;

/* m rows of k numbers, and zeros up to a whole step of depths; what lies within a vector beyond may be overwritten. */
typedef struct {
    ptrdiff_t m, k;
    const char *x; ptrdiff_t ldx;
    int32_t x_type;                          /* FASTPW_I8 or FASTPW_U8 */
    char *to; ptrdiff_t ldto;
} fastpw_stage_args;

/* The same of `groups` times k numbers in float32, each row quantized to int8 by its own extremes (0 among them). The
 * groups of a row lie from_group bytes apart where they are put. */
typedef struct {
    ptrdiff_t m, k, groups;
    const char *x; ptrdiff_t ldx;
    char *to; ptrdiff_t ldto, from_group;
    fastpw_row_scale *rows;
} fastpw_quantize_args;

/* What becomes of a sum t, each step rounded to float32:
 *
 *     int32         t
 *     int8, uint8   zero_point + round(min(max(t * scale[j], low), high))
 *                   zero_point + round(min(max(act(t * scale[j]) / y_scale, low), high))     by_activation
 *     float32       z = t * scale[j] + bias[j]
 *                   z = fma((t - zero * column_sum[j]) * row scale, scale[j], bias[j])       rows
 *                   min(max(z + 0, low), high), or act(z + 0)                                by_activation
 *
 * round: to the nearest, halves to even.  Zero and row scale are the row's.  For bytes, low and high are integers. */
typedef struct {
    int32_t c_type;
    int32_t by_activation;                   /* whether there is one beyond low and high */
    fastpw_epilogue epilogue;
    float low, high, y_scale;
    int32_t zero_point;
} fastpw_requantize;

/* Rows, staged, against one panel, whose first n columns are stored.  Rows of bytes and of whole steps need no staging,
 * but what that adds: where `shifts` says so, a product adds it.  With one weight per channel, column j meets
 * number j of a row only, and k is 1. */
typedef struct {
    ptrdiff_t m, n, k;
    const char *x; ptrdiff_t ldx;
    const char *panel;
    int32_t start;                           /* a row of the head */
    int32_t shifts;
    const fastpw_row_scale *rows;            /* NULL: static */
    char *c; ptrdiff_t ldc;
    const fastpw_requantize *how;
} fastpw_integer_args;

typedef struct {
    const char *isa;
    const char *floats;                      /* the set for floats that belongs to it */
    int32_t nr, mr;                          /* columns of a panel; rows that are computed at a time */
    int32_t depth_step;                      /* depths of a step, in rows and panels */
    int32_t x_size;                          /* bytes of a staged number */
    int32_t shift_of_i8, shift_of_u8;        /* what staging adds */
    int32_t shifts;                          /* whether products can */
    /* Packs n <= nr columns of k weights, W[p][j] at w + p * stride_k + j * stride_n, with zeros where there is no such
     * column or depth. The head is the caller's, and so is a panel with one weight per channel, which has them in
     * order. */
    void (*pack)(char *weights, ptrdiff_t n, ptrdiff_t k, const char *w, ptrdiff_t stride_n, ptrdiff_t stride_k);
    void (*stage)(const fastpw_stage_args *);
    void (*quantize)(const fastpw_quantize_args *);
    void (*product)(const fastpw_integer_args *);
    void (*scale)(const fastpw_integer_args *);
} fastpw_integer_set;

/* The sets compiled into this library, best first, and whether this CPU runs one. */
extern const fastpw_integer_set *const fastpw_integer_sets[];   /* ends with NULL */
int fastpw_cpu_runs_integers(const fastpw_integer_set *);

#endif
