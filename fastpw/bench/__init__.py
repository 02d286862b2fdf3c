"""What `fastpw bench` and the pytest suite in bench/ run.

layers           convolutions of real networks: 1x1 (layers.csv), dense.csv, depthwise.csv; or of a file
setting          what is measured of them: their kind, forward or backward, threads, dtype, into which arrays
arrays           one layer's arrays
problem          these, and the check of a result against the reference; windowed_problem: of the gradients
                 where pixels look at their neighbours
quantized_problem  a layer in int8, and the share of outputs that are wrong
implementations  who computes it in this process: one function each; backward: the gradients; windowed: where
                 pixels look at their neighbours, with windows for NumPy
blocks/          blocks of networks and whole networks, measured in the same way
peers/           who computes it in a process of its own: a module for each runtime
contestant       one of them, from its arrays to the seconds of its calls
worker           the process, and what is said over its pipe
timing           interleaved rounds, best of many
roofs            what this machine can do: multiply-adds and memory traffic
runner           puts these together into a
report           the figures of a run, and what follows from them
table, plot      show a report
"""
