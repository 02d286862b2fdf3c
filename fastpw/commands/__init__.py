"""The commands that need NumPy alone and say what else they would need.

run        fastpw run: a network's answer to a photograph or to arrays
info       fastpw info: what is installed, and what it uses
convert    fastpw convert: an .onnx file into one that is opened without onnx
inputs     what `run` is given: photographs, .npy and .npz files
answers    what it shows and saves
changes    what became of the nodes of a file
progress   how far long work is: by rich, where it is installed, else in plain lines
options    types of arguments, and errors in one line
"""
