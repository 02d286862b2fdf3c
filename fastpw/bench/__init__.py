"""What `fastpw bench` runs.

layers           the 1x1 convolutions of real networks (layers.csv)
problem          one layer's arrays, and the check of a result against the reference
implementations  who computes it: one function each
timing           interleaved rounds, best of many
roofs            what this machine can do: multiply-adds and memory traffic
runner           puts these together into a Report
table, plot      show a Report
"""
