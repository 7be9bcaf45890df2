"""ONNX files as networks that can be differentiated: the file, its graph, layers, operators and rewriting passes."""
