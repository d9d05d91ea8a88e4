"""Inference: streaming networks, batches, files and folders."""
