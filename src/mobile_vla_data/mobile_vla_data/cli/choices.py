"""Values that options of the commands choose from."""

from __future__ import annotations

from enum import Enum


class Codec(str, Enum):
    """Codecs of videos."""

    H264 = "h264"
    HEVC = "hevc"
    AV1 = "av1"


class Outcome(str, Enum):
    """Outcomes of episodes."""

    SUCCESS = "success"
    FAILURE = "failure"
    UNLABELLED = "unlabelled"


class Category(str, Enum):
    """Categories of tasks."""

    NAVIGATION = "navigation"
    MANIPULATION = "manipulation"
    COMBINED = "combined"


class Encoding(str, Enum):
    """Encodings of images in episodes."""

    JPEG = "jpeg"
    RAW = "raw"


class Actions(str, Enum):
    """Units of actions in files of other programs."""

    METRES = "metres"
    SCALED = "scaled"


class Compression(str, Enum):
    """HDF5 filters."""

    NONE = "none"
    LZF = "lzf"
    GZIP = "gzip"
