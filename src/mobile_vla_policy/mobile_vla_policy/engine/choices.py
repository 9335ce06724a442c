"""Names of backends, export formats and precisions, and which go together. Imports nothing heavy: nodes check by it."""

from __future__ import annotations

from dataclasses import dataclass

#: Format of an export -> the backend that runs it.
BACKEND_OF_FORMAT = {"torchscript": "torchscript", "onnx": "onnxruntime", "pt2": "aoti"}
FORMATS = tuple(BACKEND_OF_FORMAT)
#: auto: eager for a checkpoint, what it was exported for otherwise.
BACKENDS = ("auto", "eager", *BACKEND_OF_FORMAT.values())
#: auto: fp32 for kosmos2-tiny, 16 bits for large backbones, what it was exported in otherwise.
PRECISIONS = ("auto", "fp32", "bf16", "fp16", "int8")

#: What each format can hold. ONNX Runtime has no bf16 products on a CPU; TensorRT makes 16 or 8 bits of fp32 itself.
PRECISIONS_OF_FORMAT = {
    "torchscript": ("fp32", "bf16", "fp16"),
    "onnx": ("fp32", "fp16"),
    "pt2": ("fp32", "bf16", "fp16"),
}


class EngineError(ValueError):
    """Backend, precision and checkpoint do not go together, or an export is damaged. One line that says what to do."""


@dataclass(frozen=True)
class EngineOptions:
    """How a network is to be executed."""

    device: str = "auto"
    """auto (CUDA if there is one), cpu, cuda, cuda:1 ..."""
    backend: str = "auto"
    precision: str = "auto"
    compile: bool = False
    """eager only: torch.compile the vision and the text stage; the compiled code is kept on disk."""

    def problem(self) -> str:
        """Why these cannot be used, in one line; empty when they can."""
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
