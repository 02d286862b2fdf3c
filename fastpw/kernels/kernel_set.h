/* THE CONTRACT between core and kernels.
 *
 * A kernel set is one instruction set x one choice of types.  Its functions
 * compute products of matrices and what belongs to them; each has a struct of
 * its own for its arguments, with the fields that it reads and no others.
 *
 * m, n and k are the rows, columns and depths of a product.  A pointer a, c, ...
 * says where a matrix begins, and lda, ldc, ... how many bytes lie between the
 * beginnings of its rows.  Any distance will do: rows may be unaligned, reversed
 * or repeated.  The elements of a row are adjacent.
 *
 * Nothing outside the given rows is read or written.  No function here knows
 * Python, OpenMP, or what the rows mean.
 */
#ifndef FASTPW_KERNEL_SET_H
#define FASTPW_KERNEL_SET_H

#include <stddef.h>
#include <stdint.h>

#include "activations.h"

/* The types of numbers: tag, NumPy's name, bytes.  The tag says what a number is; its size follows from here and says
 * nothing, because types of one size can differ (float16 and bfloat16, int8 and uint8). */
#define FASTPW_TYPES(TYPE)     \
    TYPE(F32, "float32", 4)    \
    TYPE(F64, "float64", 8)    \
    TYPE(I8, "int8", 1)        \
    TYPE(U8, "uint8", 1)       \
    TYPE(I32, "int32", 4)

#define FASTPW_TYPE_TAG(tag, name, size) FASTPW_##tag,
#define FASTPW_TYPE_SIZE(tag, name, size) FASTPW_SIZE_OF_##tag = size,
enum fastpw_type { FASTPW_TYPES(FASTPW_TYPE_TAG) };
enum { FASTPW_TYPES(FASTPW_TYPE_SIZE) };

extern const char *const fastpw_type_names[];        /* by tag */

/* The codes of the activations, in the order of their table. */
#define FASTPW_ACTIVATION_CODE(NAME, reads, act, slope) FASTPW_##NAME,
enum fastpw_activation { FASTPW_ACTIVATIONS(FASTPW_ACTIVATION_CODE) FASTPW_N_ACTIVATIONS };

/* What is read to find the slope. */
enum fastpw_reads { FASTPW_READS_NOTHING, FASTPW_READS_Y, FASTPW_READS_Z };

typedef struct {
    const char *name;
    int32_t reads;
} fastpw_activation_row;

extern const fastpw_activation_row fastpw_activations[];        /* by code */

typedef struct {
    int32_t activation;                      /* its code */
    double alpha, beta;
} fastpw_epilogue;

/* What is read later, and fetched while a product is computed: `rows` pieces, ld bytes apart, each as long as a row of
 * a panel of the widest tile.  There is a list of these, which ends with one whose ld is 0.  Functions move `next` on
 * and count `rows` down as they fetch. */
typedef struct {
    const char *next;
    ptrdiff_t ld, rows;
} fastpw_ahead;

/* Where results go:  z[i][j] = t[i][j],  C[i][j] = act(t[i][j]),  where t is the sum that the function computes. The
 * residual, which may be C itself, belongs to the sum. */
typedef struct {
    const char *residual; ptrdiff_t ldr;     /* NULL: none */
    char *z; ptrdiff_t ldz;                  /* NULL: not wanted */
    char *c; ptrdiff_t ldc;
    const fastpw_epilogue *epilogue;
} fastpw_output;

/* What the sums of a product start from. */
enum fastpw_entry {
    FASTPW_FROM_ZERO,
    FASTPW_FROM_BIAS,                        /* which the panel has at its head, plus the residual if there is one */
    FASTPW_FROM_C,                           /* the sums over other depths */
};

/* C[i][j] = act(start[i][j] + sum over p of A[i][p] * B[p][j])
 *
 * m rows, at least one and less than 2^31, against one packed panel, of which the first n columns are stored. */
typedef struct {
    ptrdiff_t m, n, k;
    const char *a; ptrdiff_t lda;
    const char *panel;
    int32_t entry;
    int32_t streams;                         /* C goes past the caches; its rows begin with a cache line */
    fastpw_output out;
    fastpw_ahead *ahead;
} fastpw_gemm_args;

/* The same of one row and several panels of the widest tile, panel_bytes apart: n is all their columns. */
typedef struct {
    ptrdiff_t n, k;
    const char *a;
    const char *panels; ptrdiff_t panel_bytes;
    int32_t entry;
    const char *residual;                    /* NULL: none */
    char *z;                                 /* NULL: not wanted */
    char *c;
    const fastpw_epilogue *epilogue;
} fastpw_row_args;

