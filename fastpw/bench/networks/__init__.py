"""Whole networks: what `fastpw bench --networks` and `fastpw bench --model` run.

builder          a network as a graph of ONNX's operators, with seeded weights
mobile, large    the networks, in the sizes of their papers
catalogue        these by name
files            a graph as a file of either kind
model            a network in a file, with an input and the answer that is right
problem          these in the process of whoever computes
run              measures models, fastpw and the peers in turn, into a
report           the figures of a run
table, plot      show a report
command          the commands
"""
