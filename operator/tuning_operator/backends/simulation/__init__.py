"""A whole job in memory: recorded or invented curves, a virtual clock, and the engine that runs everywhere else."""
