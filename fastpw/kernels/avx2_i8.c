#define ISA_AVX2
#define REAL_F32
#include "integer_rows.h"

INTEGER_SET(avx2, avx2);
