"""A tuning operator: one engine that judges learning curves, behind a laptop, a cluster or a simulation."""

__version__ = "0.1.0"
