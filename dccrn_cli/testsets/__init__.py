"""Test sets: mixtures written to files, made from a recipe or from the metadata of an earlier set."""
