# distutils: language = c
"""The convolution of integers as a program: described once for arrays laid out in one way, then bound and run."""

from libc.stdint cimport PTRDIFF_MAX, int32_t, uint32_t
from libc.stdlib cimport free, realloc
from libc.string cimport memcpy, memset

from fastpw.core.integer_gemm cimport (BoundIntegers, IntegerGemm, IntegerPanels, head_bytes, integer_gemm_bytes,
                                       lay_out_panels, lay_out_workspace, run_integer_gemm)
from fastpw.core.integers cimport (FASTPW_HEAD_BIASES, FASTPW_HEAD_COLUMN_SUMS, FASTPW_HEAD_I8, FASTPW_HEAD_PADDING,
                                   FASTPW_HEAD_SCALES, FASTPW_HEAD_U8)
from fastpw.core.kernels cimport FASTPW_F32, FASTPW_I8, FASTPW_I32, FASTPW_U8
from fastpw.core.layout cimport place_of
from fastpw.core.machine cimport integer_kernels, team, team_still
from fastpw.core.ndarray cimport (FLOAT32, INT8, INT32, UINT8, axes, first_byte, ndarray, need_columns, shape_of,
                                  strides_of, type_of)
from fastpw.core.panels cimport CACHE_LINE, copy_numbers, new_memory
from fastpw.core.pixels cimport A, C, OPERANDS, Lead, join_axes, outer_offset, outer_places, take_inner_axes
from fastpw.core.stencil cimport Program

from fastpw.core import partition


# ---- weights -------------------------------------------------------------------------------------------------

cdef int need_vector(ndarray array, int type, Py_ssize_t size) except -1:
    """What the caller made and checked; looked at again, since it is read by it."""
    if (axes(array) != 1 or shape_of(array)[0] != size or type_of(array) != type
            or size > 1 and strides_of(array)[0] != 4):
        raise ValueError(f"{size} adjacent numbers are needed, got an array that was changed meanwhile")
    return 0


cdef class PackedIntegers:
    """The weights of a layer, packed for the kernels in use.

    Parameters
    ----------
    weight : (K, C // groups) int8 array
    groups : int
    bias : (K,) int32 array
        Part of the sums.
    column_sums : (K,) int32 array
        The sums of the rows of `weight`.
    scales, biases : (K,) float32 arrays
        What sums are multiplied by; what is added to numbers in float32.
    zero_point : int or None
        Of the inputs; None: each row has one of its own.
    """

    cdef IntegerPanels how
    cdef char *memory

    def __init__(self, ndarray weight, Py_ssize_t groups, ndarray bias, ndarray column_sums, ndarray scales,
                 ndarray biases, zero_point):
        cdef IntegerPanels *b = &self.how
        cdef Py_ssize_t filters = shape_of(weight)[0], group, panel
        if axes(weight) != 2 or type_of(weight) != INT8 or groups < 1 or filters % groups:
            raise ValueError("weights (K, C // groups) of int8 are needed")
        need_vector(bias, INT32, filters)
        need_vector(column_sums, INT32, filters)
        need_vector(scales, FLOAT32, filters)
        need_vector(biases, FLOAT32, filters)
        b.kernels, b.n, b.k, b.groups = integer_kernels(), filters // groups, shape_of(weight)[1], groups
        if groups > 1 and groups == filters and b.k == 1:
            b.n, b.groups, b.diagonal = filters, 1, True
        if <double>groups * (b.n + b.kernels.nr) * (b.k + 16 * CACHE_LINE) > <double>PTRDIFF_MAX:
            raise MemoryError(f"no memory for packed weights ({filters} x {b.k} numbers)")
        lay_out_panels(b)
        self.memory = new_memory(b.groups * b.count * b.panel_bytes, "packed weights")
        memset(self.memory, 0, b.groups * b.count * b.panel_bytes)
        for group in range(b.groups):
            for panel in range(b.count):
                self.pack(group, panel, weight)
                self.write_head(group, panel, first_byte(bias), first_byte(column_sums), first_byte(scales),
                                first_byte(biases), zero_point)

    def __dealloc__(self):
        free(self.memory)

    cdef char *panel_of(self, Py_ssize_t group, Py_ssize_t panel) noexcept:
        return self.memory + (group * self.how.count + panel) * self.how.panel_bytes

    cdef Py_ssize_t columns_of(self, Py_ssize_t panel) noexcept:
        return min(<Py_ssize_t>self.how.kernels.nr, self.how.n - panel * self.how.kernels.nr)

    cdef void pack(self, Py_ssize_t group, Py_ssize_t panel, ndarray weight) noexcept:
        cdef const IntegerPanels *b = &self.how
        cdef Py_ssize_t stride_n = strides_of(weight)[0], stride_k = strides_of(weight)[1]
        cdef const char *from_ = first_byte(weight) + (group * b.n + panel * b.kernels.nr) * stride_n
        cdef char *to = self.panel_of(group, panel) + head_bytes(b.kernels)
        if b.diagonal:
            copy_numbers(to, from_, stride_n, self.columns_of(panel), 1)
        else:
            b.kernels.pack(to, self.columns_of(panel), b.k, from_, stride_n, stride_k)

    cdef int write_head(self, Py_ssize_t group, Py_ssize_t panel, const char *bias, const char *column_sums,
                        const char *scales, const char *biases, zero_point) except -1:
        """The arithmetic wraps around, as the sums do that start from here."""
        cdef const IntegerPanels *b = &self.how
        cdef Py_ssize_t first = group * b.n + panel * b.kernels.nr, n = self.columns_of(panel), j
        cdef uint32_t *head = <uint32_t *>self.panel_of(group, panel)
        cdef const uint32_t *of_bias = <const uint32_t *>bias + first
        cdef const uint32_t *of_column = <const uint32_t *>column_sums + first
        cdef int32_t zero = 0 if zero_point is None else zero_point, width = b.kernels.nr
        cdef uint32_t zero_i8 = <uint32_t>(zero + b.kernels.shift_of_i8)
        cdef uint32_t zero_u8 = <uint32_t>(zero + b.kernels.shift_of_u8)
        for j in range(n):
            head[FASTPW_HEAD_PADDING * width + j] = of_bias[j]
            if zero_point is not None:
                head[FASTPW_HEAD_I8 * width + j] = of_bias[j] - zero_i8 * of_column[j]
                head[FASTPW_HEAD_U8 * width + j] = of_bias[j] - zero_u8 * of_column[j]
        memcpy(head + FASTPW_HEAD_COLUMN_SUMS * width, of_column, n * 4)
        memcpy(head + FASTPW_HEAD_SCALES * width, scales + first * 4, n * 4)
        memcpy(head + FASTPW_HEAD_BIASES * width, biases + first * 4, n * 4)
        return 0


