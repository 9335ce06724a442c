"""The contract: one description of the robot that recorder, simulator, trainer and policy node all load.

A copy is embedded in every episode and every checkpoint; :meth:`Contract.compare` says which fields differ between two
copies, so that a policy can refuse a robot that it was not trained for, by name of the field.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import Field, ValidationError, field_validator, model_validator

from mobile_vla_data.compatibility import Comparison, compare
from mobile_vla_data.gripper_driver import GripperDriver
from mobile_vla_data.obstacles import Obstacles, Strict
from mobile_vla_data.polygon import Polygon
from mobile_vla_data.yaml_file import read_yaml

#: Streams that every robot has besides its cameras; a camera's stream is named after the camera.
ODOMETRY = "odom"
GRIPPER_STATE = "gripper_state"
COMMAND = "command"
#: Topics of transforms that change, and of those that do not. Absolute, as everywhere in ROS.
TRANSFORMS, STATIC_TRANSFORMS = "/tf", "/tf_static"

#: A camera's name is part of HDF5 paths, parameters and launch arguments.
_CAMERA_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*")


class ContractError(ValueError):
    """A contract file is missing, malformed, or does not fit another contract. The message is one line."""


class CameraContract(Strict):
    """Source and size of the images of one camera."""

    topic: str = Field(min_length=1)
    """Topic of the raw images."""
    required: bool
    """A tick without a fresh image from a required camera is a dropped tick."""
    height: int = Field(gt=0)
    """Rows of the recorded image [px]."""
    width: int = Field(gt=0)
    """Columns of the recorded image [px]."""
    resize: Literal["stretch", "letterbox", "crop"] = "stretch"
    """How an image of another size becomes ``height`` x ``width``."""
    max_age_s: float = Field(gt=0)
    """An image captured longer ago than this at a control tick is stale [s]."""


class StateContract(Strict):
    """Sources of the state ``[x, y, gripper]``: metres in the odometry frame, gripper 0 open .. 1 closed."""

    pose: Literal["odom", "tf"] = "odom"
    """odom: the position is that of ``odometry_topic``; tf: the place of ``action.frame`` in ``odometry_frame`` by
    /tf and /tf_static, for a robot that localises itself (AMCL, SLAM)."""
    odometry_topic: str = Field(min_length=1)
    """Topic of the position."""
    odometry_frame: str = Field(min_length=1)
    """``frame_id`` that the position must have."""
    odometry_max_age_s: float = Field(gt=0)
    """A position measured longer ago than this is stale [s]."""
    gripper_topic: str = Field(default="gripper/state", min_length=1)
    """Topic of the gripper's position; without a gripper it has no effect."""
    gripper_max_age_s: float = Field(default=0.5, gt=0)
    """A gripper position measured longer ago than this is stale [s]."""

    @property
    def pose_topic(self) -> str:
        """Topic that the position comes from."""
        return TRANSFORMS if self.pose == "tf" else self.odometry_topic


class ActionContract(Strict):
    """The action ``[delta_x, delta_y, gripper]``: metres in ``frame`` during one control period, gripper 0 or 1."""

    frame: str = Field(min_length=1)
    """The robot's own frame; ``frame_id`` of stamped commands."""
    yaw: bool = False
    """True if the action has a fourth column ``delta_yaw``: the turn during one control period [rad]."""


class Limits(Strict):
    """Limits that the gate clamps to and that validation checks."""

    linear_m_s: float = Field(gt=0)
    """Largest speed in the plane, sqrt(vx^2 + vy^2) [m/s]."""
    angular_rad_s: float = Field(gt=0)
    """Largest yaw rate [rad/s]."""
    linear_acceleration_m_s2: float = Field(gt=0)
    """Largest acceleration in the plane [m/s^2]."""
    angular_acceleration_rad_s2: float = Field(gt=0)
    """Largest angular acceleration [rad/s^2]."""
    linear_jerk_m_s3: float | None = Field(default=None, gt=0)
    """Largest change of acceleration in the plane [m/s^3]; None: not limited."""
    angular_jerk_rad_s3: float | None = Field(default=None, gt=0)
    """Largest change of angular acceleration [rad/s^3]; None: not limited."""


