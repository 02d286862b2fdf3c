#define ISA_NEON
#define REAL_F32
#include "integer_rows.h"

INTEGER_SET(neon, neon);
