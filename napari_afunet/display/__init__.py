"""Display of HDR layers, and comparison of results with their frames."""
