#define ISA_AVX2
#define REAL_F32
#include "rows.h"

KERNEL_SET(avx2, f32);
