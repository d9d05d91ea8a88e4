"""Recordings to learn from: clips and pools of them, lists, pairs, checks."""
