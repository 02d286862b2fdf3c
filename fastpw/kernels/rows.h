/* One row of the table: every function of a kernel set.  A thin file per
 * instruction set and dtype names both and includes this. */
#ifndef FASTPW_ROWS_H
#define FASTPW_ROWS_H

#include "gradient.h"
#include "kernel_set.h"
#include "outer.h"
#include "peak.h"
#include "scale.h"
#include "tiles.h"

#define KERNEL_SET(isa, dtype)                                                            \
    TARGET_END                                                                            \
    const fastpw_kernel_set fastpw_##isa##_##dtype = {                                    \
        #isa, sizeof(real) == 4 ? "float32" : "float64",                                  \
        sizeof(real), sizeof(real), sizeof(real), LANES, N_TILES, {TILES},       \
        unpacked_block, row_block, scale_block, outer_block, OUTER_FORMS, split_rows, transpose, gradient,   \
        column_sums, peak}

#endif
