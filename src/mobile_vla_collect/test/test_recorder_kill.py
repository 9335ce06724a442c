"""SIGKILL at random moments over DDS: nothing committed is lost, and at most a second of the open episode."""

import pytest
from kills import kill_many

pytestmark = pytest.mark.alone


def test_thirty_kills_lose_nothing_committed_and_at_most_a_second_of_the_open_episode(tmp_path):
    kills = kill_many(tmp_path, 30, seed=7, at_once=6)
    assert len(kills) == 30
    assert all(kill.lost_nothing_committed for kill in kills)
    assert [finding for kill in kills for finding in kill.findings] == []
    # A starved process takes its steps late; those it took must be there all the same. The benchmark counts seconds.
    assert all(kill.lost_s < 1.0 or kill.lost_steps <= 0 for kill in kills), kills
    assert sum(kill.open_s > 0.5 for kill in kills) >= 10, "most kills hit an episode that had steps"
