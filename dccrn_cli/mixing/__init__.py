"""Dynamic mixing: examples made anew for every step, and what they are made of."""
