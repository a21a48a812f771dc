"""One TuningJob's brain: pure, deterministic, rebuilt from its log."""