/* C[i][j] = act(bias[j] + residual[i][j] + sum over t and p of A_t[i][p] * B[t * k + p][j])
 *
 * The depth is in parts of k each, whose rows of A may lie anywhere: row i of A_t is at rows[t * ldrows + i].  The
 * panel is one of the widest tile, and m and n are as above.  Of its weights, those of the first tap begin at byte `from`;
 * `skip` bytes lie between those of one line's last tap and those of the next line's first. */
typedef struct {
    ptrdiff_t m, n, k, taps, taps_of_line;
    const char *const *rows; ptrdiff_t ldrows;
    const char *panel;
    ptrdiff_t from, skip;
    int32_t clears_sign;                     /* a sum of -0 becomes 0, as it may with one more product of zero */
    fastpw_output out;
    fastpw_ahead *ahead;
} fastpw_taps_args;

/* C[i][j] (+)= sum over p of A[i][p] * B[p][j]
 *
 * m rows, as above, against as many columns as the widest tile has; B is not packed. */
typedef struct {
    ptrdiff_t m, k;
    const char *a; ptrdiff_t lda;
    const char *b; ptrdiff_t ldb;
    char *c; ptrdiff_t ldc;
    int32_t adds;                            /* to what lies in C */
    fastpw_ahead *ahead;
} fastpw_unpacked_args;

/* The same of few rows and any number of whole vectors of columns. */
typedef struct {
    ptrdiff_t m, n, k;
    const char *a; ptrdiff_t lda;
    const char *b; ptrdiff_t ldb;
    char *c; ptrdiff_t ldc;
    int32_t adds;                            /* to what lies in C */
} fastpw_few_args;

/* dz[p][j] = dy[p][j] * act'(s[p][j]),  sums[j] += sum over p of dz[p][j]
 *
 * B of an outer product, where that is dz and is not there yet; s is as for fastpw_gradient_args. */
typedef struct {
    const char *dy; ptrdiff_t lddy;
    const char *s; ptrdiff_t lds;
    char *dz;                                /* B; its rows are made of whole vectors */
    char *sums;                              /* NULL: not wanted */
} fastpw_forming;

/* C[i][j] (+)= sum over p of A[p][i] * B[p][j]
 *
 * m rows, as above, and n columns, at most as many as the widest tile has. That many columns of B are read. */
typedef struct {
    ptrdiff_t m, n, k;
    const char *a; ptrdiff_t lda;            /* distances from depth to depth */
    const char *b; ptrdiff_t ldb;
    const fastpw_forming *forming;           /* NULL: B is there */
    char *c; ptrdiff_t ldc;
    int32_t adds;                            /* to what lies in C */
    fastpw_ahead *ahead;
} fastpw_outer_args;

/* C[i][j] = act(bias[j] + residual[i][j] + A[i][j] * weights[j]) */
typedef struct {
    ptrdiff_t m, n;
    const char *a; ptrdiff_t lda;            /* NULL: none, and no weights */
    const char *bias, *weights;
    fastpw_output out;
} fastpw_scale_args;

/* dz[i][j] = dy[i][j] * act'(z[i][j]),  sums[j] += sum over i, in order, of dz[i][j]
 *
 * s holds y or z, whichever act' is read from. Whole vectors of dz are written, with zeros beyond column n. */
typedef struct {
    ptrdiff_t m, n;
    const char *dy; ptrdiff_t lddy;
    const char *s; ptrdiff_t lds;            /* NULL for LINEAR, whose derivative is 1 */
    char *dz; ptrdiff_t lddz;
    char *sums;                              /* NULL: not wanted */
    const fastpw_epilogue *epilogue;
} fastpw_gradient_args;

/* Windows over pixels.  The pixel under tap (i, j) of output (p, q) begins at
 *
 *     pixels[(p * row_stride + i * row_step) * ld + q * column_stride + j * column_step]
 *
 * in a table of pointers: a pixel that is not there is one of zeros, say. The table goes on to the right as if the
 * columns of outputs were a multiple of FASTPW_WINDOW_COLUMNS. */
enum { FASTPW_WINDOW_COLUMNS = 8 };
typedef struct {
    const char *const *pixels; ptrdiff_t ld; /* in pointers */
    ptrdiff_t tap_rows, tap_columns, row_step, column_step, row_stride, column_stride;
} fastpw_window;

