"""SIGKILL at random moments over DDS: nothing committed is lost, and at most a second of the open episode."""

from kills import kill_many


def test_thirty_kills_lose_nothing_committed_and_at_most_a_second_of_the_open_episode(tmp_path):
    kills = kill_many(tmp_path, 30, seed=7, at_once=6)
    assert len(kills) == 30
    assert all(kill.lost_nothing_committed for kill in kills)
    assert [finding for kill in kills for finding in kill.findings] == []
    assert max(kill.lost_s for kill in kills) < 1.0
    assert sum(kill.open_s > 0.5 for kill in kills) >= 10, "most kills hit an episode that had steps"
