"""The Run view in a real browser, against the launched simulation and a policy with heatmaps."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import axe
import pytest
import said
import torch
from chromium import Chromium
from dashboard_stage import CONTRACT, speak
from launched_stage import LaunchedPage

from mobile_vla_policy.backbones.film import FilmSettings
from mobile_vla_policy.checkpoint import save_checkpoint
from mobile_vla_policy.model.head import HeadSettings
from mobile_vla_policy.model.lora import LoraSettings
from mobile_vla_policy.model.network import build_network
from mobile_vla_policy.model.settings import PolicySettings
from mobile_vla_policy.normalisation import Normalisation, Range
from mobile_vla_ros.testing import unique_domain

pytestmark = pytest.mark.alone

GO = "go to the kitchen"


def untrained(folder: Path) -> Path:
    """Write a checkpoint with random weights: it drives somewhere, and says where it sees what."""
    torch.manual_seed(0)
    settings = PolicySettings(
        backbone=FilmSettings(image_size=32, fine=8, coarse=16, words=16, blocks=1, plan_steps=10),
        lora=LoraSettings(enabled=False),
        head=HeadSettings(input_size=32, hidden_size=32, dropout=0.0, state="gripper", window=2),
    )
    ranges = Normalisation(Range((-0.03, -0.03), (0.03, 0.03)), Range((-3.0, -3.0), (3.0, 3.0)))
    network = build_network(settings, instructions=[GO, "open the drawer"]).eval()
    save_checkpoint(folder, network, settings, ranges, CONTRACT, {"steps": 0})
    return folder


@pytest.fixture(scope="module")
def page(browser: Chromium, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LaunchedPage]:
    folder = tmp_path_factory.mktemp("run")
    arguments = ("sim:=true", f"checkpoint:={untrained(folder / 'checkpoint')}", "device:=cpu")
    with unique_domain():
        page = LaunchedPage(folder, browser, "inference.launch.py", *arguments)
        try:
            page.open("run")
            browser.wait_until("!document.querySelector('#unfollow').disabled", 180)
            yield page
        finally:
            page.close()


def painted(canvas: str) -> str:
    """JavaScript: does a canvas show anything?"""
    element = f"document.querySelector('{canvas}')"
    return f"((c) => c.getContext('2d').getImageData(0, 0, c.width, c.height).data.some(Boolean))({element})"


#: JavaScript: colours of what lies over the first camera.
PIXELS = """((canvas) => {
  const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
  const pixels = Array.from({ length: data.length / 4 }, (_, at) => data.subarray(4 * at, 4 * at + 4));
  return pixels.filter(([, , , opacity]) => opacity > 60);
})(document.querySelector("#cameras figure:first-child .overlay"))"""


def test_a_known_instruction_is_executed_as_a_goal_whose_progress_and_prediction_are_shown(page: LaunchedPage) -> None:
    browser = page.browser
    browser.wait_until("document.querySelectorAll('#chips .chip').length > 10", 30)
    browser.evaluate("document.querySelector('#chips details').open = true")
    page.click("#chips .chip")
    assert browser.evaluate("document.querySelector('#instruction').value") == GO
    page.click("#instruct [type=submit]")
    browser.wait_until("document.querySelector('#goal').classList.contains('active')", 30)
    browser.wait_until("parseInt(document.querySelector('#goalfigures').textContent) > 3", 30)
    assert page.text("#following") == GO
    browser.wait_until("!document.querySelector('#prediction').hidden", 30)
    browser.wait_until(painted("#arrows"), 30)
    browser.wait_until(painted("#ratespark"), 30)
    assert browser.evaluate("document.querySelector('#arrows').getAttribute('aria-label')").startswith("next actions")
    speak(browser, "ko")
    assert page.text("#goal .headline") == "수행 중"
    assert said.beside_the_table(browser, "ko") == [] and said.english_as_data(browser) == []
    speak(browser, "en")


def test_the_heatmaps_lie_over_the_static_camera_and_can_be_switched_off(page: LaunchedPage) -> None:
    browser = page.browser
    browser.wait_until("!document.querySelector('#mapchoice').hidden", 30)
    overlay = painted("#cameras figure:first-child .overlay")
    browser.wait_until(overlay, 30)
    assert not browser.evaluate(painted("#cameras figure:last-child .overlay"))
    browser.evaluate("for (const name of ['target', 'robot', 'path']) document.querySelector(`#show${name}`).click()")
    browser.wait_until(f"!{overlay}", 30)
    # One at a time, in its own colour.
    for name, dominant in (("target", "red > blue"), ("robot", "blue > red")):
        browser.evaluate(f"document.querySelector('#show{name}').click()")
        browser.wait_until(f"((pixels) => pixels.length && pixels.every(([red, , blue]) => {dominant}))({PIXELS})", 30)
        browser.evaluate(f"document.querySelector('#show{name}').click()")
        browser.wait_until(f"!{overlay}", 30)
    browser.evaluate("for (const name of ['target', 'robot', 'path']) document.querySelector(`#show${name}`).click()")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_while_a_policy_drives(page: LaunchedPage, scheme: str) -> None:
    assert axe.findings(page.browser, scheme) == []


def test_a_stop_is_shown_as_the_reason_and_the_end_of_the_goal_with_its_result(page: LaunchedPage) -> None:
    browser = page.browser
    page.tap("Escape", "Escape")
    browser.wait_until("document.querySelector('#stop').dataset.phase === 'stopped'", 30)
    browser.wait_until("document.querySelector('#gate').classList.contains('bad')", 30)
    page.click("#unfollow")
    browser.wait_until("document.querySelector('#goal .headline span').textContent === 'Cancelled'", 30)
    page.click("#resume")
    browser.wait_until("document.querySelector('#resume').hidden", 30)
    assert browser.failures == []


def test_in_shadow_mode_a_person_drives_and_the_policy_is_compared(browser: Chromium, tmp_path: Path) -> None:
    checkpoint = untrained(tmp_path / "checkpoint")
    arguments = ("sim:=true", f"checkpoint:={checkpoint}", "device:=cpu", "shadow:=true", "teleop:=web")
    with unique_domain():
        page = LaunchedPage(tmp_path, browser, "inference.launch.py", *arguments)
        try:
            page.open("run")
            browser.wait_until("!document.querySelector('#unfollow').disabled", 180)
            browser.evaluate(f"document.querySelector('#instruction').value = '{GO}'; true")
            page.click("#instruct [type=submit]")
            browser.wait_until("document.querySelector('#shadow').checkVisibility()", 30)
            page.click("#wheel")
            browser.wait_until("document.querySelector('.driving') !== null", 30)
            browser.key("keyDown", "ArrowUp", "ArrowUp")
            browser.wait_until("parseInt(document.querySelector('#shadowsamples').textContent) > 20", 30)
            assert float(page.text("#shadowmean").split()[0]) > 0.0
            browser.key("keyUp", "ArrowUp", "ArrowUp")
            # Nothing that the policy decided reaches the wheels: without the person, no one drives.
            browser.wait_until("document.querySelector('#gate .headline').textContent.includes('No driver')", 30)
        finally:
            page.close()
