# distutils: language = c
"""The forward pass as a program: described once for arrays laid out in one way, then bound to arrays and run.

    y = act(x . W + bias + residual)

A program consists of GEMMs, one for each group of channels and each box of pixels, all over the same arrays.
"""

from libc.stdint cimport PTRDIFF_MAX
from libc.stdlib cimport free, realloc
from libc.string cimport memcmp, memset

from fastpw.core.binding cimport describe_arrays, drop_arrays, find, find_output, may_write
from fastpw.core.gemm cimport Gemm
from fastpw.core.kernels cimport FASTPW_FROM_BIAS, fastpw_kernel_set
from fastpw.core.layout cimport drop_layout, fits, place_of, set_layout
from fastpw.core.machine cimport kernels_for, team
from fastpw.core.ndarray cimport (FLOAT32, FLOAT64, axes, first_byte, holds, ndarray, need_columns, shape_of,
                                  strides_of, type_of)
from fastpw.core.panels cimport (CACHE_LINE, PackedB, bytes_of_panel, bytes_of_panels, gate_panels, matrix_of,
                                 new_memory, splits_depth, whole_lines)
from fastpw.core.parts cimport Part, bytes_in_turn, bytes_together, run_in_turn, run_together
from fastpw.core.pixels cimport A, C, OPERANDS, Lead, Pixels, join_axes, outer_offset, outer_places, take_inner_axes
from fastpw.core.schedule cimport Schedule
from fastpw.core.staged cimport staging_bytes, stages_results
from fastpw.core.weights cimport Weights, pack_weights
from fastpw.core.gemm_window cimport Window, rows_of_tap, take_window
from fastpw.core.segments cimport Segment, new_segments

from numpy import ascontiguousarray
from numpy import dtype as numpy_dtype
from numpy import empty as numpy_empty

from fastpw.core import edges, partition
from fastpw.core.kept import new_bytes


# ---- new arrays ----------------------------------------------------------------------------------------------

cdef enum:
    # NumPy's own arrays begin 16 bytes past a line, so that every vector stored to them touches two. That costs
    # time where the result leaves the first-level cache; below, making sure of it costs more (bench/constants.md).
    LARGE = 32 << 10


cpdef object empty(tuple shape, dtype):
    """``np.empty``, but large arrays begin with a cache line, and may lie where one lay that is gone."""
    cdef ndarray memory
    cdef size_t place
    size = dtype.itemsize
    for length in shape:
        size *= length
    if size < LARGE:
        return numpy_empty(shape, dtype)
    memory = new_bytes(size + CACHE_LINE)
    place = <size_t>first_byte(memory)
    return ndarray(shape, dtype, memory, (CACHE_LINE - place % CACHE_LINE) % CACHE_LINE)


# ---- weights -------------------------------------------------------------------------------------------------

cdef PackedB packed_b(const fastpw_kernel_set *kernels, Py_ssize_t n, Py_ssize_t k,
                      Py_ssize_t taps) except *:
    """How B is cut into panels; taps 0: there is no window."""
    cdef PackedB b
    memset(&b, 0, sizeof(b))
    b.kernels, b.n, b.k = kernels, n, k
    tiles = tuple([(kernels.tiles[t].nr, kernels.tiles[t].least_depth) for t in range(kernels.n_tiles)])
    b.count, b.last_tile = partition.column_panels(n, k, tiles)
    if taps and kernels.taps != NULL and partition.by_taps(n, k, taps, tiles, kernels.lanes):
        b.by_taps, b.last_tile = True, 0
    if <double>b.count * kernels.tiles[0].nr * (k + CACHE_LINE) * kernels.b_size > <double>PTRDIFF_MAX:
        raise MemoryError(f"no memory for packed weights ({n} x {k} numbers)")
    b.panel_bytes = bytes_of_panel(&kernels.tiles[0], k, kernels.b_size)
    return b


cdef Py_ssize_t stride_of_biases(ndarray bias, Py_ssize_t count, ndarray weight) except *:
    """0 where there are none."""
    if bias is None:
        return 0
    if axes(bias) != 1 or shape_of(bias)[0] != count or not holds(bias, type_of(weight)):
        raise ValueError(f"{count} biases are needed, got an array that was changed meanwhile")
    return strides_of(bias)[0]


