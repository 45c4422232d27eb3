"""Layers in and out: the frames of a bracket, and the results of a merge."""
