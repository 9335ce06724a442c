"""The mapping file: which topics of a recording are what, how to cut it into episodes, and how to label them."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from mobile_vla_data.contract import TRANSFORMS, Contract, one_line
from mobile_vla_data.convert.errors import ConvertError
from mobile_vla_data.episode.metadata import Category, Outcome, Source
from mobile_vla_data.gripper_driver import position_of, require_range
from mobile_vla_data.sampling.commands import COMMAND_MAX_AGE_S
from mobile_vla_data.yaml_file import read_yaml


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class GripperTopic(_Strict):
    """Source of a gripper position: a number, a joint of JointState or JointTrajectory, or our own messages."""

    topic: str = Field(min_length=1)
    joint: str | None = None
    """Name of the joint, for messages with several."""
    index: int = Field(default=0, ge=0)
    """Which number, for arrays."""
    open: float = 0.0
    """Value of the open gripper, in the message's unit."""
    closed: float = 1.0
    """Value of the closed gripper, in the message's unit."""

    @model_validator(mode="after")
    def _differ(self) -> GripperTopic:
        require_range(self.open, self.closed)
        return self

    def fraction(self, value: float) -> float:
        """Return how far the gripper is closed, 0 open .. 1 closed; a value beyond either end counts as that end."""
        return position_of(value, self.open, self.closed)


class OdometryTopic(_Strict):
    """Source of the position: Odometry, PoseStamped, PoseWithCovarianceStamped, or frames of TF."""

    topic: str = Field(min_length=1)
    parent: str | None = None
    """Frame in which the position is expressed, for TF."""
    child: str | None = None
    """The robot's frame, for TF."""

    @model_validator(mode="after")
    def _both_frames(self) -> OdometryTopic:
        if (self.parent is None) != (self.child is None):
            raise ValueError("give both parent and child, or neither")
        return self


class VelocityTopic(_Strict):
    """Source of the velocity command: Twist or TwistStamped."""

    topic: str = Field(min_length=1)
    max_age_s: float = Field(default=COMMAND_MAX_AGE_S, gt=0)
    """A command older than this is silence [s]. Where it is left out, a raw recording's own value comes first."""
    when_silent: Literal["drop", "stop"] = "drop"
    """drop: a tick without a fresh command is dropped, as the recorder does; stop: silence means zero velocity."""


class Cut(_Strict):
    """Rules for cutting a recording into episodes."""

    by: Literal["bag", "idle", "marker"] = "bag"
    """bag: one episode for each recording; idle: pauses end an episode; marker: a topic says so."""
    marker: str = "recorder/status"
    """Topic of the marker: RecorderStatus, Bool (true: an episode is open) or String (its instruction; empty: none)."""
    idle_s: float = Field(default=3.0, gt=0)
    """Pauses without a movement command longer than this end an episode [s]."""
    lead_s: float = Field(default=0.5, ge=0)
    """Part of the pause before and after an episode that belongs to it [s]."""
    min_steps: int = Field(default=5, ge=1)
    """Shorter episodes are left out."""

    @model_validator(mode="after")
    def _do_not_overlap(self) -> Cut:
        if self.by == "idle" and self.idle_s < 2 * self.lead_s:
            raise ValueError(f"idle_s {self.idle_s} is less than twice lead_s {self.lead_s}: episodes would overlap")
        return self


class Labels(_Strict):
    """Labels of every episode; those in the recording itself come first."""

    language: str | None = None
    """The instruction."""
    task: str | None = None
    """Name of the task; by default made from the instruction."""
    category: Category | None = None
    outcome: Outcome = "unlabelled"
    source: Source = "teleop"
    environment: dict[str, Any] = Field(default_factory=dict)


class BagMapping(_Strict):
    """A mapping file. Load it with :meth:`load`; topics are compared without their leading slash."""

    mapping_version: Literal[1]
    cameras: dict[str, str] = Field(min_length=1)
    """Camera of the contract -> topic of Image or CompressedImage."""
    odometry: OdometryTopic
    gripper_state: GripperTopic | None = None
    """None: the gripper counts as open all the time."""
    velocity: VelocityTopic
    gripper_command: GripperTopic | None = None
    driver: str | None = None
    """Topic of GateStatus or Bool: whether a human drives. Only for episodes that a policy drove."""
    ticks: str | None = "recorder/tick"
    """Topic of Header with the recorder's control ticks. Left out or not in the bag: ticks at the contract's rate."""
    stamps: Literal["header", "arrival"] = "header"
    """When a value was measured: its header says so, or, for publishers that do not stamp, the time of its arrival."""
    episodes: Cut = Cut()
    labels: Labels = Labels()

    @property
    def outline(self) -> frozenset[str]:
        """Topics, without a leading slash, from which ticks and episodes are known."""
        found = [self.ticks]
        if self.episodes.by == "marker":
            found.append(self.episodes.marker)
        elif self.episodes.by == "idle":
            found += [self.velocity.topic, self.gripper_command.topic if self.gripper_command else None]
        return frozenset(same_topic(topic) for topic in found if topic)

    @classmethod
    def load(cls, path: str | Path) -> BagMapping:
        """Read a YAML mapping.

        Raises:
            ConvertError: the file is missing, is not YAML, or a field is wrong.
        """
        document = read_yaml(Path(path), ConvertError, "no such mapping file; config/rosbag_mapping.yaml is an example")
        try:
            return cls.model_validate(document)
        except ValidationError as error:
            raise ConvertError(f"{path}: {one_line(error, 'mapping')}") from None

    @classmethod
    def of_contract(cls, contract: Contract) -> BagMapping:
        """Return the mapping of a recording whose topics are those of the contract."""
        return cls(
            mapping_version=1,
            cameras={name: camera.topic for name, camera in contract.cameras.items()},
            odometry=OdometryTopic(topic=TRANSFORMS, parent=contract.state.odometry_frame, child=contract.action.frame)
            if contract.state.pose == "tf"
            else OdometryTopic(topic=contract.state.odometry_topic),
            gripper_state=GripperTopic(topic=contract.state.gripper_topic) if contract.has_gripper else None,
            velocity=VelocityTopic(topic="cmd_vel"),
            gripper_command=GripperTopic(topic="gripper/command") if contract.has_gripper else None,
            driver="gate/status",
            episodes=Cut(by="marker"),
        )

    def with_max_age(self, recorded_s: float | None) -> BagMapping:
        """Return the mapping with the recorder's own ``velocity.max_age_s`` [s], unless the file sets one."""
        if recorded_s is None or "max_age_s" in self.velocity.model_fields_set:
            return self
        return self.model_copy(update={"velocity": self.velocity.model_copy(update={"max_age_s": recorded_s})})


def same_topic(name: str) -> str:
    """Return a topic's name without its leading slash."""
    return name.lstrip("/")