cdef Weights lay_out_weights(ndarray weight, ndarray bias, const fastpw_kernel_set *kernels, Py_ssize_t groups,
                             Py_ssize_t taps) except *:
    """Of the (K, taps * C // groups) weights that the caller has; taps 0: there is no window. Where each channel has
    one weight, all groups are one."""
    cdef Weights w
    memset(&w, 0, sizeof(w))
    if axes(weight) != 2:
        raise ValueError(f"weights of two axes are needed, got an array of {axes(weight)}")
    w.matrix = matrix_of(weight)
    cdef Py_ssize_t filters = w.matrix.rows, depth = w.matrix.columns
    w.stride_bias = stride_of_biases(bias, filters, weight)
    w.groups, w.taps = groups, taps
    if groups > 1 and groups == filters and depth == 1 and not taps:
        w.groups = 1
        w.b.kernels, w.b.n, w.b.k, w.b.diagonal, w.b.count = kernels, filters, 1, True, 1
    else:
        w.b = packed_b(kernels, filters // groups, depth, taps)
    w.matrix.rows, w.matrix.columns = w.b.n, w.b.k
    w.from_group = w.b.n * w.matrix.ld
    w.packed_bytes = whole_lines(bytes_of_panels(&w.b))
    return w


cdef Weights lay_out_window(ndarray weight, ndarray bias, const fastpw_kernel_set *kernels) except *:
    """Of weights (groups, K // groups, lines, places, C // groups) of any strides."""
    cdef Weights w
    cdef const Py_ssize_t *shape = shape_of(weight)
    cdef const Py_ssize_t *strides = strides_of(weight)
    memset(&w, 0, sizeof(w))
    w.groups, w.taps = shape[0], shape[2] * shape[3]
    w.stride_bias = stride_of_biases(bias, shape[0] * shape[1], weight)
    w.b = packed_b(kernels, shape[1], w.taps * shape[4], w.taps)
    w.matrix.rows, w.matrix.columns = shape[1], shape[4]
    w.from_group, w.matrix.ld, w.matrix.stride = strides[0], strides[1], strides[4]
    if w.b.k == 0 or (shape[3] == 1 or strides[3] == shape[4] * strides[4]) and (
            shape[2] == 1 or strides[2] == shape[3] * shape[4] * strides[4]):
        w.matrix.columns = w.b.k
    else:
        w.places.lines, w.places.places, w.places.line, w.places.place = shape[2], shape[3], strides[2], strides[3]
    w.packed_bytes = whole_lines(bytes_of_panels(&w.b))
    return w


cdef Weights weights_of(weight, bias, Py_ssize_t groups, int threads, Py_ssize_t taps=0) except *:
    cdef Weights w
    if not holds(weight, FLOAT32) and not holds(weight, FLOAT64):
        raise ValueError("weights of float32 or float64 are needed, got an array that was changed meanwhile")
    cdef const fastpw_kernel_set *kernels = kernels_for(type_of(weight))
    if axes(weight) > 2:
        w = lay_out_window(weight, bias, kernels)
    else:
        w = lay_out_weights(weight, bias, kernels, groups, taps)
    w.threads = 1 if w.groups > 1 or w.b.n * w.b.k < partition.SMALL_PACKING else threads
    return w


cdef class PackedWeights:
    """The weights (K, taps * C // groups) and biases of a layer, packed for the kernels in use.

    taps is how many a window has (the depth is ordered by tap, then by channel); 0: there is no window. The weights of
    a window may have their axes apart, (groups, K // groups, lines, places, C // groups), in any order in memory.
    """

    def __init__(self, weight, bias, Py_ssize_t groups, int threads, Py_ssize_t taps=0):
        self.how = weights_of(weight, bias, groups, threads, taps)
        if self.how.places.lines and splits_depth(&self.how.b, self.how.b.count - 1):
            weight = ascontiguousarray(weight)    # steps of several depths, of more than one tap
            self.how = weights_of(weight, bias, groups, threads, taps)
        self.memory = new_memory(self.how.groups * self.how.packed_bytes, "packed weights")
        cdef int members = team(self.how.threads)
        cdef const char *from_ = place_of(weight)
        cdef const char *heads = place_of(bias)
        cdef bint infinite
        with nogil:
            infinite = pack_weights(&self.how, from_, heads, self.memory, members)
        self.how.b.spares_zeros = (self.how.b.by_taps and not infinite
                                   and partition.spares_zeros(self.how.b.k, self.how.taps))

    def __dealloc__(self):
        free(self.memory)


# ---- the program ---------------------------------------------------------------------------------------------

# The arrays of a call: those of a GEMM, then the weights as they came.
cdef enum:
    WEIGHT = OPERANDS
    BIAS
    ARRAYS


cdef enum:
    # Groups for each thread such that it does not matter who has one more.
    EVENLY = 8
    # A group is small whose region takes a tenth of its time or more, in times of what is worth a team.
    SMALL_GROUP = 4


cdef Schedule schedule_of(const Gemm *g, int threads) except *:
    cdef Schedule s
    cdef const fastpw_kernel_set *kernels = g.b.kernels
    cdef int height = kernels.tiles[0].mr, width = kernels.tiles[0].nr
    cdef Py_ssize_t m = g.pixels.m, run
    s.block_rows, s.block_panels, s.by_panels, s.threads = partition.blocks(
        m, g.b.count, g.b.k, height, width, kernels.a_size, threads,
        rows_of_tap(&g.window) if g.b.by_taps else 1)
    s.brief = partition.is_brief(m, g.b.n, g.b.k)
    s.row_unit = height if s.threads == 1 else 1
    if g.segment_count:
        run = g.segments[0].pixels.size[2]
        if run <= s.block_rows:
            s.row_unit, s.block_rows = run, (s.block_rows + run // 2) // run * run
    s.large = partition.leaves_caches(m * g.b.n * kernels.c_size, m * (g.b.k * kernels.a_size + g.b.n * kernels.c_size))
    if stages_results(g):
        s.block_panels = min(s.block_panels,
                             <Py_ssize_t>partition.staged_panels(s.block_rows, width, kernels.c_size))
    s.workspace_bytes = whole_lines(staging_bytes(g, s.block_rows, s.block_panels))
    return s


cdef class Forward:
    """A forward pass over arrays laid out in one way. It does not change, and many threads may share it.

    Parameters
    ----------
    arrays : (x, y, residual, z)
        Arrays (..., channels) with adjacent channels, nothing empty but the channels of x; the last two may be None.
    parts : iterable of (x, y, residual, z, group)
        What each GEMM reads and writes: views of the arrays, of one leading shape. x is None where pixels meet no
        input: y = act(bias + residual).
    weights : PackedWeights, or (weight, matrix, bias, groups)
        A layer's, packed; or as each call brings them: an array of any shape, which begins where its view
        (K, C // groups) does, and (K,) or None.
    activation : (int, float, float)
        Code, alpha, beta (kernel_set.h).
    threads : callable
        Says how many threads a call may use.
    window : (taps, steps, strides, origins), optional
        Each for lines and for the places in one. The views in `parts` have four axes then, y's row (n, i, j) reads
        x's pixels (n, i * stride + origin + tap * step, the same with j), zeros where there are none, and the
        weights are (K, taps * C // groups), ordered by line, place and channel.
    """

    def __cinit__(self):
        self.parts, self.count, self.segments = NULL, 0, NULL

    def __init__(self, tuple arrays, parts, weights, tuple activation, threads, tuple window=None):
        describe_arrays(&self.binding, arrays, threads())
        y = arrays[C]
        self.shape, self.dtype, self.threads = y.shape, numpy_dtype(y.dtype.type), threads
        self.take_weights(weights, 0 if window is None else window[0][0] * window[0][1])
        for *views, group in parts:
            self.add(tuple(views), arrays, group, activation, window)
        self.share_parts()

    cdef int share_parts(self) except -1:
        """Let each thread compute whole groups of windows, where they are many and small: one region for all of them.

        (Rows of larger ones, or without a window, are shared out as fast: a thread meets whole rows of x then.)"""
        cdef int asked = self.binding.asked, number
        cdef double work
        if self.count < 2 or self.count != self.weights.groups or not self.weights.taps:
            return 0
        work = <double>self.parts[0].gemm.pixels.m * self.weights.b.n * self.weights.b.k
        if self.count * work < partition.SMALL_WORK or work > SMALL_GROUP * partition.SMALL_WORK:
            return 0
        self.binding.follows = True
        if asked < 2 or self.count % asked and self.count < EVENLY * asked:
            return 0
        self.together, self.most_threads = True, asked
        for number in range(self.count):
            self.parts[number].schedule = schedule_of(&self.parts[number].gemm, 1)
        return 0

    cdef int take_weights(self, weights, Py_ssize_t taps) except -1:
        if isinstance(weights, PackedWeights):
            self.packed, self.weights = weights, (<PackedWeights>weights).how
            if self.weights.taps != taps:
                raise ValueError(f"weights packed for {taps} taps are needed, got some for {self.weights.taps}")
            return 0
        weight, matrix, bias, groups = weights
        set_layout(&self.weight, weight)
        set_layout(&self.bias, bias)
        self.weights = weights_of(matrix, bias, groups, self.binding.asked, taps)
        self.binding.follows = weights_of(matrix, bias, groups, 2, taps).threads > 1
        return 0

    def __dealloc__(self):
        drop_arrays(&self.binding)
        drop_layout(&self.weight)
        drop_layout(&self.bias)
        free(self.parts)
        free(self.segments)

    cdef int add(self, tuple views, tuple arrays, Py_ssize_t group, tuple activation, tuple window) except -1:
        """One GEMM, or several where the pixels lie along more axes than one can walk."""
        cdef Lead lead
        cdef Part part
        cdef Py_ssize_t number
        cdef int i
        memset(&part, 0, sizeof(part))
        if window is None or views[A] is None:
            join_axes(&lead, views)
        else:
            take_window(&part.gemm.window, window, views[A], views[C])
            join_axes(&lead, (None, *views[C:]))
        need_columns(views[A], self.depth_of_row())
        for i in range(C, OPERANDS):
            need_columns(views[i], self.weights.b.n)
        take_inner_axes(&lead, &part.gemm.pixels)
        part.gemm.b, part.gemm.entry = self.weights.b, FASTPW_FROM_BIAS
        part.gemm.b.by_taps = self.weights.b.by_taps and part.gemm.window.count
        if part.gemm.b.by_taps and part.gemm.b.spares_zeros:
            self.find_segments(&part.gemm, window, views)
        if views[A] is None:
            part.gemm.b.k = 0
        part.gemm.epilogue.activation, part.gemm.epilogue.alpha, part.gemm.epilogue.beta = activation
        part.schedule = schedule_of(&part.gemm, self.binding.asked)
        part.packed_offset = group * self.weights.packed_bytes
        self.most_threads = max(self.most_threads, part.schedule.threads)
        self.binding.follows = self.binding.follows or schedule_of(&part.gemm, 2).threads > 1
        for number in range(outer_places(&lead)):
            for i in range(OPERANDS):
                part.used[i] = views[i] is not None
                if part.used[i]:
                    part.offsets[i] = place_of(views[i]) - place_of(arrays[i]) + outer_offset(&lead, i, number)
            self.keep(&part)
        return 0

    cdef int find_segments(self, Gemm *g, tuple window, tuple views) except -1:
        """All groups have the same."""
        if self.count == 0:
            boxes = edges.cut(*[edges.Along(*[pair[axis] for pair in window], g.window.rows[axis], g.window.size[axis])
                                for axis in range(2)])
            if len(boxes) > 1:
                self.segments = new_segments(&g.window, boxes, views, self.depth_of_row())
                self.segment_count = len(boxes)
        elif (memcmp(&g.window, &self.parts[0].gemm.window, sizeof(Window))
              or memcmp(&g.pixels, &self.parts[0].gemm.pixels, sizeof(Pixels))):
            raise ValueError("groups of one shape are needed, got arrays that were changed meanwhile")
        g.segments, g.segment_count = self.segments, self.segment_count
        return 0

    cdef Py_ssize_t depth_of_row(self) except -1:
        """How many numbers a row of x has."""
        if self.weights.b.diagonal:
            return self.weights.b.n
        if self.weights.taps == 0:
            return self.weights.b.k
        if self.weights.b.k % self.weights.taps:
            raise ValueError(f"weights for {self.weights.taps} taps are needed, got {self.weights.b.k} for a filter")
        return self.weights.b.k // self.weights.taps

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

    def __call__(self, x, residual, out, out_z):
        """Bind arrays and run; returns y, or None if the arrays have to be checked first.

        They fit if they are laid out as those that the program was described for, and if what is written lies apart
        from all else; the residual may be the output.
        """
        cdef char *places[ARRAYS]
        if not find(&self.binding, self.threads, x, residual, out_z, places):
            return None
        if out is None and self.binding.new_fits:
            out = empty(self.shape, self.dtype)
        if not find_output(&self.binding, out, places) or not may_write(&self.binding, out, out_z, places):
            return None
        self.run_parts(places, self.packed.memory)
        return out

    def with_weights(self, weight, bias, x, residual, out, out_z):
        """The same, where each call brings its weights."""
        cdef char *places[ARRAYS]
        if not (self.find_weights(weight, bias, places)
                and find(&self.binding, self.threads, x, residual, out_z, places)):
            return None
        if out is None and self.binding.new_fits:
            out = empty(self.shape, self.dtype)
        if not find_output(&self.binding, out, places) or not may_write(&self.binding, out, out_z, places):
            return None
        self.pack_and_run(places)
        return out

    def run_checked(self, x, residual, y, z, weight, bias):
        """Run, if the arrays have the program's layouts, and say whether they do; that y and z may be written while
        the others are read has been checked. A layer's program takes no weights."""
        cdef char *places[ARRAYS]
        if not find(&self.binding, self.threads, x, residual, z, places) or not find_output(&self.binding, y, places):
            return False
        if self.packed is not None:
            self.run_parts(places, self.packed.memory)
            return True
        if not self.find_weights(weight, bias, places):
            return False
        self.pack_and_run(places)
        return True

    cdef bint find_weights(self, weight, bias, char **places) noexcept:
        if not (fits(&self.weight, weight) and fits(&self.bias, bias)
                and kernels_for(self.weight.type) == self.weights.b.kernels):
            return False
        places[WEIGHT], places[BIAS] = place_of(weight), place_of(bias)
        return True

    def gated(self, gates, x, residual, y):
        """Run with each weight times the gate of its channel of x: y is that of x * gates; says whether the arrays
        have the program's layouts. There is one group and no window; that y may be written has been checked."""
        cdef char *places[ARRAYS]
        cdef const Weights *w = &self.weights
        cdef const char *factors
        cdef char *memory
        cdef int members
        if not (self.takes_gates(gates) and find(&self.binding, self.threads, x, residual, None, places)
                and find_output(&self.binding, y, places)):
            return False
        memory = new_memory(w.packed_bytes, "weights times gates")
        factors = place_of(gates)
        try:
            members = team(self.most_threads if w.b.n * w.b.k >= partition.SMALL_PACKING else 1)
            with nogil:
                gate_panels(&w.b, self.packed.memory, factors, memory, members)
            self.run_parts(places, memory)
        finally:
            free(memory)
        return True

    cdef bint takes_gates(self, gates) noexcept:
        cdef const Weights *w = &self.weights
        if self.packed is None or w.groups > 1 or w.taps or w.b.diagonal or type(gates) is not ndarray:
            return False
        return (axes(<ndarray>gates) == 1 and shape_of(<ndarray>gates)[0] == w.b.k
                and kernels_for(type_of(<ndarray>gates)) == w.b.kernels
                and (w.b.k == 1 or strides_of(<ndarray>gates)[0] == w.b.kernels.b_size))

    cdef int pack_and_run(self, char *const *places) except -1:
        cdef const Weights *w = &self.weights
        cdef char *memory
        cdef int members
        if self.count == 0:
            return 0
        memory = new_memory(w.groups * w.packed_bytes, "packed weights")
        try:
            members = team(w.threads)
            with nogil:
                pack_weights(w, places[WEIGHT], places[BIAS], memory, members)
            self.run_parts(places, memory)
        finally:
            free(memory)
        return 0

    cdef Py_ssize_t workspace(self, int members) noexcept:
        if self.together and members > 1:
            return bytes_together(self.parts, self.count, members)
        return bytes_in_turn(self.parts, self.count, members)

    @property
    def room(self):
        """Bytes that a run takes beside its arrays, at most."""
        cdef Py_ssize_t size = max(self.workspace(1), self.workspace(self.most_threads))
        return size if self.packed is not None else size + self.weights.groups * self.weights.packed_bytes

    cdef int run_parts(self, char *const *places, const char *packed) except -1:
        """All memory is there before anything is written."""
        cdef int members = team(self.most_threads) if self.most_threads > 1 else 1
        cdef Py_ssize_t size = self.workspace(members)
        cdef char *memory = new_memory(size, "the workspace") if size else NULL
        self.run_in(places, packed, members, memory)
        free(memory)
        return 0

    cdef int run_in(self, char *const *places, const char *packed, int members, char *memory) except -1:
        """With a team, and in memory, that are there."""
        if self.together and members > 1:
            run_together(self.parts, self.count, places, packed, members, memory)
        else:
            run_in_turn(self.parts, self.count, places, packed, members, memory)
        return 0

    @property
    def nbytes(self):
        """Bytes of the program itself."""
        return self.count * sizeof(Part) + self.segment_count * sizeof(Segment)

    def schedule(self):
        """How the GEMMs are cut: for each its rows, columns and depth, the rows and panels of a task, the threads."""
        names = "rows", "columns", "depth", "task_rows", "task_panels", "threads"
        return [dict(zip(names, (self.parts[i].gemm.pixels.m, self.parts[i].gemm.b.n, self.parts[i].gemm.b.k,
                                 self.parts[i].schedule.block_rows, self.parts[i].schedule.block_panels,
                                 self.parts[i].schedule.threads), strict=True)) for i in range(self.count)]
