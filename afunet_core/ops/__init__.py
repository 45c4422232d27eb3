"""Image operators that know nothing of brackets."""
