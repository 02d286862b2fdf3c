#define ISA_AVX2
#define REAL_F64
#include "rows.h"

KERNEL_SET(avx2, f64);
