from collections import Counter

from mobile_vla_sim.tasks.catalogue import TASKS
from mobile_vla_sim.tasks.draw import draw
from mobile_vla_sim.tasks.schedule import Schedule, compatible


def slots(tasks, plan, count):
    schedule = Schedule(tasks, plan)
    return [schedule.slot(index) for index in range(count)]


def test_a_thousand_episodes_hold_each_task_as_often_as_the_plan_wants(plan):
    found = Counter(slot.tasks[slot.place] for slot in slots(tuple(TASKS), plan, plan.episodes))
    assert found == {name: task.episodes for name, task in plan.tasks.items()}


def test_every_scene_is_demonstrated_under_at_least_two_instructions(plan):
    groups = {}
    for slot in slots(tuple(TASKS), plan, 400):
        groups.setdefault(slot.group, []).append(slot)
    assert sorted(groups) == list(range(len(groups)))
    for group in groups.values():
        assert 2 <= len(group) <= 3
        assert [slot.place for slot in group] == list(range(len(group)))
        assert len({slot.tasks for slot in group}) == 1
    for group in list(groups.values())[:8]:
        assignments = draw(group[0].group, group[0].tasks, plan)
        assert len({assignment.language for assignment in assignments}) == len(assignments)


def test_tasks_that_exclude_each_other_are_not_grouped(plan):
    assert not compatible("open_drawer", "close_drawer")
    assert not compatible("go_to_kitchen", "go_to_kitchen")
    assert not compatible("pick_up_object", "place_object")
    assert compatible("pick_up_object", "pick_up_object")
    assert compatible("place_object", "go_to_kitchen")


def test_a_task_that_goes_with_no_other_gets_scenes_of_its_own(plan):
    assert [slot.group for slot in slots(("go_to_kitchen",), plan, 4)] == [0, 1, 2, 3]
    assert [slot.tasks for slot in slots(("pick_up_object",), plan, 2)] == [("pick_up_object",) * 2] * 2


def test_a_slot_depends_on_nothing_but_its_index(plan):
    schedule = Schedule(tuple(TASKS), plan)
    backwards = [schedule.slot(index) for index in reversed(range(90))]
    assert slots(tuple(TASKS), plan, 90) == backwards[::-1]
