"""The backward pass over pixels that each meet an input: what is computed, and with which memory.

    dz = dy * act'(z)             formed block by block, never as a tensor
    dx = dz . W                   a GEMM whose A is the block of dz
    dW = dz^T . x                 sums of outer products over the pixels
    db = sums of dz
"""

from fastpw.core.ahead cimport Ahead
from fastpw.core.gemm cimport Gemm
from fastpw.core.kernels cimport fastpw_epilogue, fastpw_kernel_set
from fastpw.core.panels cimport Matrix
from fastpw.core.pixels cimport OPERANDS, Pixels
from fastpw.core.shares cimport Share


# The operands that have rows.
cdef enum:
    DY
    S                            # what the derivative is read from, y or z, or what leads to it
    XS                           # x
    DRESIDUAL

# Where S comes from.
cdef enum:
    NOT_NEEDED                   # the derivative is one
    GIVEN
    FROM_Z                       # y is needed, z was given
    RECOMPUTED                   # from x


# The pixels are cut into slices, which sum gradients of their own, and those into blocks. One slice is shared by the
# team, block by block.
cdef struct Cut:
    Py_ssize_t slices, slice_rows, block_rows


# How dW and db are summed. The outputs are the rows of dW and the inputs its columns or, if that fills vectors better,
# the other way about ("across").
cdef struct Sums:
    bint across
    bint direct                  # in dweight itself
    bint adds                    # the first block adds to what is there
    bint x_in_place              # x lies at one distance
    bint forms                   # dz is formed by who sums the weights
    Py_ssize_t pixels            # of a block, that meet all panels before the next
    Py_ssize_t ld                # from row to row of dW
    Py_ssize_t bias_bytes, weights_bytes
    Py_ssize_t slice_bytes       # both, of each slice: db first


# The buffers of a block, dz first, and how their rows lie.
cdef struct BlockLayout:
    Py_ssize_t dz_ld, x_ld
    Py_ssize_t s_at, x_at
    Py_ssize_t size


# Each thread's own buffers: some panels of x (or of dz), W or some depths of a panel, and what staging takes.
cdef struct OwnLayout:
    Py_ssize_t some_panels, panel_bytes
    Py_ssize_t w_at, staging_at
    Py_ssize_t size


# What is computed, how its operands are laid out, and how it is cut.
cdef struct Walk:
    const fastpw_kernel_set *kernels
    Pixels pixels
    Py_ssize_t outputs, inputs   # columns of dz, of x
    fastpw_epilogue epilogue     # whose derivative is wanted
    fastpw_epilogue linear
    int source
    Gemm recompute               # S from x, when it is RECOMPUTED
    Gemm data                    # dx from dz; its B is all of W
    Py_ssize_t data_depth        # depths of W at a time where few rows meet it
    Py_ssize_t data_panels       # panels of W that are packed together then; 0: they are read in place
    bint data_is_large           # dx is larger than the caches
    bint packs_first             # all of W, each thread for itself, before its first slice
    Matrix dweight, dbias
    bint diagonal                # one weight per channel
    bint wants_data, wants_weights, wants_bias, wants_residual
    bint accumulates             # dx, dresidual and dweight are added to,
    bint adds_bias               # and dbias
    Cut cut
    Sums sums
    BlockLayout block
    OwnLayout own


# What depends on the number of threads.
cdef struct Team:
    int threads, adding_threads
    Py_ssize_t groups            # of panels, for each member of a team that shares a step
    Py_ssize_t copies            # of the buffers of a block: one for all, or one for each thread
    Py_ssize_t member_bytes      # from one thread's buffers to the next one's


# A walk with its memory.
cdef struct BoundWalk:
    const Walk *walk
    const Team *team
    bint apart                   # what is written is known to lie apart from what is read
    bint streams                 # dx goes past the caches
    char *rows[OPERANDS]         # DY, S, XS, DRESIDUAL
    char *x
    char *residual
    char *dx
    const char *weight           # W as it lies
    const char *packed           # W packed for recomputing
    char *dweight
    char *dbias
    # Workspace.
    char *scale                  # what the kernel of one weight per channel multiplies dz by
    char *ones                   # the same, of ones
    Share *shares                # as many as there are threads, for each step
    int *arrived                 # of each half of the slices, how many sums are there
    char *bias                   # db where it is summed: of the first slice
    char *weights                # dW, likewise
    char *buffers


# A thread and the block that it works on.
cdef struct Worker:
    const BoundWalk *r
    const Walk *walk
    Py_ssize_t origin            # the first row of the block whose buffers lie at `space`
    char *space
    char *own
    Ahead *ahead                 # what tiles fetch


cdef inline char *block_of(const BoundWalk *r, int member) noexcept nogil:
    return r.buffers + (member * r.team.member_bytes if r.team.copies > 1 else 0)


cdef inline char *own_of(const BoundWalk *r, int member) noexcept nogil:
    return r.buffers + r.walk.block.size + member * r.team.member_bytes


cdef inline Py_ssize_t rows_of_weights(const Walk *w) noexcept nogil:
    if w.diagonal:
        return 1
    return w.inputs if w.sums.across else w.outputs


cdef inline Py_ssize_t columns_of_weights(const Walk *w) noexcept nogil:
    return w.outputs if w.sums.across else w.inputs


cdef inline Py_ssize_t panels_of_weights(const Walk *w) noexcept nogil:
    cdef Py_ssize_t width = w.kernels.tiles[0].nr
    return (columns_of_weights(w) + width - 1) // width


cdef inline bint copies_x(const Walk *w) noexcept nogil:
    """Whether the rows of x come to lie behind dz."""
    return w.wants_weights and (w.diagonal or w.sums.across and not w.sums.x_in_place)
