#define ISA_AVX512
#define REAL_F32
#include "integer_rows.h"

INTEGER_SET(avx512, avx512);
