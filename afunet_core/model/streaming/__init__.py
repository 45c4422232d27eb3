"""Bounded-memory execution of the network, equal to its forward pass."""
