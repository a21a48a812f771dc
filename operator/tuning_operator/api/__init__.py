"""What users write: TuningJob and Trial."""
