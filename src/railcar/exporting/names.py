"""The formats by name, what each is for, and what it needs; nothing here imports TensorFlow."""

from __future__ import annotations

from railcar.registry import check_installed

FORMATS = {
    "keras": "a file for Keras 3, with railcar installed beside it",
    "saved_model": "for TensorFlow and TensorFlow Serving: raw input in, labels out",
    "litert": "for LiteRT (TensorFlow Lite): phones, boards, servers without TensorFlow",
    "onnx": "for ONNX Runtime and what else reads ONNX",
}
"""Name -> what it is for."""
_LIBRARIES = {
    "litert": (("ai_edge_litert", "ai-edge-litert"),),
    "onnx": (("tf2onnx", "tf2onnx"), ("onnxruntime", "onnxruntime")),
}


def check_libraries(name: str) -> None:
    """Raise `MissingExtra` unless what a format needs is installed."""
    for module, package in _LIBRARIES.get(name, ()):
        check_installed(module, package=package, extra="export", needed_for=f"--format {name}")
