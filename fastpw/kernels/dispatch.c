/* The kernel sets that this library holds, and which of them this CPU runs. */
#include <string.h>

#if defined(__x86_64__)
#  include <cpuid.h>
#elif defined(__linux__)
#  include <sys/auxv.h>
#elif defined(__APPLE__)
#  include <sys/sysctl.h>
#endif

#include "integer_set.h"

#define NAME_OF(tag, name, size) name,
const char *const fastpw_type_names[] = {FASTPW_TYPES(NAME_OF)};

#define ROW_OF(NAME, reads, act, slope) {#NAME, FASTPW_READS_##reads},
const fastpw_activation_row fastpw_activations[] = {FASTPW_ACTIVATIONS(ROW_OF)};

#define DECLARE(isa) extern const fastpw_kernel_set fastpw_##isa##_f32, fastpw_##isa##_f64
#define BOTH(isa) &fastpw_##isa##_f32, &fastpw_##isa##_f64

#if defined(__x86_64__)
DECLARE(avx512);
DECLARE(avx2);
DECLARE(baseline);
const fastpw_kernel_set *const fastpw_kernel_sets[] = {BOTH(avx512), BOTH(avx2), BOTH(baseline), NULL};

/* The compiler's builtin asks CPUID, and whether the operating system saves the registers. */
int fastpw_cpu_runs(const fastpw_kernel_set *set)
{
    __builtin_cpu_init();
    if (!strcmp(set->isa, "avx512"))
        return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") &&
               __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq");
    if (!strcmp(set->isa, "avx2")) return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    return 1;
}

#define DECLARE_INTEGERS(isa) extern const fastpw_integer_set fastpw_##isa##_i8
DECLARE_INTEGERS(avx512_vnni);
DECLARE_INTEGERS(avx512);
DECLARE_INTEGERS(avx_vnni);
DECLARE_INTEGERS(avx2);
DECLARE_INTEGERS(baseline);
const fastpw_integer_set *const fastpw_integer_sets[] = {
    &fastpw_avx512_vnni_i8, &fastpw_avx512_i8, &fastpw_avx_vnni_i8, &fastpw_avx2_i8, &fastpw_baseline_i8, NULL};

/* AVX-VNNI is bit 4 of EAX in CPUID's leaf 7, subleaf 1; not every compiler's builtin knows its name. */
static int has_avx_vnni(void)
{
    unsigned a, b, c, d;
    return __get_cpuid_count(7, 1, &a, &b, &c, &d) && a >> 4 & 1;
}

int fastpw_cpu_runs_integers(const fastpw_integer_set *set)
{
    const int avx512 = fastpw_cpu_runs(&fastpw_avx512_f32), avx2 = fastpw_cpu_runs(&fastpw_avx2_f32);
    if (set == &fastpw_avx512_vnni_i8) return avx512 && __builtin_cpu_supports("avx512vnni");
    if (set == &fastpw_avx512_i8) return avx512;
    if (set == &fastpw_avx_vnni_i8) return avx2 && has_avx_vnni();
    return set == &fastpw_baseline_i8 || avx2;
}
#elif defined(__aarch64__)
DECLARE(neon);
const fastpw_kernel_set *const fastpw_kernel_sets[] = {BOTH(neon), NULL};

int fastpw_cpu_runs(const fastpw_kernel_set *set)
{
    (void)set;
    return 1;
}

extern const fastpw_integer_set fastpw_neon_dot_i8, fastpw_neon_i8;
const fastpw_integer_set *const fastpw_integer_sets[] = {&fastpw_neon_dot_i8, &fastpw_neon_i8, NULL};

static int has_dot_products(void)
{
#  if defined(__linux__)
    enum { ASIMDDP = 1 << 20 };              /* HWCAP_ASIMDDP, which old headers lack */
    return (getauxval(AT_HWCAP) & ASIMDDP) != 0;
#  elif defined(__APPLE__)
    int has = 0;
    size_t size = sizeof has;
    return !sysctlbyname("hw.optional.arm.FEAT_DotProd", &has, &size, NULL, 0) && has;
#  else
    return 0;
#  endif
}

int fastpw_cpu_runs_integers(const fastpw_integer_set *set)
{
    return set == &fastpw_neon_i8 || has_dot_products();
}
#else
#  error "fastpw has kernels for x86-64 and 64-bit ARM"
#endif
