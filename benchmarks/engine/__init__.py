"""The speed and memory of the engine, beside its peers."""
