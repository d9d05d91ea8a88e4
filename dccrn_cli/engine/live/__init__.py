"""Sound enhanced as it happens."""
