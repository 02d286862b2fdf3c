"""Blocks of networks and whole networks: what `fastpw bench --blocks` runs.

parts            what a block is made of: convolutions, pools, branches, shortcuts
catalogue        the blocks and networks, in the sizes of their papers
graph            a block as a list of operations, each with its inputs and shapes
expected         its result in float64, and how far roundings carry
problem          its arrays, seeded weights, and the check of a result
own              fastpw's ways: chains, or layer by layer
buffers          layer by layer, which result lies in which memory
memory           the peak memory of both ways, in a process of its own
run              measures blocks, in turn with the peers, into a
report           the figures of a run, and their means by family
table, plot      show a report
"""
