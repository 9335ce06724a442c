import numpy as np
import pytest

from mobile_vla_sim.world.furniture import KINDS, NoRoomError, door_zone, draw_furniture, front_zone
from mobile_vla_sim.world.plans import (
    COLLECTION_FAMILIES,
    FAMILIES,
    HALF_SIZE_M,
    HELD_OUT_FAMILIES,
    ROOMS,
    draw_plan,
)
from mobile_vla_sim.world.scene import Stream, families_of, scene_seed


def plans(family, count=40):
    return [draw_plan(np.random.default_rng(seed), family) for seed in range(count)]


def test_the_same_seed_draws_the_same_plan_and_another_seed_another():
    for family in FAMILIES:
        first, again, other = (draw_plan(np.random.default_rng(seed), family) for seed in (1, 1, 2))
        assert first == again != other


@pytest.mark.parametrize("family", FAMILIES)
def test_every_room_is_found_in_every_corner_of_the_flat(family):
    corners = {(room.name, *(value > 0 for value in room.area.centre)) for plan in plans(family) for room in plan.rooms}
    assert len(corners) == len(ROOMS) * 4


@pytest.mark.parametrize("family", FAMILIES)
def test_rooms_and_halls_cover_the_flat_and_walls_leave_doors_that_the_robot_fits_through(family):
    random = np.random.default_rng(0)
    for plan in plans(family):
        assert sorted(room.name for room in plan.rooms) == sorted(ROOMS)
        for x, y in random.uniform(-HALF_SIZE_M, HALF_SIZE_M, size=(50, 2)):
            owners = [room for room in plan.rooms if room.area.contains(x, y)]
            assert owners or any(hall.contains(x, y) for hall in plan.halls)
        assert min(max(door.size) for door in plan.doors) > 0.75
        assert not any(wall.overlaps(door) for wall in plan.walls for door in plan.doors if min(door.size) < 0.2)


def test_nothing_is_collected_on_the_families_that_trials_run_on():
    assert not set(COLLECTION_FAMILIES) & set(HELD_OUT_FAMILIES)
    for stream in Stream:
        families = families_of(scene_seed(stream, 5, 6))
        assert families == (HELD_OUT_FAMILIES if stream is Stream.EVALUATION else COLLECTION_FAMILIES)


@pytest.mark.parametrize("family", FAMILIES)
def test_furniture_stands_apart_within_its_room_and_leaves_doors_and_the_drawer_free(family):
    furnished = 0
    for seed in range(60):
        random = np.random.default_rng(seed)
        plan = draw_plan(random, family)
        try:
            pieces = draw_furniture(random, plan)
        except NoRoomError:
            continue
        furnished += 1
        assert sorted(piece.kind for piece in pieces) == sorted(KINDS)
        for index, piece in enumerate(pieces):
            area = plan.room(piece.room).area
            assert area.contains(piece.footprint.x0, piece.footprint.y0)
            assert area.contains(piece.footprint.x1, piece.footprint.y1)
            assert not any(piece.footprint.overlaps(other.footprint) for other in pieces[:index])
            assert not any(piece.footprint.overlaps(door_zone(door)) for door in plan.doors)
        cabinet = next(piece for piece in pieces if piece.kind == "cabinet")
        zone = front_zone(cabinet, KINDS["cabinet"].front_m)
        assert not any(zone.overlaps(piece.footprint) for piece in pieces if piece is not cabinet)
    assert furnished > 10


def test_streams_series_and_indices_never_share_a_scene_seed():
    seeds = {scene_seed(stream, seed, index) for stream in Stream for seed in range(20) for index in range(20)}
    assert len(seeds) == len(Stream) * 400
    assert all(-(2**63) <= seed < 2**63 for seed in seeds)
    with pytest.raises(ValueError, match="index 268435456 is outside"):
        scene_seed(Stream.COLLECTION, 0, 1 << 28)
