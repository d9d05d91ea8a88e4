"""Audio files to blocks and back: discovery, decoding, resampling, encoding, metadata."""
