"""The networks as torch modules: layers, configurations, checkpoints."""
