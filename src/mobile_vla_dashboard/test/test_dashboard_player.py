"""The player in a real browser, against the web application with real episodes: images that do not come, two pages."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from chromium import Chromium
from episodes_stage import Server, changed, record

from mobile_vla_dashboard.library import Library
from mobile_vla_data.episode.reader import Episode
from mobile_vla_data.storage.lock import EditLock
from mobile_vla_ros.testing import wait_for

pytestmark = pytest.mark.alone

STEP = "Number(document.querySelector('#playerstep').textContent.match(/\\d+/))"


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    folder = tmp_path / "dataset"
    folder.mkdir()
    for _ in range(3):
        record(folder, 160)
    return folder


@pytest.fixture
def page(server: Server, browser: Chromium) -> Iterator[Chromium]:
    browser.failures.clear()
    browser.open(f"{server.address}/#collect")
    browser.wait_until("document.querySelectorAll('#episodes button').length === 3")
    browser.evaluate("window.plays = []; document.addEventListener('playback', (e) => plays.push(e.detail.id)); true")
    yield browser
    assert browser.failures == []


def click(page: Chromium, selector: str) -> None:
    element = f"document.querySelector('{selector}')"
    page.wait_until(f"{element}?.checkVisibility() === true && !{element}.disabled")
    page.evaluate(f"document.querySelector('{selector}').click(); true")


def play(page: Chromium, number: int) -> None:
    click(page, f"[data-episode=episode_{number:06d}]")


def seek(page: Chromium, step: int) -> None:
    page.evaluate(f"scrub.value = {step}; scrub.dispatchEvent(new Event('input')); true")


def asked(page: Chromium) -> int:
    """Requests for images that the page has made so far."""
    return int(
        page.evaluate("performance.getEntriesByType('resource').filter((e) => e.name.includes('/frames/')).length")
    )


def shown(page: Chromium) -> bool:
    """Whether the first image of the player is not black."""
    script = """(() => {
      const pen = document.querySelector('#playerimages canvas').getContext('2d');
      return pen.getImageData(0, 0, 20, 20).data.some((value, index) => index % 4 < 3 && value > 40);
    })()"""
    return bool(page.evaluate(script))


def test_begin_here_after_a_pause_keeps_from_the_step_that_is_shown(page: Chromium) -> None:
    play(page, 2)
    for step in (3, 8, 15):
        page.wait_until(f"{STEP} >= {step}")
        # In one turn of the page, so that nothing is played in between.
        said = page.evaluate("playpause.click(); trimfirst.click(); [playerstep.textContent, kept.textContent]")
        at = said[0].split()[1]
        assert said[1].startswith(f"Steps {at} to 159 are kept")
        page.evaluate("playpause.click(); true")


def test_images_that_do_not_come_are_asked_for_seldom_and_named_and_play_once_they_do(
    page: Chromium, dataset: Path
) -> None:
    path, away = dataset / "episode_000001.h5", dataset / "away"
    path.rename(away)
    page.evaluate("performance.setResourceTimingBufferSize(5000); true")
    play(page, 1)
    page.wait_until("document.querySelector('#playerproblem').checkVisibility()")
    assert "no episode 'episode_000001'" in page.evaluate("playerproblem.textContent")
    before = asked(page)
    page.evaluate("new Promise((resolve) => setTimeout(resolve, 2500))")
    # Two cameras, a few blocks, a second and more apart; not one for each frame of the screen.
    assert asked(page) - before <= 24
    assert page.evaluate("plays") == [] and not shown(page)
    away.rename(path)
    page.wait_until(f"{STEP} >= 2", 20)
    page.wait_until("!document.querySelector('#playerproblem').checkVisibility()")
    assert shown(page)


def test_a_paused_player_shows_its_image_once_it_comes(page: Chromium, dataset: Path) -> None:
    path, away = dataset / "episode_000000.h5", dataset / "away"
    play(page, 0)
    page.wait_until(f"{STEP} >= 1")
    page.evaluate("playpause.click(); true")
    path.rename(away)
    seek(page, 140)
    page.wait_until("document.querySelector('#playerproblem').checkVisibility()")
    away.rename(path)
    page.wait_until(f"!playerproblem.checkVisibility() && {STEP} === 140", 20)


def test_images_that_hang_leave_a_connection_for_stop(page: Chromium, monkeypatch: pytest.MonkeyPatch) -> None:
    answer = threading.Event()
    monkeypatch.setattr(Library, "frames", lambda *_: (answer.wait(60), b"")[1])
    monkeypatch.setattr(Library, "episode", lambda *_: (answer.wait(60), {})[1])
    try:
        for number in (0, 1, 2, 0, 1, 2):
            play(page, number)
            for step in (40, 80, 120):
                seek(page, step)
        page.evaluate("new Promise((resolve) => setTimeout(resolve, 300))")
        took_ms = page.evaluate(
            "((began) => fetch('/healthz').then(() => performance.now() - began))(performance.now())"
        )
        assert took_ms < 2000
    finally:
        answer.set()


def target(dataset: Path, number: int) -> Any:
    with Episode.open(dataset / f"episode_{number:06d}.h5") as episode:
        return None if episode.target is None else episode.target[0].tolist()


def press(page: Chromium, key: str, *, shift: bool = False) -> None:
    for kind in ("keyDown", "keyUp"):
        text = {"text": "\r"} if (key, kind) == ("Enter", "keyDown") else {}
        code = 13 if key == "Enter" else 0
        page.command(
            "Input.dispatchKeyEvent",
            type=kind,
            key=key,
            code=key,
            modifiers=8 if shift else 0,
            windowsVirtualKeyCode=code,
            **text,
        )


def test_the_target_is_marked_by_keys_and_the_first_mark_is_taken_back(page: Chromium, dataset: Path) -> None:
    play(page, 2)
    page.wait_until("document.querySelectorAll('#traces canvas').length === 2")
    page.evaluate("document.querySelector('#player details').open = true; mark.focus(); true")
    press(page, "Enter")
    page.wait_until("document.activeElement.tagName === 'CANVAS' && markhint.checkVisibility()")
    press(page, "ArrowRight", shift=True)
    for key in ("ArrowRight", "ArrowUp", "ArrowUp"):
        press(page, key)
    press(page, "Enter")
    wait_for(lambda: target(dataset, 2) == [112 + 11, 112 - 2], what="the target in the file")
    page.wait_until("document.activeElement.id === 'mark'")
    press(page, "Enter")
    press(page, "ArrowDown", shift=True)
    press(page, "Enter")
    wait_for(lambda: target(dataset, 2) == [112, 122], what="the other target")
    click(page, "#undo")
    wait_for(lambda: target(dataset, 2) == [123, 110], what="the target before")
    page.wait_until("!undone.checkVisibility()")

    play(page, 1)
    page.wait_until("playername.textContent === 'episode_000001'")
    page.evaluate("document.querySelector('#mark').click(); true")
    press(page, "Enter")
    wait_for(lambda: target(dataset, 1) == [112, 112], what="a first target")
    click(page, "#undo")
    wait_for(lambda: target(dataset, 1) is None, what="an episode without a target, as before")


def test_undo_stays_until_it_has_succeeded(page: Chromium, dataset: Path) -> None:
    play(page, 2)
    page.wait_until("playername.textContent === 'episode_000002'")
    page.evaluate("document.querySelector('#player details').open = true; discardepisode.click(); true")
    page.wait_until("undone.checkVisibility() && document.querySelectorAll('#episodes li').length === 2")
    with EditLock(dataset):
        click(page, "#undo")
        page.wait_until("toastwords.textContent.includes('is being edited by pid')")
        page.wait_until("!undo.disabled")
    assert page.evaluate("undone.checkVisibility()")
    click(page, "#undo")
    page.wait_until("document.querySelectorAll('#episodes li').length === 3 && !undone.checkVisibility()")
    assert (dataset / "episode_000002.h5").exists()


def test_a_page_follows_what_another_page_changes(page: Chromium, server: Server, dataset: Path) -> None:
    play(page, 1)
    page.wait_until(f"{STEP} >= 20")
    address = "/api/episodes/episode_000001"
    assert server.post(f"{address}/relabel", {"outcome": "failure"})["ok"]
    page.wait_until("document.querySelector('[data-episode=episode_000001] .outcome').textContent === 'Failure'")
    page.wait_until("document.querySelector('[data-relabel=failure]').getAttribute('aria-pressed') === 'true'")
    assert page.evaluate(STEP) >= 20
    assert server.post(f"{address}/trim", {"first": 5, "last": 14})["ok"]
    # It shows the file that is there, never a mix of two.
    page.wait_until("playerstep.textContent.endsWith('of 9')")
    page.wait_until("kept.textContent.includes('0 to 9')")
    assert server.post(f"{address}/discard", {})["ok"]
    page.wait_until("!player.checkVisibility() && document.querySelectorAll('#episodes li').length === 2")


def test_an_edit_of_what_is_no_longer_there_is_refused_and_the_page_loads_it_again(
    page: Chromium, dataset: Path
) -> None:
    play(page, 1)
    page.wait_until("document.querySelectorAll('#traces canvas').length === 2")
    page.evaluate("playpause.click(); true")
    # As another program would, of which the page hears nothing.
    path = dataset / "episode_000001.h5"
    path.write_bytes(path.read_bytes())
    page.evaluate("document.querySelector('[data-relabel=failure]').click(); true")
    page.wait_until("toastwords.textContent.includes('was changed elsewhere')")
    with Episode.open(path) as episode:
        assert episode.outcome == "success"
    page.wait_until("document.querySelector('[data-relabel=success]').getAttribute('aria-pressed') === 'true'")
    wait_for(
        lambda: (
            page.evaluate("document.querySelector('[data-relabel=failure]').click(); true")
            and _outcome(path) == "failure"
        ),
        what="the label, once the page has the new version",
    )


def test_labels_are_typed_and_taken_back(page: Chromium, dataset: Path) -> None:
    def labels() -> list[str]:
        with Episode.open(dataset / "episode_000002.h5") as episode:
            return [episode.metadata.language, episode.metadata.task, episode.metadata.category, episode.outcome]

    before = labels()
    play(page, 2)
    page.wait_until("document.querySelectorAll('#traces canvas').length === 2")
    page.evaluate("document.querySelector('#player details').open = true")
    page.evaluate("playerlanguage.value = '  open the drawer '; playertask.value = 'open_drawer'; true")
    page.evaluate("playercategory.value = 'manipulation'; true")
    click(page, "#relabel button")
    after = ["open the drawer", "open_drawer", "manipulation", "success"]
    wait_for(lambda: labels() == after, what="the labels in the file")
    page.wait_until("document.querySelector('[data-episode=episode_000002] b').textContent === 'open the drawer'")
    click(page, "#undo")
    wait_for(lambda: labels() == before, what="the labels before")
    page.wait_until("playerlanguage.value === 'go to the kitchen' && playercategory.value === 'navigation'")


def _outcome(path: Path) -> str:
    with Episode.open(path) as episode:
        return episode.outcome


def test_the_list_says_how_many_findings_there_are(page: Chromium, dataset: Path, server: Server) -> None:
    with changed(dataset / "episode_000002.h5") as file:
        file["actions"][3, 0] = np.nan
        file["observations/state"][5, 0] = np.nan
    count = len(server.get("/api/episodes")["episodes"][0]["findings"])
    assert count > 1
    page.open(f"{server.address}/#collect")
    page.wait_until(f"document.querySelector('#episodes .found')?.textContent.endsWith('(and {count - 1} more)')")
