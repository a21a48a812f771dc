"""The command on a cluster: where it is, what is there, and in which words trouble is told."""
