# distutils: language = c
"""A chain of layers as one program: the rows between them stay in a thread's cache."""

from libc.stdlib cimport free
from libc.string cimport memcpy, memset

from fastpw.core.chained cimport MOST_STAGES, Stages, chain_bytes, run_chain, tasks
from fastpw.core.forward cimport Forward
from fastpw.core.gemm cimport Gemm
from fastpw.core.gemm_window cimport rows_of_tap
from fastpw.core.machine cimport team
from fastpw.core.ndarray cimport axes, first_byte, ndarray, shape_of, strides_of
from fastpw.core.panels cimport new_memory, whole_lines
from fastpw.core.parts cimport Part
from fastpw.core.pixels cimport A, OPERANDS
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

    cdef int run(self, char *const *places) except -1:
        cdef int members = <int>min(<Py_ssize_t>self.most_threads, tasks(&self.stages))
        cdef ndarray memory
        cdef char *place
        if members == 0:
            return 0
        if members > 1:
            members = min(members, team(members))
        memory = borrow(chain_bytes(&self.stages, members))
        place = first_byte(memory)
        with nogil:
            run_chain(&self.stages, places, members, place)
        give_back(memory)
        return 0

    @property
    def room(self):
        """Bytes that a run takes beside its arrays, at most."""
        cdef Py_ssize_t members = min(<Py_ssize_t>self.most_threads, tasks(&self.stages))
        return chain_bytes(&self.stages, <int>members) if members else 0

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
