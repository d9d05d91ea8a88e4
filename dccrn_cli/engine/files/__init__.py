"""Inference on files: planning, and enhancing one by one, in processes, on a cluster or batched on a GPU."""
