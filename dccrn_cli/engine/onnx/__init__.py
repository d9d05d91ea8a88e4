"""Models as ONNX files: export and inference."""
