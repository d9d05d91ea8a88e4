"""Dynamic mixing: fresh examples for every training step, and the noises, rooms and effects in them."""
