"""Scoring of files and folders: pairing, tables, statistics, cache, LaTeX."""
