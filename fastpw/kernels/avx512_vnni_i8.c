#define ISA_AVX512_VNNI
#define REAL_F32
#include "integer_rows.h"

INTEGER_SET(avx512_vnni, avx512);
