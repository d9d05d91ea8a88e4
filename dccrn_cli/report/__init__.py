"""Pictures of scores and spectrograms."""
