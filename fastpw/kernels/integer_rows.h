/* One row of the table of kernel sets for integers: a thin file for each instruction set includes this. */
#ifndef FASTPW_INTEGER_ROWS_H
#define FASTPW_INTEGER_ROWS_H

#include "integer_quantize.h"
#include "integer_tile.h"

#define INTEGER_SET(isa_name, float_isa)                                                            \
    extern const fastpw_kernel_set fastpw_##float_isa##_f32;                                        \
    static void product(const fastpw_integer_args *g) { integer_product(&fastpw_##float_isa##_f32, g); } \
    static void scale(const fastpw_integer_args *g) { integer_scaled(&fastpw_##float_isa##_f32, g); }   \
    TARGET_END                                                                                      \
    const fastpw_integer_set fastpw_##isa_name##_i8 = {                                             \
        .isa = #isa_name, .floats = #float_isa, .nr = INTEGER_COLUMNS, .mr = INTEGER_ROWS,          \
        .depth_step = DOT_DEPTHS, .x_size = sizeof(staged),                                         \
        .shift_of_i8 = SHIFT_OF_I8, .shift_of_u8 = SHIFT_OF_U8, .shifts = DOT_SHIFTS,               \
        .pack = integer_pack, .stage = integer_stage, .quantize = integer_quantize,                 \
        .product = product, .scale = scale}

#endif
