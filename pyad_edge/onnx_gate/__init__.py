"""Networks as data: an ONNX file is read and judged here before a native parser sees a byte."""
