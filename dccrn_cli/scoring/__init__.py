"""Scores of files and folders: which file belongs to which, tables, statistics, cache, LaTeX."""