/* t[p][q][c] = bias[c] + residual[p][q][c] + sum over taps (i, j), row by row, of x(p, q, i, j)[at + c] * w[i][j][c]
 *
 * n channels, from byte `at` of a pixel on.  Weights lie by vectors of channels: their biases, then their taps in
 * order, zeros beyond n.
 *
 * With a `group` of 2, 4 or 8, channels are in groups of so many, which fit a vector, and all of a group go into each:
 *
 * t[p][q][c] = bias[c] + residual[p][q][c] + sum over i, g, j of x(p, q, i, j)[at + c / group * group + g] * w[i][g][j][c]
 */
typedef struct {
    ptrdiff_t rows, columns, n;
    fastpw_window window;
    ptrdiff_t at;
    int far;                                 /* whether pixels come from beyond the second-level cache */
    int group;                               /* 1: each channel is by itself */
    const char *weights;
    fastpw_output out;                       /* of the first row: ldc lies between pixels */
    ptrdiff_t row_ldr, row_ldz, row_ldc;     /* between rows */
} fastpw_stencil_args;

/* C[p][q][c] = the largest of x(p, q, i, j)[at + c] over the taps, NaN if one is NaN; or their sum, that of each row of
 * taps by itself, divided by row_taps[p] * column_taps[q]. */
typedef struct {
    ptrdiff_t rows, columns, n;
    fastpw_window window;
    ptrdiff_t at;
    const int32_t *row_taps, *column_taps;   /* NULL: the largest */
    char *c; ptrdiff_t ldc, row_ldc;
} fastpw_pool_args;

/* Along one axis, output o has under its tap i the pixel o * stride + origin + i * step, if it is one of `inputs`. */
typedef struct {
    ptrdiff_t taps, step, stride, origin, inputs;
} fastpw_slide;

/* sums[i][j][c] += sum over outputs (p, q) of dz[p][q][c] * x(p, q, i, j)[c], for each tap (i, j) of a window
 *
 * where there is a pixel under the tap; x begins with the pixel (0, 0). Outputs are added up row by row. */
typedef struct {
    ptrdiff_t rows, columns, n;
    const char *dz; ptrdiff_t lddz, row_lddz;
    const char *x; ptrdiff_t ldx, row_ldx;
    fastpw_slide down, across;
    char *sums; ptrdiff_t ldsums;            /* from tap to tap */
} fastpw_stencil_gradient_args;

/* Arithmetic element by element, a row of the table for each: its code and its value in vectors. */
#define FASTPW_OPERATORS(ROW)     \
    ROW(ADD,      a + b)          \
    ROW(SUBTRACT, a - b)          \
    ROW(MULTIPLY, a * b)          \
    ROW(DIVIDE,   a / b)

#define FASTPW_OPERATOR_CODE(NAME, value) FASTPW_##NAME,
enum fastpw_operator { FASTPW_OPERATORS(FASTPW_OPERATOR_CODE) FASTPW_ACTIVATE };

/* One operation of a program.  Its operands are values by their numbers: first come the inputs, then what the
 * operations compute, in order. */
typedef struct {
    int32_t op, a, b;                  /* b below 0: `number` */
    double number;
    fastpw_epilogue epilogue;                /* of FASTPW_ACTIVATE, which has no b */
} fastpw_operation;

enum { FASTPW_MOST_INPUTS = 3, FASTPW_MOST_OPERATIONS = 6 };

/* C[i][j] = what the last operation makes of the elements [i][j] of the inputs. */
typedef struct {
    ptrdiff_t m, n;
    const char *inputs[FASTPW_MOST_INPUTS]; ptrdiff_t ld[FASTPW_MOST_INPUTS];
    int32_t operations;
    const fastpw_operation *program;
    char *c; ptrdiff_t ldc;
} fastpw_elements_args;

/* Each row of A with mean 0 and variance 1, C[i][j] = (A[i][j] - mean) / sqrt(variance + epsilon) * weights[j] + bias[j];
 * or, without weights, its softmax. */
typedef struct {
    ptrdiff_t m, n;
    const char *a; ptrdiff_t lda;
    const char *weights, *bias;              /* NULL: softmax */
    double epsilon;
    char *c; ptrdiff_t ldc;
} fastpw_normal_args;

/* A register tile: at most mr x nr sums at a time.
 *
 * Its panel is nr columns of B: a head of head_bytes, the nr biases, then ceil(k / depth_step) steps of
 * depth_step x nr elements, zero where B has no such column or depth.  The order inside a step is the tile's own
 * business: the tile that packs a panel is the one that reads it. */
