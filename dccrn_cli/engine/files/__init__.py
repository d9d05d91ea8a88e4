"""Inference on files: which ones, one by one, in processes, on a cluster or batched on a GPU."""
