/* THE CONTRACT between core and kernels.
 *
 * A kernel set is one instruction set x one dtype.  It computes
 *
 *     C[m x n] = act(A[m x k] . B[k x n] + bias + residual)        forward; backward for the data
 *     C[m x n] = A[k x m]^T . B[k x n]                              backward for the weights
 *
 * where A, C and the residual are read and written in place, row by row at a
 * distance given in bytes (any distance: rows may be unaligned, reversed or
 * repeated), and B comes packed in panels, or lies in rows of its own.
 *
 * A panel holds nr columns of B: first the nr biases, then
 * ceil(k / depth_step) steps of depth_step x nr elements, zero where B has no
 * such column or depth.  The order inside a step is the tile's own business:
 * the tile that packs a panel is the one that reads it.
 *
 * Nothing outside the given rows is read or written.  No function here knows
 * Python, OpenMP, or what the rows mean.
 */
#ifndef FASTPW_KERNEL_SET_H
#define FASTPW_KERNEL_SET_H

#include <stddef.h>
#include <stdint.h>

/* The activations, in the order of fastpw/_activations.py.  `alpha` and `beta`
 * are the bounds of CLIP and the slope (alpha) of LEAKY_RELU. */
enum fastpw_activation {
    FASTPW_LINEAR,
    FASTPW_RELU,
    FASTPW_CLIP,
    FASTPW_LEAKY_RELU,
    FASTPW_HARD_SIGMOID,
    FASTPW_HARD_SWISH,
    FASTPW_SIGMOID,
    FASTPW_TANH,
    FASTPW_SILU,
    FASTPW_GELU,
    FASTPW_GELU_TANH,
};

typedef struct {
    int32_t activation;
    double alpha, beta;
} fastpw_epilogue;

/* What the accumulators start from. */
enum fastpw_entry {
    FASTPW_FROM_ZERO,
    FASTPW_FROM_BIAS,      /* the panel's head, plus the residual if there is one */
    FASTPW_FROM_C,         /* the partial sums of an earlier depth block */
};

/* What is read later: pieces as long as a panel's row. Tiles fetch some meanwhile, and move on to the next of a list
 * of them, which ends with one whose ld is 0. */
typedef struct {
    const char *next;
    ptrdiff_t ld, rows;
} fastpw_ahead;

/* Where B of an outer product is dz, which is not there yet: dz[p][j] = dy[p][j] * act'(s[p][j]) for relu, s being y.
 * Its rows are made of whole vectors. sums[j] += the sum over p of dz[p][j]; NULL: not wanted. */
typedef struct {
    const char *dy; ptrdiff_t lddy;
    const char *s; ptrdiff_t lds;
    char *dz;                                /* B */
    char *sums;
} fastpw_forming;

/* m rows, at least one and less than 2^31, against one panel. */
typedef struct {
    ptrdiff_t m, n, k;                       /* n <= nr: columns to store */
    const char *a; ptrdiff_t lda;            /* row distances in bytes */
    const char *panel; ptrdiff_t ldb;        /* distance of the panels for row, of the depths for unpacked and outer */
    const fastpw_forming *forming;           /* for outer; NULL: B is there */
    fastpw_ahead *ahead;
    char *c; ptrdiff_t ldc;
    const char *residual; ptrdiff_t ldr;     /* NULL: none */
    char *z; ptrdiff_t ldz;                  /* NULL: the pre-activation is not wanted */
    int32_t entry;
    int32_t streams;                         /* C goes past the caches; its rows begin with a cache line */
    const fastpw_epilogue *epilogue;
} fastpw_block;

/* A register tile: at most mr x nr accumulators. */
typedef struct {
    int32_t mr, nr, depth_step;
    int32_t least_depth;                     /* with less, a wider tile takes no longer */
    /* Packs n <= nr columns of B: B[p][j] lies at b + p * stride_k + j * stride_n
     * (bytes), bias[j] at bias + j * stride_bias; bias NULL means zeros. */
    void (*pack)(char *panel, ptrdiff_t n, ptrdiff_t k, const char *b, ptrdiff_t stride_n,
                 ptrdiff_t stride_k, const char *bias, ptrdiff_t stride_bias);
    void (*block)(const fastpw_block *);
} fastpw_tile;

/* dz[i][j] = dy[i][j] * act'(...), where s holds y or z: what the activation's derivative is read from. NULL for LINEAR,
 * whose derivative is 1. */
typedef struct {
    ptrdiff_t m, n;
    const char *dy; ptrdiff_t lddy;
    const char *s; ptrdiff_t lds;
    char *dz; ptrdiff_t lddz;
    char *sums;                              /* NULL, or sums[j] += the sum over i, in order, of dz[i][j] */
    const fastpw_epilogue *epilogue;
} fastpw_gradient;

enum { FASTPW_MAX_TILES = 6 };

typedef struct {
    const char *isa, *dtype;
    int32_t a_size, b_size, c_size;          /* bytes of an element of A, of a panel, of C */
    int32_t lanes;                           /* elements in a vector register */
    int32_t n_tiles;
    fastpw_tile tiles[FASTPW_MAX_TILES];     /* widest first */
    /* As the widest tile, but B is not packed: depth p of its nr columns, all of which count, lies at
     * panel + p * ldb.  Entry FROM_ZERO or FROM_C. */
    void (*unpacked)(const fastpw_block *);
    /* As the widest tile, but one row, and n is the columns of several panels, ldb bytes apart and all whole. */
    void (*row)(const fastpw_block *);
    /* One weight per channel: C[i][j] = act(A[i][j] * scale[j] + bias[j] + residual[i][j]).
     * The panel is bias[n], then scale[n]; with k = 0 there is no A. */
    void (*scale)(const fastpw_block *);
    /* C[i][j] (+)= sum over p of A[p][i] * B[p][j]: lda and ldb are the distances of the depths p; nr columns of B
     * are read, of which n count, nr being the widest tile's.  Entry FROM_ZERO or FROM_C; no epilogue. */
    void (*outer)(const fastpw_block *);
    int32_t outer_forms;                     /* whether it forms dz */
    /* Cuts m rows of n columns into such panels, without their heads: row p of panel j goes to
     * panels + j * panel_bytes + p * nr * b_size, zeros beyond n. */
    void (*split)(ptrdiff_t m, ptrdiff_t n, const char *rows, ptrdiff_t ld, char *panels, ptrdiff_t panel_bytes);
    /* to[j][i] = from[i][j], for m rows and n columns. */
    void (*transpose)(ptrdiff_t m, ptrdiff_t n, const char *from, ptrdiff_t ld, char *to, ptrdiff_t ldto);
    /* (whole vectors of dz are written, with zeros beyond n) */
    void (*gradient)(const fastpw_gradient *);
    /* sums[j] += sum over i, in order, of a[i][j] * b[i][j]; b NULL: of a[i][j]. */
    void (*column_sums)(ptrdiff_t m, ptrdiff_t n, const char *a, ptrdiff_t lda, const char *b, ptrdiff_t ldb,
                        char *sums);
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
