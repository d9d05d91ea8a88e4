"""Files to blocks to files: discovery, decoding, resampling, band splitting, encoding."""
