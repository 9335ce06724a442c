"""A day of collecting in a real browser, against the launched simulation: no terminal after the launch."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path

import axe
import numpy as np
import pytest
from chromium import BrowserError, Chromium
from dashboard_stage import GAMEPAD
from launched_stage import LaunchedPage

from mobile_vla_data.episode.reader import Episode
from mobile_vla_ros.testing import unique_domain, wait_for

pytestmark = pytest.mark.alone


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("collect") / "episodes"


@pytest.fixture(scope="module")
def page(browser: Chromium, dataset: Path) -> Iterator[LaunchedPage]:
    arguments = ("sim:=true", "teleop:=web", f"dataset:={dataset}")
    with unique_domain():
        page = LaunchedPage(dataset.parent, browser, "collect.launch.py", *arguments)
        try:
            yield page
        finally:
            page.close()


def outcome(dataset: Path, number: int = 0) -> str:
    path = dataset / f"episode_{number:06d}.h5"
    if not path.exists():
        return ""
    with Episode.open(path) as episode:
        return episode.outcome


def seek(page: LaunchedPage, step: int) -> None:
    """Move the playhead."""
    moved = f"scrub.value = {step}; scrub.dispatchEvent(new Event('input'));"
    page.browser.evaluate(f"((scrub) => {{ {moved} }})(document.querySelector('#scrub')); true")


@contextmanager
def key(page: LaunchedPage) -> Iterator[None]:
    """Drive forward by a key."""
    page.browser.key("keyDown", "ArrowUp", "ArrowUp")
    yield
    page.browser.key("keyUp", "ArrowUp", "ArrowUp")


@contextmanager
def gamepad(page: LaunchedPage) -> Iterator[None]:
    """Drive forward by a gamepad, whose deadman was released before."""
    page.browser.evaluate(f"{GAMEPAD} gamepad.connected = true")
    page.browser.wait_until("gamepadhint.checkVisibility()")
    page.browser.evaluate("gamepad.buttons[4].pressed = true; gamepad.axes[1] = -1")
    yield
    page.browser.evaluate("gamepad.buttons[4].pressed = false; gamepad.connected = false")


@contextmanager
def finger(page: LaunchedPage) -> Iterator[None]:
    """Drive forward by a finger on the pad."""
    page.browser.evaluate("pad.scrollIntoView({ block: 'center' })")
    page.browser.touch("touchStart", page.browser.place("#pad", (0.5, 0.1)))
    yield
    page.browser.touch("touchEnd")


def record(
    page: LaunchedPage,
    steps: int,
    driving: Callable[[LaunchedPage], AbstractContextManager[None]] = key,
    start: Callable[[], None] | None = None,
) -> None:
    """Start the next episode of the plan and drive it, by keys alone unless others are given."""
    page.browser.wait_until("!document.querySelector('#proposal').hidden", 60)
    page.start_episode(start)
    with driving(page):
        # On a busy machine many steps pass before the robot follows: count from there.
        page.browser.wait_until("parseFloat(document.querySelector('#vx').textContent) > 0.3", 60)
        page.until_steps(page.steps() + steps)


def test_a_round_of_collecting_needs_no_terminal(page: LaunchedPage, dataset: Path) -> None:
    browser = page.browser
    page.click("#wheel")
    browser.wait_until("document.querySelector('#drive').classList.contains('driving')")
    browser.wait_until("!document.querySelector('#proposal').hidden", 60)
    proposed = page.text("#nextlanguage")
    scene = page.text("#scene")
    record(page, 14)
    assert page.text("#episode") == proposed
    page.tap("s", "KeyS")
    browser.wait_until("document.querySelector('#result').checkVisibility()", 60)
    with Episode.open(dataset / "episode_000000.h5") as episode:
        assert (episode.metadata.language, episode.outcome) == (proposed, "success")
        assert all(value.replace("_", " ") in scene for value in episode.metadata.environment.values())
        assert np.abs(episode.actions[:, :2]).max() > 0.01
    browser.wait_until("document.querySelectorAll('#episodes li').length === 1")
    assert proposed in page.text("#episodes li")
    # What is counted decides what comes next.
    browser.wait_until(f"document.querySelector('#nextlanguage').textContent !== {proposed!r}")
    assert "1" in page.text("#total")

    record(page, 11)
    page.tap("x", "KeyX")
    page.tap("x", "KeyX")
    browser.wait_until("document.querySelector('#waiting').checkVisibility()")
    assert [path.name for path in dataset.glob("*.h5")] == ["episode_000000.h5"]


def test_an_episode_is_played_back_from_its_file(page: LaunchedPage, dataset: Path) -> None:
    browser = page.browser
    browser.evaluate("document.addEventListener('playback', (event) => { window.began = event.detail; }); true")
    page.click(".episode")
    browser.wait_until("window.began?.id === 'episode_000000'")
    page.click("#playpause")
    seek(page, 7)
    browser.wait_until("document.querySelector('#playerstep').textContent.includes('7')")
    with Episode.open(dataset / "episode_000000.h5") as episode:
        steps = episode.num_steps
        for place, camera in enumerate(episode.cameras):
            shown = f"""(() => {{
              const canvas = document.querySelectorAll('#playerimages canvas')[{place}];
              return [...canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data];
            }})()"""
            wanted = episode.image(camera, 7).astype(int)

            def same(shown: str = shown, wanted: np.ndarray = wanted) -> bool:
                pixels = np.array(browser.evaluate(shown), dtype=int).reshape(*wanted.shape[:2], 4)[..., :3]
                return bool(np.abs(pixels - wanted).mean() < 3.0)

            wait_for(same, what=f"the image of step 7 of {camera}")
    assert page.text("#playerstep") == f"step 7 of {steps - 1}"
    browser.wait_until("document.querySelectorAll('#traces canvas').length === 2")


def test_labels_are_corrected_and_an_episode_is_discarded_and_taken_back(page: LaunchedPage, dataset: Path) -> None:
    browser = page.browser
    page.click("[data-relabel=failure]")
    wait_for(lambda: outcome(dataset) == "failure", what="the new label in the file")
    browser.wait_until("document.querySelector('#episodes .outcome.failure') !== null")
    # The recorder counts again, too.
    browser.wait_until("document.querySelector('#progress').textContent.includes('1 failed')")
    page.click("#undo")
    wait_for(lambda: outcome(dataset) == "success", what="the old label in the file")

    browser.wait_until("document.querySelector('[data-relabel=success]').getAttribute('aria-pressed') === 'true'")
    page.click("#player details > summary")
    page.click("#discardepisode")
    wait_for(lambda: not list(dataset.glob("*.h5")), what="an empty folder")
    browser.wait_until("document.querySelectorAll('#episodes li').length === 0")
    page.click("#undo")
    wait_for(lambda: outcome(dataset) == "success", what="the episode back in its folder")
    browser.wait_until("document.querySelectorAll('#episodes li').length === 1")


def test_the_target_is_clicked_and_an_episode_is_trimmed(page: LaunchedPage, dataset: Path) -> None:
    browser, path = page.browser, dataset / "episode_000000.h5"
    page.click(".episode")
    # What is loaded later moves what is below it, and a click beside a button is lost.
    browser.wait_until("document.querySelectorAll('#traces canvas').length === 2")
    browser.evaluate("document.querySelector('#player details').open = true")
    page.click("#mark")
    browser.wait_until("document.querySelector('#markhint').checkVisibility()")
    page.click("#playerimages canvas", (0.3, 0.7))

    def target() -> list[int]:
        with Episode.open(path) as episode:
            return [] if episode.target is None else episode.target[0].tolist()

    wait_for(target, what="the target in the file")
    assert target() == pytest.approx([0.3 * 224, 0.7 * 224], abs=2)
    with Episode.open(path) as episode:
        before = episode.num_steps
    seek(page, 2)
    page.click("#trimfirst")
    seek(page, before - 4)
    page.click("#trimlast")
    page.click("#trim")

    def steps() -> int:
        with Episode.open(path) as episode:
            return episode.num_steps

    wait_for(lambda: steps() == before - 5, what="the trimmed episode")
    page.click("#undo")
    wait_for(lambda: steps() == before, what="the whole episode")


def test_a_narrow_phone_shows_an_episode_without_scrolling_sideways(page: LaunchedPage) -> None:
    page.click(".episode")
    page.browser.wait_until("document.querySelectorAll('#traces canvas').length === 2")
    page.narrow(360)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_on_an_open_episode(page: LaunchedPage, scheme: str) -> None:
    page.browser.evaluate("document.querySelectorAll('details').forEach((each) => { each.open = true; }); true")
    assert axe.findings(page.browser, scheme) == []


def test_an_episode_that_went_wrong_is_kept_as_a_failure_by_one_key(page: LaunchedPage, dataset: Path) -> None:
    record(page, 11, gamepad)
    page.tap("f", "KeyF")
    wait_for(lambda: outcome(dataset, 1) == "failure", 60, "the failed episode in its file")
    page.browser.wait_until("document.querySelector('#episodes .outcome.failure') !== null")


#: JavaScript: choose the last task of the list, at once as a person does, and return it.
CHOOSE_LAST = """(() => {
  const chosen = nexttask.lastElementChild.value;
  nexttask.value = chosen;
  nexttask.dispatchEvent(new Event("change"));
  return chosen;
})()"""
#: JavaScript: answers about the plan's own choice take a second longer.
SLOW_PLAN = """(() => {
  const ask = window.fetch;
  window.fetch = async (where, ...more) => {
    const answer = await ask(where, ...more);
    if (String(where).endsWith("?task=")) await new Promise((resolve) => setTimeout(resolve, 1000));
    return answer;
  };
  window.restore = () => { window.fetch = ask; };
})()"""


def test_a_task_that_is_chosen_stays_when_an_answer_about_another_comes_late(page: LaunchedPage) -> None:
    browser = page.browser
    before = page.text("#nextlanguage")
    browser.evaluate(SLOW_PLAN)
    try:
        browser.evaluate("nexttask.dispatchEvent(new Event('change')); true")
        chosen = browser.evaluate(CHOOSE_LAST)
        browser.wait_until(f"nextlanguage.textContent !== {json.dumps(before)}")
        time.sleep(1.5)
        assert page.text("#nextlanguage") != before and browser.evaluate("nexttask.value") == chosen
    finally:
        browser.evaluate("restore(); nexttask.value = ''; nexttask.dispatchEvent(new Event('change')); true")
        browser.wait_until(f"nextlanguage.textContent === {json.dumps(before)}")


def discarded(page: LaunchedPage) -> bool:
    """Discard the open episode by two touches.

    On a busy machine the second may come too late to confirm: as an operator, touch twice again.
    """
    for words in ("Really discard?", "Discard"):
        page.touch("#discard")
        page.browser.wait_until(f"discard.textContent === '{words}'")
    with suppress(BrowserError):
        page.browser.wait_until("waiting.checkVisibility()", 5)
    return bool(page.browser.evaluate("waiting.checkVisibility()"))


def test_a_round_on_a_phone_needs_no_keys(page: LaunchedPage, dataset: Path) -> None:
    browser = page.browser
    with browser.phone(390, 844):
        before = page.text("#nextlanguage")
        task = browser.evaluate(CHOOSE_LAST)
        browser.wait_until(f"nextlanguage.textContent !== {json.dumps(before)}")

        page.start_episode(lambda: page.touch("#start button"))
        wait_for(lambda: discarded(page), 60, "the discarded episode")

        record(page, 11, finger, lambda: page.touch("#start button"))
        page.touch("[data-outcome=success]")
        wait_for(lambda: outcome(dataset, 2) == "success", 60, "the episode in its file")
    with Episode.open(dataset / "episode_000002.h5") as episode:
        assert episode.metadata.task == task and np.abs(episode.actions[:, :2]).max() > 0.01


def test_no_script_of_the_page_has_failed(page: LaunchedPage) -> None:
    assert page.browser.failures == []
