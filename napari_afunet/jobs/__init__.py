"""Merging in the background: the job, its worker, and what is checked beforehand."""
