"""Brackets to learn from: synthesis and the data sets of the field."""
