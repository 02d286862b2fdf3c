# distutils: language = c
"""Layers that follow each other as one program: in bands, the rows between them in a thread's cache, or one by one."""

from libc.stdint cimport int32_t, int64_t
from libc.stdlib cimport free
from libc.string cimport memcpy, memset

from fastpw.core.chained cimport MOST_STAGES, Stages, chain_bytes, run_chain, tasks
from fastpw.core.forward cimport Forward
from fastpw.core.gemm cimport Gemm
from fastpw.core.gemm_window cimport rows_of_tap
from fastpw.core.machine cimport team
from fastpw.core.ndarray cimport axes, bytes_of_number, first_byte, ndarray, need_columns, shape_of, strides_of
from fastpw.core.panels cimport new_memory, whole_lines
from fastpw.core.parts cimport Part
from fastpw.core.pixels cimport (A, C, OPERANDS, Lead, Pixels, address, join_axes, outer_offset, outer_places,
                                 take_inner_axes)
from fastpw.core.staged cimport staging_bytes, stages_results
from fastpw.core.stages cimport Stage
from fastpw.core.stencil cimport Program, Sweep
from fastpw.core.windows cimport Slide, lay_out_table, reach

from fastpw.core import partition
from fastpw.core.kept import borrow, give_back


cdef class Chain(Program):
    """Stages over planes, each over the results of the one before.

    Parameters
    ----------
    arrays : (x, y, residual, None)
        With adjacent channels; the residual, which may be None, is that of the last stage.
    views : (x, y, residual, None)
        The same as planes (N, H, W, C).
    programs : tuple of Forward, Stencil or Pool
        What each stage computes of a single plane (H, W, C): the first described for one of x, the last for one of y
        and of the residual, and all else for arrays without gaps. A Forward has one part for each group of channels.
    stages : tuple of fusing.Stage
        The same.
    cut : fusing.Cut
        Into tasks.
    threads : callable
        Says how many threads a call may use.
    """

    cdef Stages stages
    cdef Part *parts             # of all stages
    cdef tuple programs          # own what else the stages point to

    def __init__(self, tuple arrays, tuple views, tuple programs, tuple stages, cut, threads):
        cdef Stages *c = &self.stages
        bands, rooms, self.most_threads = cut
        if not 2 <= len(programs) <= MOST_STAGES or not len(programs) == len(stages) == len(rooms) + 1:
            raise ValueError(f"2 to {MOST_STAGES} stages are needed, got {len(programs)}")
        memset(c, 0, sizeof(c[0]))
        self.bind(arrays, threads)
        self.binding.follows, self.programs = True, programs
        c.count, c.bands = len(programs), bands
        cdef int i
        for i in range(c.count):
            take_slide(&c.stages[i].rows, stages[i].rows)
            take_program(&c.stages[i], programs[i])
        self.take_parts()
        self.take_planes(views)
        for i in range(c.count - 1):
            self.find_room(i, rooms[i])
        for i in range(c.count):
            self.find_workspace(i)
        self.most_threads = <int>min(<Py_ssize_t>self.most_threads, tasks(c))

    def __dealloc__(self):
        free(self.parts)

    cdef int take_parts(self) except -1:
        """A copy of the GEMMs, whose rows will lie elsewhere."""
        cdef Stages *c = &self.stages
        cdef Part *to
        cdef int i, number
        to = self.parts = <Part *>new_memory(sum([c.stages[i].count for i in range(c.count)]) * sizeof(Part), "a chain")
        for i in range(c.count):
            if c.stages[i].count:
                memcpy(to, c.stages[i].parts, c.stages[i].count * sizeof(Part))
                c.stages[i].parts = to
                for number in range(c.stages[i].count):
                    # Some lines at a time have all their taps.
                    to[number].gemm.segment_count = 0
                to += c.stages[i].count
        return 0

    cdef int take_planes(self, tuple views) except -1:
        cdef Stages *c = &self.stages
        cdef ndarray array
        cdef int i
        for i in range(OPERANDS):
            array = views[i]
            if array is None:
                continue
            if axes(array) != 4 or i > A and shape_of(array)[0] != c.planes:
                raise ValueError("planes of one number are needed, got arrays that were changed meanwhile")
            c.planes, c.between[i].plane, c.between[i].row = (
                shape_of(array)[0], strides_of(array)[0], strides_of(array)[1])
        return 0

    cdef int find_room(self, int i, Py_ssize_t rows) except -1:
        """For the rows of a stage's results, in each thread's memory."""
        cdef Stages *c = &self.stages
        cdef Stage *s = &c.stages[i]
        cdef Stage *next_ = &c.stages[i + 1]
        if rows < min(next_.rows.inputs, reach(&next_.rows, self.most_rows(i + 1))):
            raise ValueError(f"stage {i}: room for more than {rows} rows is needed")
        s.room, s.lines_at, s.row = rows, c.bytes_of_thread, s.columns * channels_of(s) * s.kernels.c_size
        c.bytes_of_thread += whole_lines(s.room * s.row)
        next_.windows.ring = rows
        cdef int part
        for part in range(next_.count):
            next_.parts[part].gemm.window.ring = rows
        return 0

    cdef Py_ssize_t most_rows(self, int i) noexcept:
        """That a stage makes at once."""
        cdef Stages *c = &self.stages
        cdef Py_ssize_t rows = (c.stages[c.count - 1].rows.outputs + c.bands - 1) // c.bands
        cdef int j
        for j in range(c.count - 1, i, -1):
            rows = min(c.stages[j].rows.inputs, reach(&c.stages[j].rows, rows))
        return rows

    cdef int find_workspace(self, int i) except -1:
        """Of one stage in each thread's memory."""
        cdef Stages *c = &self.stages
        cdef Stage *s = &c.stages[i]
        cdef Py_ssize_t rows = self.most_rows(i)
        s.workspace_at = c.bytes_of_thread
        if s.parts != NULL:
            cut_products(s, rows)
            c.bytes_of_thread += whole_lines(staging_bytes(&s.parts.gemm, s.block_rows, s.block_panels))
            return 0
        w = &s.windows
        w.band = rows
        c.bytes_of_thread += lay_out_table(w)
        return 0

    cdef Py_ssize_t workspace(self, int members) noexcept:
        return chain_bytes(&self.stages, members)

    cdef int run_in(self, char *const *places, int members, char *memory) except -1:
        with nogil:
            run_chain(&self.stages, places, members, memory)
        return 0

    @property
    def nbytes(self):
        """Bytes of the program itself and of its stages', beside their weights."""
        cdef int i
        cdef Py_ssize_t size = sizeof(Stages)
        for i in range(self.stages.count):
            size += self.stages.stages[i].count * sizeof(Part) + <Py_ssize_t>self.programs[i].nbytes
        return size


