"""Inference: the streaming network, its batches, files and folders of them."""
