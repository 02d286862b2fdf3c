"""Programs, GEMMs and threads: what lies between the shapes of a convolution and the registers of a CPU.

A call is described once for arrays laid out in one way, then bound to arrays and run.

    describe   which GEMMs or walks, over which pixels, cut into which tasks: a program, which does not change
    bind       do these arrays fit the program? Then their addresses are its operands
    run        one parallel region for each GEMM, without the GIL

====================  =====================================================================
compiled modules
forward.pyx           the forward pass as a program
backward.pyx          the backward pass as a program
stencil.pyx           depthwise convolutions, pools and shuffles as programs; Rows, those of networks
stencil_gradient.pyx  what is summed for a window's weights, and dz
chain.pyx             layers that follow each other, as one program
machine.pyx           the kernel sets in use, and threads
a chain
chained.pxd           one task: a band of rows through all stages; and the team that runs them
stages.pxd            some rows of one stage
fusing.py             how a chain is cut
the backward pass
walk.pxd              one walk over the pixels, shared by a team
steps.pxd             what is done with a block of pixels,
outer.pxd             and what is summed over it
finish.pxd            the sums, put where they belong
clear.pxd             the pixels that no output meets
workspace.pxd         the memory that a walk works in,
walk_layout.pxd       and how it is laid out
gradients.pxd         what a walk computes, and with which memory
tap_sums.pxd          the sums for a window's weights, and the team that makes them
forming.pxd           dz as a whole
sums.py               how both are cut
a GEMM
parts.pxd             those of a program: one after the other, or all in one region
schedule.pxd          its tasks, and the team that runs them
staged.pxd            one task: some rows against some panels, copied together or found by a table
gemm.pxd              and where the rows lie
ahead.pxd             what is read next, fetched while tiles are computed
gemm_window.pxd       rows that read a window of pixels
planes.pxd            how a window over planes is described: from which arrays, along which axes
sweep.pxd             its tasks, and the team that runs them
windows.pxd           one task: a band of rows, a block of channels
bands.py              how it is cut into these
shuffle.pxd           channels of groups in turn
rowwise.pxd           elements and rows: operations, normalizations, means
what they stand on
binding.pxd           the arrays of a program: whether others fit it, and may be written
pixels.pxd            rows over three axes: where the pixels of each operand lie
weights.pxd           the weights of a convolution, and their packing
panels.pxd            packed weights
tap_panels.pxd        those of a window, packed tap by tap
layout.pxd            how an array is laid out, and whether another is laid out so
ndarray.pxd           what NumPy says of an array
shares.pxd            tasks for a team: each thread's own, and those it takes over
team.h team.pxd       the OpenMP team: how many threads a call starts with
kernels.pxd           the contract of ../kernels/kernel_set.h, as Cython reads it
partition.py          how a GEMM or walk is cut into blocks, from its shape
kept.py               memory of large results that are gone, for the next
====================  =====================================================================
"""
