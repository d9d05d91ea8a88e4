"""Models as ONNX files: what writes them, what runs them."""
