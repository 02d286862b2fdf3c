#define ISA_BASELINE
#define REAL_F32
#include "integer_rows.h"

INTEGER_SET(baseline, baseline);