class GripperThresholds(Strict):
    """Hysteresis on a gripper position or probability in 0 .. 1."""

    close_above: float = Field(gt=0, lt=1)
    """Closed above this value."""
    open_below: float = Field(gt=0, lt=1)
    """Open below this value; between the two the gripper keeps its state."""

    @model_validator(mode="after")
    def _ordered(self) -> GripperThresholds:
        if self.open_below > self.close_above:
            raise ValueError(f"open_below {self.open_below} is above close_above {self.close_above}")
        return self

    def decide(self, value: float, closed: bool) -> bool:
        """Return whether the gripper should be closed, given a position or probability and its state before."""
        if value > self.close_above:
            return True
        if value < self.open_below:
            return False
        return closed


_NO_GRIPPER = GripperThresholds(close_above=0.5, open_below=0.5)


class Contract(Strict):
    """Description of one robot. Load it with :meth:`load`; it is immutable and compares by value."""

    contract_version: Literal[1]
    """Version of this format."""
    robot: str = Field(min_length=1)
    """Name for people; robots of the same build share it."""
    base: Literal["holonomic", "differential"]
    """holonomic: moves in x and y; differential: cannot strafe."""
    control_rate_hz: float = Field(gt=0, le=1000)
    """One observation and one action per period of 1 / ``control_rate_hz`` [Hz]."""
    cameras: dict[str, CameraContract]
    """In this order wherever cameras are stacked; the first is required and sets the pace."""
    state: StateContract
    """Sources of position and gripper."""
    action: ActionContract
    """Meaning of the action."""
    limits: Limits
    """Limits of speed, acceleration and jerk."""
    keep_in: list[Annotated[list[float], Field(min_length=2, max_length=2)]] | None = None
    """Corners ``[x, y]`` of the area the gate keeps the robot in [m], in the odometry frame; None: anywhere."""
    obstacles: Obstacles | None = None
    """Sensors of distances, and how the gate keeps the robot away from what they see; None: it does not."""
    gripper: GripperThresholds | Literal["none"]
    """When a gripper counts as open or closed; none: the robot has no gripper, and its columns stay 0."""

    gripper_driver: GripperDriver | None = None
    """Interface of a gripper that does not speak ``gripper/command``, for gripper_adapter_node; None: it does."""

    @field_validator("cameras")
    @classmethod
    def _are_usable(cls, cameras: dict[str, CameraContract]) -> dict[str, CameraContract]:
        if not cameras:
            raise ValueError("a robot needs at least one camera")
        for name in cameras:
            if not _CAMERA_NAME.fullmatch(name):
                raise ValueError(f"camera '{name}': use letters, digits and underscores, and begin with a letter")
            if name in (ODOMETRY, GRIPPER_STATE, COMMAND):
                raise ValueError(f"camera '{name}' has the name of another stream; choose another name")
        first = next(iter(cameras))
        if not cameras[first].required:
            raise ValueError(f"the first camera, '{first}', must be required")
        return cameras

    @field_validator("keep_in")
    @classmethod
    def _encloses_an_area(cls, corners: list[list[float]] | None) -> list[list[float]] | None:
        if corners is not None:
            Polygon(corners)
        return corners

    @property
    def camera_names(self) -> tuple[str, ...]:
        """Names of the cameras, in the order in which they are stacked."""
        return tuple(self.cameras)

    @property
    def first_camera(self) -> str:
        """Name of the first camera: it is required, it sets the pace, and ``/annotations/target`` refers to it."""
        return next(iter(self.cameras))

    @property
    def turns(self) -> bool:
        """True if actions turn the robot's frame against the odometry's."""
        return self.base == "differential" or self.action.yaw

    @property
    def has_gripper(self) -> bool:
        """False if the robot has no gripper: then nothing waits for its state, and its columns stay 0."""
        return self.gripper != "none"

    @property
    def thresholds(self) -> GripperThresholds:
        """When the gripper counts as open or closed. Without a gripper the position is 0, which is open."""
        return self.gripper if isinstance(self.gripper, GripperThresholds) else _NO_GRIPPER

    @property
    def state_streams(self) -> tuple[str, ...]:
        """Streams that the state is made of."""
        return (ODOMETRY, GRIPPER_STATE) if self.has_gripper else (ODOMETRY,)

    @property
    def period_s(self) -> float:
        """Control period [s]."""
        return 1.0 / self.control_rate_hz

    @property
    def period_ns(self) -> int:
        """Control period [ns]."""
        return round(1e9 / self.control_rate_hz)

    @classmethod
    def load(cls, path: str | Path) -> Contract:
        """Read a YAML contract.

        Raises:
            ContractError: the file is missing, is not YAML, or a field is wrong; one line naming file and field.
        """
        missing = "no such contract file; config/robot.yaml is an example"
        return cls.from_dict(read_yaml(Path(path), ContractError, missing), origin=str(path))

    @classmethod
    def from_dict(cls, data: Any, origin: str = "contract") -> Contract:
        """Validate a parsed contract; ``origin`` names its source in errors.

        Raises:
            ContractError: a field is missing, unknown, of the wrong type or out of range.
        """
        if not isinstance(data, dict):
            raise ContractError(f"{origin}: a contract must be a mapping of fields, got {type(data).__name__}")
        try:
            return cls.model_validate(data)
        except ValidationError as error:
            raise ContractError(f"{origin}: {one_line(error)}") from None

    @classmethod
    def from_json(cls, text: str, origin: str = "contract") -> Contract:
        """Read the JSON copy that episodes and checkpoints carry. Raises :class:`ContractError`."""
        try:
            data = json.loads(text)
        except json.JSONDecodeError as error:
            raise ContractError(f"{origin}: not valid JSON: {error}") from None
        return cls.from_dict(data, origin)

    def to_json(self) -> str:
        """Serialise to one line of JSON that :meth:`from_json` reads back to an equal contract."""
        return self.model_dump_json()

    def to_yaml(self) -> str:
        """Serialise to YAML that :meth:`load` reads back to an equal contract."""
        return str(yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False))

    def compare(self, other: Contract) -> Comparison:
        """Compare with ``other``: conflicts in meaning, and limits that are stricter or looser here than there.

        Call it on the robot's contract with the one that a policy was trained under.
        """
        return compare(self.model_dump(mode="json"), other.model_dump(mode="json"))

    def differences(self, other: Contract) -> list[str]:
        """List the fields that differ in meaning, as ``field: mine != theirs``."""
        return list(self.compare(other).conflicts)

    def require_same(self, other: Contract, mine: str, theirs: str) -> Comparison:
        """Require that no field differs in meaning; ``mine`` and ``theirs`` name the two sources.

        Returns the comparison, whose stricter and looser limits the caller reports.

        Raises:
            ContractError: fields differ in meaning; one line that names them.
        """
        found = self.compare(other)
        if found.conflicts:
            raise ContractError(
                f"the contract of {mine} differs from the one of {theirs}: {'; '.join(found.conflicts)}. "
                "Use the contract it was made under, or make it again under this one"
            )
        return found


def one_line(error: ValidationError, whole: str = "contract") -> str:
    """Return the errors of a YAML document on one line; ``whole`` names the document itself."""
    problems = []
    for item in error.errors():
        field = ".".join(str(part) for part in item["loc"]) or whole
        shown = "" if item["type"] == "missing" or isinstance(item["input"], dict) else f" (got {item['input']!r:.60})"
        problems.append(f"{field}: {item['msg'].removeprefix('Value error, ')}{shown}")
    return "; ".join(problems)
