"""Learning curves: recorded at fixed marks of the schedule, so that they can be compared."""
