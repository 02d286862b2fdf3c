"""GEMMs and threads: what lies between the shapes of a convolution and the registers of a CPU.

kernels.pxd      the contract of ../kernels/kernel_set.h, as Cython reads it
kept.py          memory of large results that are gone, for the next
partition.py     how one GEMM or walk is cut into blocks, from its shape
team.pxd         the OpenMP team, and what is left of it after a fork
shares.pxd       tasks for a team: each thread's own, and those it takes over
pixels.pxd       rows over three axes: where the pixels of each operand lie
ahead.pxd        what is read next, fetched while tiles are computed
loops.pxd        the blocked, parallel loops of a GEMM
steps.pxd        the backward pass: what is done with a block of pixels,
outer.pxd        and what is summed over it
walk.pxd         one walk over the blocks, for every gradient
passes.pyx       the passes, each named as one GEMM: the compiled module, with
  kernel_sets.pxi  which kernels there are and which are in use
  panels.pxi       packed weights
  memory.pxi       where arrays lie, and whether they lie apart
  new_arrays.pxi   new ones, where vectors like to find them
  sums.pxi         the sums of a walk's slices, added up and put where they belong
  skipped.pxi      the pixels that a stride skips
  backward.pxi     what a walk needs
  replay.pxi       a call made before, made again without its checks
  replay_gradients.pxi  the same, backward
"""