cdef int take_slide(Slide *s, slide) except -1:
    s.taps, s.step, s.stride, s.origin, s.inputs, s.outputs = slide
    return 0


cdef int take_program(Stage *s, program) except -1:
    """What a stage computes."""
    cdef Forward products
    cdef Sweep sweep
    if isinstance(program, Forward):
        products = program
        s.parts, s.count, s.packed = products.parts, products.count, products.packed.memory
        s.kernels, s.columns = products.parts.gemm.b.kernels, products.shape[len(products.shape) - 2]
        if s.parts.gemm.pixels.m != s.columns * s.rows.outputs:
            raise ValueError("one part for each group of channels is needed")
    else:
        sweep = program
        s.windows, s.kernels, s.columns = sweep.windows, sweep.windows.kernels, sweep.windows.columns.outputs
        if s.windows.rows.inputs != s.rows.inputs or s.windows.rows.outputs != s.rows.outputs:
            raise ValueError("a window over the rows of its stage is needed")
    return 0


cdef Py_ssize_t channels_of(const Stage *s) noexcept:
    """Of a stage's results."""
    return s.windows.n if s.parts == NULL else s.count * s.parts.gemm.b.n


cdef int cut_products(Stage *s, Py_ssize_t rows) except -1:
    """So many rows into blocks of pixels and panels, as for one thread."""
    cdef const Gemm *g = &s.parts.gemm
    cdef int height = s.kernels.tiles[0].mr, width = s.kernels.tiles[0].nr
    cdef double shared = rows_of_tap(&g.window) if g.b.by_taps else 1
    s.block_rows, s.block_panels, _, _ = partition.blocks(
        rows * s.columns, g.b.count, g.b.k, height, width, s.kernels.a_size, 1, shared)
    if stages_results(g):
        s.block_panels = min(s.block_panels, <Py_ssize_t>partition.staged_panels(s.block_rows, width, s.kernels.c_size))
    return 0


# ---- one after the other -------------------------------------------------------------------------------------

# Where an operand of a step lies: in one of the arrays of the whole, or in the room between the steps.
cdef enum:
    ROOM = OPERANDS
    BASES


cdef struct Step:
    int bases[OPERANDS]          # -1: there is no such operand
    Py_ssize_t offsets[OPERANDS]


