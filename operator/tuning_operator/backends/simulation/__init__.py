"""Recorded curves on a virtual clock."""
