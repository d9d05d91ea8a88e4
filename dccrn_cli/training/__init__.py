"""Training: data, losses, the training loop, validation and fine-tuning."""
