"""Training recordings: clips and pools of clips, lists, pairs and checks."""
