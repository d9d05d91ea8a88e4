"""Test sets: mixtures written to files, after a recipe or the metadata of an earlier one."""
