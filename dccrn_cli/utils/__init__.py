"""Utilities unrelated to audio: atomic files, locks, interrupts, processes, options from TOML."""
