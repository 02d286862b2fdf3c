/* One row of the table: every function of a kernel set.  There is a thin file for
 * each instruction set and type, which names both and includes this file. */
#ifndef FASTPW_ROWS_H
#define FASTPW_ROWS_H

#include "elements.h"
#include "few_rows.h"
#include "gradient.h"
#include "interleave.h"
#include "kernel_set.h"
#include "normal.h"
#include "outer.h"
#include "peak.h"
#include "pool.h"
#include "scale.h"
#include "stencil.h"
#include "stencil_gradient.h"
#include "tiles.h"

/* These sets have one type for all their numbers. TAG and SIZE are its tag, such as FASTPW_F32, and its size. */
#define TAG_OF(type) FASTPW_##type
#define SIZE_OF(type) FASTPW_SIZE_OF_##type
#define TAG(type) TAG_OF(type)
#define SIZE(type) SIZE_OF(type)
_Static_assert(sizeof(real) == SIZE(REAL), "vec.h and kernel_set.h agree about the type");

#define KERNEL_SET(isa_name, dtype)                                                                     \
    TARGET_END                                                                                          \
    const fastpw_kernel_set fastpw_##isa_name##_##dtype = {                                             \
        .isa = #isa_name,                                                                               \
        .a_type = TAG(REAL), .b_type = TAG(REAL), .c_type = TAG(REAL), .sum_type = TAG(REAL),           \
        .a_size = SIZE(REAL), .b_size = SIZE(REAL), .c_size = SIZE(REAL),                               \
        .lanes = LANES, .n_tiles = N_TILES, .tiles = {TILES},                                           \
        .row = row, .taps = TAPS, .unpacked = unpacked, .few = few, .scale = scale,                     \
        .outer = outer, .outer_forms = FORMED_ACTIVATIONS,                                              \
        .gradient = gradient, .column_sums = column_sums,                                               \
        .split = split_rows, .transpose = transpose,                                                    \
        .stencil = stencil, .stencil_gradient = stencil_gradient, .pool = pool,                         \
        .interleave = interleave, .elements = elements, .normal = normal, .row_sums = row_sums,         \
        .gate = gate, .peak = peak}

#endif
