"""export.json: what an exported folder is, and the digest of every file in it.

An export is a checkpoint folder with graphs in the place of weights: config.json, stats.json, contract.yaml, tokenizer,
and one file (ONNX: two) per stage. Nothing in it can be swapped for another policy's without being noticed.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import torch
from pydantic import BaseModel, ConfigDict

from mobile_vla_policy.checkpoint import EXPORT
from mobile_vla_policy.config import ConfigError, read_versioned, validate
from mobile_vla_policy.engine.choices import BACKEND_OF_FORMAT, EngineError, check_export

FORMAT_VERSION = 1


class Verification(BaseModel):
    """What the command saw when it compared the export with the network it was made from."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    random_frames: int
    real_frames: int
    deviation: float
    """Largest difference, see :func:`mobile_vla_policy.export.verify.compare`."""
    tolerance: float


class Manifest(BaseModel):
    """The content of export.json."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    format_version: int
    software_version: str
    format: str
    precision: str
    device: str
    """Type of device that it was made on, cpu or cuda."""
    image_size: int
    window: int
    instruction_tokens: int
    """Instructions may be this long."""
    versions: dict[str, str]
    """Of the libraries that made it."""
    files: dict[str, str]
    """File -> SHA-256."""
    verified: Verification

    @property
    def backend(self) -> str:
        """What runs it."""
        return BACKEND_OF_FORMAT[self.format]


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write export.json with the digests of what is in the folder now."""
    files = {path.name: digest(path) for path in sorted(folder.iterdir()) if path.name != EXPORT}
    complete = manifest.model_copy(update={"files": files})
    (folder / EXPORT).write_text(complete.model_dump_json(indent=2) + "\n", encoding="utf-8")


def read_manifest(folder: Path) -> Manifest:
    """Read export.json without looking at the files.

    Raises:
        EngineError: it is missing, malformed or of another version.
    """
    path = folder / EXPORT
    try:
        manifest: Manifest = validate(Manifest, read_versioned(path, FORMAT_VERSION, "export"), str(path))
    except ConfigError as error:
        raise EngineError(str(error)) from None
    try:
        check_export(manifest.format, manifest.precision)
    except EngineError as error:
        raise EngineError(f"{path}: {error}") from None
    return manifest


def check_files(folder: Path, manifest: Manifest) -> None:
    """Compare every file with its digest. Raises :class:`EngineError` naming the first that differs."""
    for name, expected in manifest.files.items():
        path = folder / name
        if Path(name).name != name or not path.is_file():
            raise EngineError(f"{path}: missing; the export is incomplete, make it again")
        if digest(path) != expected:
            raise EngineError(f"{path}: damaged, or of another export (its digest differs); export it again")


def check_machine(folder: Path, manifest: Manifest, device: torch.device) -> None:
    """Raise :class:`EngineError` when an export was made for another kind of device, or for another torch."""
    # ONNX Runtime decides itself where a graph runs; the others have their device's operations written into them.
    if manifest.format != "onnx" and manifest.device != device.type:
        raise EngineError(
            f"{folder}: exported on {manifest.device}, to be run on {device.type}; export it again on this device"
        )
    made_with = manifest.versions.get("torch", "")
    if manifest.format == "pt2" and made_with != torch.__version__:
        raise EngineError(f"{folder}: compiled with torch {made_with}, this is {torch.__version__}; export it again")


def digest(path: Path) -> str:
    """SHA-256 of a file."""
    with path.open("rb") as file:
        result = hashlib.sha256()
        while block := file.read(1 << 22):
            result.update(block)
    return result.hexdigest()
