"""Manifests of other tuners, turned into TuningJobs: pure functions, and the table of what became of each field."""
