#define ISA_AVX512
#define REAL_F32
#include "rows.h"

KERNEL_SET(avx512, f32);
