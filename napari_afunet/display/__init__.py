"""How HDR layers look, and how results are compared."""
