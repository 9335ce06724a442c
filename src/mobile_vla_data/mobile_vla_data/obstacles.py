"""The contract's part about obstacles: which sensors see them, and how near the robot may come."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from mobile_vla_data.polygon import Polygon


class Strict(BaseModel):
    """A group of the contract: unknown fields, wrong types and numbers that are not finite are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class ObstacleSensor(Strict):
    """A sensor of distances, and where it is on the robot."""

    topic: str = Field(min_length=1)
    """Topic of its messages."""
    type: Literal["scan", "range"] = "scan"
    """scan: sensor_msgs/LaserScan; range: sensor_msgs/Range (ultrasonic, infrared, time of flight)."""
    x_m: float = 0.0
    """Position in the robot's frame, forward [m]."""
    y_m: float = 0.0
    """Position in the robot's frame, left [m]."""
    yaw_rad: float = 0.0
    """Direction in which it looks, 0 forward, counted to the left [rad]."""
    max_age_s: float = Field(gt=0)
    """A measurement made longer ago than this is stale, and the robot stops [s]."""
    invalid_is_free: bool = False
    """true: its driver sends 0.0, NaN or a value beyond its limits where nothing is in range; false: such values are no
    measurements."""


class Obstacles(Strict):
    """How the gate keeps the robot from running into things."""

    sensors: list[ObstacleSensor] = Field(min_length=1)
    """Every one of them must deliver: the robot stops while one is silent."""
    footprint: list[Annotated[list[float], Field(min_length=2, max_length=2)]]
    """Corners ``[x, y]`` of the robot's outline in its own frame [m], with all that sticks out."""
    stop_distance_m: float = Field(ge=0.02)
    """The outline comes no nearer to an obstacle than this [m]."""
    slow_time_s: float = Field(default=1.0, gt=0)
    """The robot slows down so that it would reach the stop distance no sooner than this [s]."""
    reaction_s: float = Field(default=0.2, ge=0)
    """Delay until the base follows a command [s]."""

    @field_validator("footprint")
    @classmethod
    def _encloses_an_area(cls, corners: list[list[float]]) -> list[list[float]]:
        Polygon(corners)
        return corners

    @field_validator("sensors")
    @classmethod
    def _have_topics_of_their_own(cls, sensors: list[ObstacleSensor]) -> list[ObstacleSensor]:
        topics = [sensor.topic for sensor in sensors]
        if len(set(topics)) < len(topics):
            raise ValueError(f"two sensors have the same topic: {', '.join(topics)}")
        return sensors
