"""Training: mixing, losses, the loop, validation."""
