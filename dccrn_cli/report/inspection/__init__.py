"""Which recordings of a folder need work, and why."""