# ---- the program ---------------------------------------------------------------------------------------------

cdef int tag_of(int type) except -1:
    """The kernels' tag of a NumPy type."""
    if type == INT8:
        return FASTPW_I8
    if type == UINT8:
        return FASTPW_U8
    if type == INT32:
        return FASTPW_I32
    if type == FLOAT32:
        return FASTPW_F32
    raise ValueError("int8, uint8, int32 or float32 is needed")


cdef int cut(IntegerGemm *g, int threads) except -1:
    cdef Py_ssize_t panels = g.b.groups * g.b.count, k = g.b.k if g.has_x else 0
    g.block_rows, g.block_panels, g.by_panels, g.threads = partition.blocks(
        g.pixels.m, panels, k, g.b.kernels.mr, g.b.kernels.nr, g.b.groups * g.b.kernels.x_size, threads)
    g.brief = partition.is_brief(g.pixels.m, g.b.groups * g.b.n, k)
    g.row_unit = g.b.kernels.mr if g.threads == 1 else 1
    lay_out_workspace(g)
    return 0


# A product of a program, over some pixels of its arrays.
cdef struct Part:
    IntegerGemm gemm
    Py_ssize_t offsets[OPERANDS]     # of the first row, from the array's first element


cdef class Quantized(Program):
    """A convolution of integers over arrays laid out in one way.

    Parameters
    ----------
    arrays : (x, y, None, None)
        Arrays (..., channels) with adjacent channels, nothing empty but the channels of x. x is int8 or uint8, or
        float32, of which each row is quantized by itself; y then is float32, too.
    parts : iterable of (x, y)
        What each product reads and writes: views of the arrays, of one leading shape. x is None where pixels meet no
        input.
    weights : PackedIntegers
    epilogue : (bool, (int, float, float), float, float, float, int)
        As fastpw_requantize: whether the activation is computed by itself; the activation; low, high, y_scale,
        zero_point.
    threads : callable
        Says how many threads a call may use.
    """

    cdef PackedIntegers packed
    cdef Part *parts
    cdef int count

    def __cinit__(self):
        self.parts, self.count = NULL, 0

    def __init__(self, tuple arrays, parts, PackedIntegers weights not None, tuple epilogue, threads):
        self.packed = weights
        self.bind(arrays, threads)
        for x, y in parts:
            self.add(arrays, (x, y), epilogue)

    def __dealloc__(self):
        free(self.parts)

    cdef int add(self, tuple arrays, tuple views, tuple epilogue) except -1:
        """One product, or several where the pixels lie along more axes than one can walk."""
        cdef Lead lead
        cdef Part part
        cdef Py_ssize_t number
        cdef IntegerGemm *g = &part.gemm
        cdef int i
        memset(&part, 0, sizeof(part))
        g.b, g.has_x = self.packed.how, views[A] is not None
        need_columns(views[A], g.b.n if g.b.diagonal else g.b.groups * g.b.k)
        need_columns(views[C], g.b.groups * g.b.n)
        join_axes(&lead, views)
        take_inner_axes(&lead, &g.pixels)
        g.x_type, g.how.c_type = tag_of(type_of(arrays[A])), tag_of(type_of(arrays[C]))
        if g.x_type == FASTPW_I32 or g.x_type == FASTPW_F32 and g.how.c_type != FASTPW_F32:
            raise ValueError("int8, uint8, or float32 for results in float32 is needed")
        g.c_size = 4 if g.how.c_type == FASTPW_I32 or g.how.c_type == FASTPW_F32 else 1
        g.start = FASTPW_HEAD_U8 if g.x_type == FASTPW_U8 else FASTPW_HEAD_I8
        if not g.has_x:
            g.start = FASTPW_HEAD_PADDING
        (g.how.by_activation, (g.how.epilogue.activation, g.how.epilogue.alpha, g.how.epilogue.beta),
         g.how.low, g.how.high, g.how.y_scale, g.how.zero_point) = epilogue
        cut(g, 2)
        self.binding.follows = self.binding.follows or g.threads > 1
        cut(g, self.binding.asked)
        self.most_threads = max(self.most_threads, g.threads)
        for number in range(outer_places(&lead)):
            for i in (A, C):
                if views[i] is not None:
                    part.offsets[i] = place_of(views[i]) - place_of(arrays[i]) + outer_offset(&lead, i, number)
            self.keep(&part)
        return 0

    cdef int keep(self, const Part *part) except -1:
        # Room for twice as many whenever their number reaches a power of two.
        if self.count & (self.count - 1) == 0:
            parts = <Part *>realloc(self.parts, max(2 * self.count, 1) * sizeof(Part))
            if parts == NULL:
                raise MemoryError(f"no memory for a program of {self.count + 1} parts")
            self.parts = parts
        self.parts[self.count] = part[0]
        self.count += 1
        return 0

    cdef int run(self, char *const *places) except -1:
        """All memory is there before anything is written."""
        cdef BoundIntegers at
        cdef const Part *part
        cdef char *memory
        cdef Py_ssize_t size = 0
        cdef int members = team(self.most_threads) if self.most_threads > 1 else 1, number
        for number in range(self.count):
            part = &self.parts[number]
            size = max(size, integer_gemm_bytes(&part.gemm, min(members, part.gemm.threads)))
        if size == 0:
            return 0
        memory = new_memory(size, "the workspace")
        at.panels = self.packed.memory
        memset(at.rows, 0, sizeof(at.rows))
        for number in range(self.count):
            part = &self.parts[number]
            at.rows[A] = places[A] + part.offsets[A]
            at.rows[C] = places[C] + part.offsets[C]
            run_integer_gemm(&part.gemm, &at, min(team_still(members), part.gemm.threads), memory)
        free(memory)
        return 0

    @property
    def nbytes(self):
        """Bytes of the program itself."""
        return self.count * sizeof(Part)

    def schedule(self):
        """How the products are cut: for each its rows, columns and depth, rows and panels of a task, threads."""
        names = "rows", "columns", "depth", "task_rows", "task_panels", "threads"
        return [dict(zip(names, (self.parts[i].gemm.pixels.m, self.parts[i].gemm.b.groups * self.parts[i].gemm.b.n,
                                 self.parts[i].gemm.b.k, self.parts[i].gemm.block_rows,
                                 self.parts[i].gemm.block_panels, self.parts[i].gemm.threads), strict=True))
                for i in range(self.count)]
