#define ISA_AVX_VNNI
#define REAL_F32
#include "integer_rows.h"

INTEGER_SET(avx_vnni, avx2);
