"""What `fastpw bench` and the pytest suite in bench/ run.

layers           the 1x1 convolutions of real networks (layers.csv), or of a file
setting          what is measured of them: forward or backward, threads, dtype, into which arrays
problem          one layer's arrays, and the check of a result against the reference
implementations  who computes it in this process: one function each; backward: the gradients
peers/           who computes it in a process of its own: a module for each runtime
contestant       one of them, from its arrays to the seconds of its calls
worker           the process, and what is said over its pipe
timing           interleaved rounds, best of many
roofs            what this machine can do: multiply-adds and memory traffic
runner           puts these together into a
report           the figures of a run, and what follows from them
table, plot      show a report
"""
