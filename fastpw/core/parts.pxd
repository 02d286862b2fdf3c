"""The GEMMs of a program: one after the other, each by a team, or all in one region, each by one thread."""

from fastpw.core.gemm cimport Bound, Gemm
from fastpw.core.machine cimport team_still
from fastpw.core.panels cimport whole_lines
from fastpw.core.pixels cimport OPERANDS
from fastpw.core.schedule cimport BoundGemm, Schedule, gemm_bytes, run_gemm, run_gemms
from fastpw.core.shares cimport Share


# A GEMM of a program, over some channels and pixels of its arrays.
cdef struct Part:
    Gemm gemm
    Schedule schedule
    Py_ssize_t offsets[OPERANDS]     # of the first row, from the array's first element
    bint used[OPERANDS]
    Py_ssize_t packed_offset


cdef inline void bind_part(const Part *part, char *const *places, const char *packed, Bound *at) noexcept:
    cdef int i
    at.b, at.b_ahead, at.ahead, at.streams = NULL, NULL, NULL, False
    at.panels = packed + part.packed_offset
    for i in range(OPERANDS):
        at.rows[i] = places[i] + part.offsets[i] if part.used[i] else NULL


# ---- one after the other

cdef inline Py_ssize_t bytes_in_turn(const Part *parts, int count, int members) noexcept:
    cdef Py_ssize_t size = 0
    cdef int number
    for number in range(count):
        size = max(size, gemm_bytes(&parts[number].schedule, min(members, parts[number].schedule.threads)))
    return size


cdef inline void run_in_turn(const Part *parts, int count, char *const *places, const char *packed, int members,
                             char *memory) noexcept:
    cdef const Part *part
    cdef Bound at
    cdef int number
    for number in range(count):
        part = &parts[number]
        bind_part(part, places, packed, &at)
        run_gemm(&part.gemm, &at, &part.schedule, min(team_still(members), part.schedule.threads), memory)


# ---- all in one region: they have one schedule, which is for one thread

cdef inline Py_ssize_t bytes_of_bound(int count) noexcept nogil:
    return whole_lines(count * (sizeof(BoundGemm) + sizeof(Bound)))


cdef inline Py_ssize_t bytes_together(const Part *parts, int count, int members) noexcept:
    return bytes_of_bound(count) + members * (sizeof(Share) + parts[0].schedule.workspace_bytes)


cdef inline void run_together(const Part *parts, int count, char *const *places, const char *packed, int members,
                              char *memory) noexcept:
    cdef BoundGemm *gemms = <BoundGemm *>memory
    cdef Bound *bound = <Bound *>(memory + count * sizeof(BoundGemm))
    cdef int number
    for number in range(count):
        bind_part(&parts[number], places, packed, bound + number)
        gemms[number].gemm, gemms[number].at = &parts[number].gemm, bound + number
        gemms[number].schedule = &parts[number].schedule
    with nogil:
        run_gemms(gemms, count, members, memory + bytes_of_bound(count))