cdef class Sequence(Program):
    """Programs that run one after the other, over parts of the same arrays and what lies between them.

    Parameters
    ----------
    arrays : (x, y, residual, z)
        With adjacent channels; the last two may be None.
    steps : list of (program, places)
        A Forward with packed weights or a Program, and where each of its operands lies: (base, offset) or None. The
        base is the number of one of the arrays, or 4 for the room; the offset counts bytes from its first element.
    room : int
        Bytes between the steps, in whole cache lines.
    threads : callable
        Says how many threads a call may use.
    """

    cdef tuple programs
    cdef Step *steps
    cdef Py_ssize_t between, bytes_of_all

    def __init__(self, tuple arrays, list steps, room, threads):
        cdef Py_ssize_t i
        cdef int operand
        self.bind(arrays, threads)
        self.binding.follows, self.most_threads = True, 1
        self.programs = tuple([program for program, _ in steps])
        self.bytes_of_all = room + max([program.room for program in self.programs])
        self.between = room
        self.steps = <Step *>new_memory(len(steps) * sizeof(Step), "a sequence")
        for i, (_, places) in enumerate(steps):
            for operand in range(OPERANDS):
                place = places[operand]
                self.steps[i].bases[operand], self.steps[i].offsets[operand] = (-1, 0) if place is None else place

    def __dealloc__(self):
        free(self.steps)

    cdef Py_ssize_t workspace(self, int members) noexcept:
        return self.bytes_of_all

    cdef int run(self, char *const *places) except -1:
        cdef ndarray memory = borrow(self.bytes_of_all)
        self.run_in(places, 1, first_byte(memory))
        give_back(memory)
        return 0

    cdef int run_in(self, char *const *places, int members, char *memory) except -1:
        """Each step with a team of its own."""
        cdef char *bases[BASES]
        cdef Py_ssize_t i
        memcpy(bases, places, OPERANDS * sizeof(char *))
        bases[ROOM] = memory
        for i in range(len(self.programs)):
            run_step(self.programs[i], &self.steps[i], bases, memory + self.between)
        return 0

    @property
    def nbytes(self):
        """Bytes of the program itself and of its steps', beside their weights."""
        return sum([sizeof(Step) + program.nbytes for program in self.programs])


cdef int run_step(program, const Step *step, char *const *bases, char *memory) except -1:
    cdef char *places[OPERANDS]
    cdef int operand, most
    for operand in range(OPERANDS):
        places[operand] = NULL
        if step.bases[operand] >= 0 and bases[step.bases[operand]] != NULL:
            places[operand] = bases[step.bases[operand]] + step.offsets[operand]
    if isinstance(program, Forward):
        most = (<Forward>program).most_threads
        (<Forward>program).run_in(places, (<Forward>program).packed.memory, team(most) if most > 1 else 1, memory)
        return 0
    most = (<Program>program).most_threads
    if most:
        (<Program>program).run_in(places, min(most, team(most)) if most > 1 else 1, memory)
    return 0


cdef class Repeat(Program):
    """Each channel several times: y[..., c * times + i] = x[..., c].

    Parameters
    ----------
    arrays : (x, y, None, None)
        Of one type, with adjacent channels, y without gaps.
    threads : callable
        As of a Sequence.
    """

    cdef Pixels pixels
    cdef Lead lead
    cdef Py_ssize_t channels, times, element

    def __init__(self, tuple arrays, threads):
        cdef ndarray x = arrays[A], y = arrays[C]
        self.bind(arrays, threads)
        self.channels, self.element = shape_of(x)[axes(x) - 1], bytes_of_number(x)
        self.times = shape_of(y)[axes(y) - 1] // max(self.channels, 1)
        need_columns(y, self.channels * self.times)
        join_axes(&self.lead, (x, y[..., :self.channels]))
        take_inner_axes(&self.lead, &self.pixels)
        self.most_threads = 1

    cdef int run_in(self, char *const *places, int members, char *memory) except -1:
        cdef char *at[OPERANDS]
        cdef Py_ssize_t number, row
        for number in range(outer_places(&self.lead)):
            at[A] = places[A] + outer_offset(&self.lead, A, number)
            at[C] = places[C] + outer_offset(&self.lead, C, number)
            with nogil:
                for row in range(self.pixels.m):
                    repeat_channels(address(&self.pixels, at, A, row), address(&self.pixels, at, C, row),
                                    self.channels, self.times, self.element)
        return 0

    @property
    def nbytes(self):
        """Bytes of the program itself."""
        return sizeof(Pixels) + sizeof(Lead)


cdef void repeat_channels(const char *from_, char *to, Py_ssize_t channels, Py_ssize_t times,
                          Py_ssize_t element) noexcept nogil:
    cdef Py_ssize_t i, j
    for i in range(channels):
        for j in range(times):
            if element == 4:
                (<int32_t *>to)[i * times + j] = (<const int32_t *>from_)[i]
            else:
                (<int64_t *>to)[i * times + j] = (<const int64_t *>from_)[i]
