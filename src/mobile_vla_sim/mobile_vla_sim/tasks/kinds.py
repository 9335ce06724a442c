"""The kinds of tasks that the catalogue is made of."""

from __future__ import annotations

from dataclasses import dataclass

from mobile_vla_sim.tasks.goals import BeInRoom, BeNear, Hold, PutOn, SlideDrawer
from mobile_vla_sim.world.furniture import SURFACES
from mobile_vla_sim.world.objects import OBJECTS
from mobile_vla_sim.world.scene import Needs, Scene

TIME_LIMIT_S = 15.0
"""1.5 times the longest demonstration."""


@dataclass(frozen=True)
class GoToRoom:
    """Go to a room from another one, whether something is carried or not."""

    name: str
    room: str
    far: bool = True
    time_limit_s: float = TIME_LIMIT_S

    @property
    def only(self) -> str:
        return self.room

    def needs(self) -> Needs:
        return Needs()

    def goals(self, scene: Scene) -> list[BeInRoom]:
        return [BeInRoom(self.room)]


@dataclass(frozen=True)
class GoToThing:
    """Go to any object or piece of furniture."""

    name: str
    only: str = ""
    far: bool = False
    time_limit_s: float = TIME_LIMIT_S

    def needs(self) -> Needs:
        return Needs()

    def goals(self, scene: Scene) -> list[BeNear]:
        objects = [BeNear(name, scene.object(name).room) for name in OBJECTS if name != scene.held]
        return objects + [BeNear(kind, scene.piece(kind).room) for kind in SURFACES]


@dataclass(frozen=True)
class PickUp:
    """Pick an object up."""

    name: str
    thing: str = ""
    """Empty: any."""
    room: str = ""
    """Room that the object lies in; empty: any. Only with ``thing``."""
    far: bool = False
    time_limit_s: float = TIME_LIMIT_S

    @property
    def only(self) -> str:
        return self.thing

    def needs(self) -> Needs:
        return Needs(holding=False, rooms=((self.thing, self.room),) if self.room else ())

    def goals(self, scene: Scene) -> list[Hold]:
        lying = [scene.object(name) for name in ((self.thing,) if self.thing else OBJECTS) if name != scene.held]
        return [Hold(item.name, item.room, item.furniture) for item in lying]


@dataclass(frozen=True)
class Place:
    """Put what is carried on a piece of furniture."""

    name: str
    surface: str = ""
    """Empty: any."""
    far: bool = False
    time_limit_s: float = TIME_LIMIT_S

    @property
    def only(self) -> str:
        return self.surface

    def needs(self) -> Needs:
        return Needs(holding=True)

    def goals(self, scene: Scene) -> list[PutOn]:
        kinds = (self.surface,) if self.surface else SURFACES
        return [PutOn(scene.held, kind, scene.piece(kind).room) for kind in kinds]


@dataclass(frozen=True)
class UseDrawer:
    """Open or close the cabinet's drawer."""

    name: str
    opens: bool
    room: str = ""
    """Room of the cabinet; empty: any."""
    far: bool = False
    time_limit_s: float = TIME_LIMIT_S

    @property
    def only(self) -> str:
        return "drawer"

    def needs(self) -> Needs:
        return Needs(cabinet_room=self.room, drawer_open=not self.opens, holding=False)

    def goals(self, scene: Scene) -> list[SlideDrawer]:
        return [SlideDrawer(self.opens, scene.piece("cabinet").room)]
