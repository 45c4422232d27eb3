"""Attention in windows for training on a CPU, forwards and backwards, in C++.

Training on a CPU spends most of its time moving small tensors between dozens of operations. These kernels keep one
window of 8×8 pixels in the cache from its first to its last operation, compute the forward pass again in the backward
pass instead of storing it, and use the matrix unit (AMX) where the CPU has one. They are compiled by the user's own C++
compiler when training asks for them; without a compiler, training runs as it is written in the modules.
See ``docs/decisions/0008-native-training.md``.
"""
