"""GEMMs and threads: what lies between the shapes of a convolution and the registers of a CPU.

kernels.pxd    the contract of ../kernels/kernel_set.h, as Cython reads it
arrays.py      new arrays, where vectors like to find them
partition.py   how one GEMM is cut into blocks, from its shape alone
team.pxd       the OpenMP team, and what is left of it after a fork
loops.pxd      the blocked, parallel loops
passes.pyx     the passes, each named as one GEMM: the compiled module
"""
