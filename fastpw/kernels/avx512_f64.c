#define ISA_AVX512
#define REAL_F64
#include "rows.h"

KERNEL_SET(avx512, f64);
