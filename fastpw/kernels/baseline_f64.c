#define ISA_BASELINE
#define REAL_F64
#include "rows.h"

KERNEL_SET(baseline, f64);
