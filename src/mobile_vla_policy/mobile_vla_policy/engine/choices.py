"""Names of backends, formats and precisions, and their valid combinations. Imports nothing heavy, for launch files."""

from __future__ import annotations

from dataclasses import dataclass

#: Format of an export -> the backend that runs it.
BACKEND_OF_FORMAT = {"torchscript": "torchscript", "onnx": "onnxruntime", "pt2": "aoti"}
FORMATS = tuple(BACKEND_OF_FORMAT)
#: auto: eager for a checkpoint, the export's own backend for an export.
BACKENDS = ("auto", "eager", *BACKEND_OF_FORMAT.values())
#: auto: fp32 for small backbones, 16 bits for large ones, the export's own precision for an export.
PRECISIONS = ("auto", "fp32", "bf16", "fp16", "int8")

#: Precisions of each format. ONNX Runtime has no bf16 products on a CPU; TensorRT makes 16 or 8 bits of fp32 itself.
PRECISIONS_OF_FORMAT = {
    "torchscript": ("fp32", "bf16", "fp16"),
    "onnx": ("fp32", "fp16"),
    "pt2": ("fp32", "bf16", "fp16"),
}


class EngineError(ValueError):
    """Backend, precision and checkpoint contradict each other, or an export is damaged. The message is one line."""


@dataclass(frozen=True)
class EngineOptions:
    """Options of execution."""

    device: str = "auto"
    """auto (CUDA if there is one), cpu, cuda, cuda:1 ..."""
    backend: str = "auto"
    precision: str = "auto"
    compile: bool = False
    """eager only: use torch.compile on the vision and the text stage; the compiled code is kept on disk."""

    def problem(self) -> str:
        """Return why these options cannot be used, in one line; empty if they can."""
        if not (self.device in ("auto", "cpu", "cuda") or self.device.removeprefix("cuda:").isdecimal()):
            return f"device is '{self.device}'; it must be auto, cpu, cuda or cuda:N"
        for name, value, allowed in (
            ("backend", self.backend, BACKENDS),
            ("precision", self.precision, PRECISIONS),
        ):
            if value not in allowed:
                return f"{name} is '{value}'; it must be one of {', '.join(allowed)}"
        if self.compile and self.backend not in ("auto", "eager"):
            return f"compile is for backend eager, not {self.backend}; set compile to false"
        return ""


def check_export(format_: str, precision: str) -> None:
    """Raise :class:`EngineError` when ``format_`` cannot hold ``precision``."""
    if format_ not in FORMATS:
        raise EngineError(f"format is '{format_}'; it must be one of {', '.join(FORMATS)}")
    allowed = PRECISIONS_OF_FORMAT[format_]
    if precision not in allowed:
        raise EngineError(f"{format_} cannot hold precision {precision}; use one of {', '.join(allowed)}")
