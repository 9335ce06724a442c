"""export.json: the description of an export, with the digest of every file in it.

An export is a checkpoint folder with graphs instead of weights: config.json, stats.json, contract.yaml, tokenizer, and
one file (ONNX: two) per stage. A file of another policy in it is detected.
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
    """Result of comparing the export with the network it was made from."""

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
    """Type of device that it was made for, cpu or cuda."""
    image_size: int
    window: int
    instruction_tokens: int
    """Longest instruction [tokens]."""
    versions: dict[str, str]
    """Versions of the libraries that made it."""
    files: dict[str, str]
    """File -> SHA-256."""
    verified: Verification

    @property
    def backend(self) -> str:
        """Backend that runs it."""
        return BACKEND_OF_FORMAT[self.format]


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write export.json with the digests of the files in the folder."""
    files = {path.name: digest(path) for path in sorted(folder.iterdir()) if path.name != EXPORT}
    complete = manifest.model_copy(update={"files": files})
    (folder / EXPORT).write_text(complete.model_dump_json(indent=2) + "\n", encoding="utf-8")


def read_manifest(folder: Path) -> Manifest:
    """Read export.json without checking the files.

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
            raise EngineError(f"{path}: damaged, or from another export (its digest differs); export it again")


def check_machine(folder: Path, manifest: Manifest, device: torch.device) -> None:
    """Raise :class:`EngineError` if an export was made for another kind of device or another torch."""
    # ONNX Runtime decides itself where a graph runs; the other formats hold operations of one device.
    if manifest.format != "onnx" and manifest.device != device.type:
        raise EngineError(
            f"{folder}: exported on {manifest.device}, to be run on {device.type}; export it again on this device"
        )
    made_with = manifest.versions.get("torch", "")
    if manifest.format == "pt2" and made_with != torch.__version__:
        raise EngineError(f"{folder}: compiled with torch {made_with}, this is {torch.__version__}; export it again")


def digest(path: Path) -> str:
    """Return the SHA-256 of a file."""
    with path.open("rb") as file:
        result = hashlib.sha256()
        while block := file.read(1 << 22):
            result.update(block)
    return result.hexdigest()
