"""What has nothing to do with sound: files written whole, interrupts, processes, options from TOML."""