typedef struct {
    int32_t mr, nr, depth_step;
    int32_t least_depth;                     /* with less, a wider tile takes no longer */
    int32_t head_bytes;
    /* Packs n <= nr columns of B: B[p][j] lies at b + p * stride_k + j * stride_n
     * (bytes), bias[j] at bias + j * stride_bias; bias NULL means zeros. */
    void (*pack)(char *panel, ptrdiff_t n, ptrdiff_t k, const char *b, ptrdiff_t stride_n,
                 ptrdiff_t stride_k, const char *bias, ptrdiff_t stride_bias);
    void (*gemm)(const fastpw_gemm_args *);
} fastpw_tile;

enum { FASTPW_MAX_TILES = 6 };

typedef struct {
    const char *isa;
    int32_t a_type, b_type, c_type;          /* as they are stored: A; panels; C, z and residual */
    int32_t sum_type;                        /* as products are summed */
    int32_t a_size, b_size, c_size;          /* bytes of an element, by the types */
    int32_t lanes;                           /* sums in a vector register */
    int32_t n_tiles;
    fastpw_tile tiles[FASTPW_MAX_TILES];     /* widest first */
    void (*row)(const fastpw_row_args *);
    /* NULL: the set has no such tiles, and a window's taps are copied. */
    void (*taps)(const fastpw_taps_args *);
    void (*unpacked)(const fastpw_unpacked_args *);
    void (*few)(const fastpw_few_args *);
    void (*scale)(const fastpw_scale_args *);
    void (*outer)(const fastpw_outer_args *);
    uint32_t outer_forms;                    /* for which activations it forms dz: bit 1 << activation */
    void (*gradient)(const fastpw_gradient_args *);
    /* sums[j] += sum over i, in order, of a[i][j] * b[i][j]; b NULL: of a[i][j]. */
    void (*column_sums)(ptrdiff_t m, ptrdiff_t n, const char *a, ptrdiff_t lda, const char *b, ptrdiff_t ldb,
                        char *sums);
    /* Cuts m rows of n columns into panels of the widest tile, without their heads: row p of panel j goes to
     * panels + j * panel_bytes + p * nr * b_size, zeros beyond n. */
    void (*split)(ptrdiff_t m, ptrdiff_t n, const char *rows, ptrdiff_t ld, char *panels, ptrdiff_t panel_bytes);
    /* to[j][i] = from[i][j], for m rows and n columns. */
    void (*transpose)(ptrdiff_t m, ptrdiff_t n, const char *from, ptrdiff_t ld, char *to, ptrdiff_t ldto);
    void (*stencil)(const fastpw_stencil_args *);
    void (*stencil_gradient)(const fastpw_stencil_gradient_args *);
    void (*pool)(const fastpw_pool_args *);
    /* to[i][j * groups + g] = from[i][g][j], for m rows of n numbers of groups that lie `group` bytes apart. */
    void (*interleave)(ptrdiff_t m, ptrdiff_t groups, ptrdiff_t n, const char *from, ptrdiff_t ld, ptrdiff_t group,
                       char *to, ptrdiff_t ldto);
    void (*elements)(const fastpw_elements_args *);
    void (*normal)(const fastpw_normal_args *);
    /* sums[j] = (sums[j] + the sum over i of a[i][j]) / divisor, for m rows of n columns. */
    void (*row_sums)(ptrdiff_t m, ptrdiff_t n, const char *a, ptrdiff_t lda, double divisor, char *sums);
    /* The weights of a panel, each times its depth's gate: k depths, of `columns` columns, in steps of `step`. */
    void (*gate)(ptrdiff_t k, ptrdiff_t columns, ptrdiff_t step, const char *from, const char *gates, char *to);
    /* Runs `rounds` of independent fused multiply-adds in registers; returns
     * the floating-point operations done: the machine's limit, to measure against. */
    double (*peak)(int64_t rounds);
} fastpw_kernel_set;

/* The sets compiled into this library, best first, and whether this CPU runs one. */
extern const fastpw_kernel_set *const fastpw_kernel_sets[];     /* ends with NULL */
int fastpw_cpu_runs(const fastpw_kernel_set *);

/* The kernels count on rounding to nearest, on subnormals being numbers and on
 * no exception trapping.  Whoever calls them enters that state on each thread,
 * and leaves it for the one that was there, exception flags included. */
typedef struct {
    uint64_t control, flags;
} fastpw_float_state;

fastpw_float_state fastpw_enter_float_state(void);
void fastpw_leave_float_state(fastpw_float_state);

#endif
