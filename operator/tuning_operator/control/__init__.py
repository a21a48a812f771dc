"""Learning-rate rules, one file each."""
