"""The `tuning` command."""
