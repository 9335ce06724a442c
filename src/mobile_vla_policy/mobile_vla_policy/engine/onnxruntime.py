"""ONNX: written by torch.export, run by ONNX Runtime; on a Jetson, trtexec builds TensorRT engines from the same files.

Shapes are constant and the operators are those of opset 18 that TensorRT's parser lists as supported
(:data:`TENSORRT_OPERATORS`); attention is written as products and a softmax, which TensorRT fuses itself. Weights are
in a separate file beside the graph, because a graph may not exceed 2 GB.
"""

from __future__ import annotations

import hashlib
import logging
import os
import warnings
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import nn

from mobile_vla_policy.caches import tensorrt_cache
from mobile_vla_policy.checkpoint import is_export
from mobile_vla_policy.engine.choices import EngineError
from mobile_vla_policy.engine.manifest import digest, read_manifest
from mobile_vla_policy.engine.protocol import RunStage

SUFFIX = ".onnx"
#: The oldest opset that torch.export writes; TensorRT 10's parser reads up to 24.
OPSET = 18

#: Operators that a network may use: all are in the support matrix of onnx-tensorrt (docs/operators.md).
TENSORRT_OPERATORS = frozenset(
    """
    Abs Add And Cast Clip Concat Constant ConstantOfShape Conv Cos Div Equal Erf Exp Expand Gather GatherElements
    GatherND Gemm Greater GreaterOrEqual Identity IsNaN LSTM LayerNormalization Less LessOrEqual Log MatMul Max Min Mul
    Neg Not Or Pad Pow Range ReduceL2 ReduceMax ReduceMean ReduceSum Relu Reshape ScatterND Shape Sigmoid Sin
    Slice Softmax Split Sqrt Squeeze Sub Tanh Tile Transpose Unsqueeze Where
    """.split()  # noqa: SIM905
)


def write(stage: nn.Module, arguments: tuple[torch.Tensor, ...], names: tuple[str, ...], path: Path) -> None:
    """Write ``path`` and, beside it, ``path`` + ``.data`` with the weights.

    Raises:
        EngineError: a package is missing, or TensorRT does not take an operator.
    """
    try:
        import onnx
        import onnxscript  # noqa: F401  (torch.onnx needs it, with a worse message)
    except ImportError as error:
        raise EngineError(f"exporting to ONNX needs {error.name}: pip install onnx onnxscript onnxruntime") from None
    with torch.no_grad(), _quiet():
        torch.onnx.export(
            stage,
            arguments,
            str(path),
            input_names=list(names),
            output_names=[path.stem],
            opset_version=OPSET,
            dynamo=True,
            external_data=True,
            verbose=False,
        )
    unknown = operators(onnx.load(str(path), load_external_data=False)) - TENSORRT_OPERATORS
    if unknown:
        raise EngineError(f"{path.name}: TensorRT is not known to take the operators {', '.join(sorted(unknown))}")


def operators(model: onnx.ModelProto) -> set[str]:  # type: ignore[name-defined]  # noqa: F821
    """Return the types of all nodes; those of other domains with their domain."""
    return {f"{node.domain}.{node.op_type}" if node.domain else node.op_type for node in model.graph.node}


def load(path: Path, device: torch.device) -> RunStage:
    """Read a stage into ONNX Runtime: on TensorRT or CUDA if available and asked for."""
    try:
        import onnxruntime
    except ImportError:
        raise EngineError("backend onnxruntime is not installed: pip install onnxruntime") from None
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    # As many threads as torch would use, and none that spins: other programs of the robot need the cores.
    options.intra_op_num_threads = int(os.environ.get("OMP_NUM_THREADS", 0) or torch.get_num_threads())
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    providers = _providers(path, device, onnxruntime.get_available_providers())
    try:
        session = onnxruntime.InferenceSession(str(path), options, providers=providers)
    except Exception as error:  # its exceptions derive from Exception alone
        raise EngineError(f"{path}: cannot be loaded: {str(error).splitlines()[0]}") from None
    names = [item.name for item in session.get_inputs()]

    def run(*arguments: torch.Tensor) -> torch.Tensor:
        feeds = {name: value.cpu().numpy() for name, value in zip(names, arguments, strict=True)}
        return torch.from_numpy(session.run(None, feeds)[0]).to(device)

    return run


def _providers(path: Path, device: torch.device, available: Collection[str]) -> list[tuple[str, dict[str, Any]]]:
    """Return the execution providers, best first, with options, of those that this ONNX Runtime has."""
    wanted: list[tuple[str, dict[str, Any]]] = [("CPUExecutionProvider", {})]
    if device.type == "cuda":
        gpu = {"device_id": device.index or 0}
        # Only if it is available: naming the folder may require reading the weights.
        kept = _kept_engines(path) if "TensorrtExecutionProvider" in available else {}
        wanted = [("TensorrtExecutionProvider", gpu | kept), ("CUDAExecutionProvider", gpu), *wanted]
    return [(name, options) for name, options in wanted if name in available]


def _kept_engines(path: Path) -> dict[str, Any]:
    """Return options that keep TensorRT's engines, which take minutes to build; none if they cannot be stored.

    ONNX Runtime tells engines apart by the names in the graph, and not by its weights (TRTGenerateId in its
    tensorrt_execution_provider_utils.h). So each export has its own folder; otherwise one policy
    would drive with the weights of another.
    """
    if is_export(path.parent):
        files = read_manifest(path.parent).files
    else:
        files = {file.name: digest(file) for file in path.parent.glob(f"{path.name}*")}
    parts = [f"{name} {value}" for name, value in sorted(files.items()) if name.startswith(path.name)]
    key = hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]
    folder = tensorrt_cache() / f"{path.stem}-{key}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return {}
    return {"trt_engine_cache_enable": True, "trt_engine_cache_path": str(folder)}


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence the exporter's messages about optional packages that this network does not need."""
    logger = logging.getLogger("torch.onnx")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(before)
