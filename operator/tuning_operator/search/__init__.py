"""Proposals: the search space and the samplers."""
