"""Networks as torch modules: layers, configurations and checkpoints."""
