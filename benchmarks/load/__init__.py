"""The operator under load: a real control plane, simulated nodes, and one process that answers for every trial."""
