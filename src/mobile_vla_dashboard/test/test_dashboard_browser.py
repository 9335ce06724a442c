"""The page in a real browser, with the real command gate behind it: views, languages, keyboard, small screens."""

from __future__ import annotations

import json

import axe
import pytest
import said
from chromium import Chromium
from dashboard_stage import CONTRACT, GAMEPAD, Stage, show, speak, unreached
from geometry_msgs.msg import Twist

from mobile_vla_msgs.msg import GripperCommand
from mobile_vla_ros.qos import COMMAND
from mobile_vla_ros.testing import wait_for

pytestmark = pytest.mark.alone

VIEWS = ("collect", "run", "trials")


@pytest.fixture(scope="module")
def page(stage: Stage, browser: Chromium) -> Chromium:
    browser.open(f"http://127.0.0.1:{stage.port}/", at_start=GAMEPAD)
    _live(browser)
    return browser


def _live(browser: Chromium) -> None:
    browser.wait_until("document.querySelector('#link').dataset.t === 'link.live'")
    browser.wait_until("document.querySelector('figure') !== null")


def test_a_browser_gets_the_language_that_it_asks_for_and_remembers_another_choice(page: Chromium) -> None:
    assert page.evaluate("document.documentElement.lang") == "en"
    assert page.evaluate("document.querySelector('#stop').innerText") == "STOP"
    speak(page, "ko")
    assert page.evaluate("document.querySelector('#stop').innerText") == "정지"
    page.open(page.evaluate("location.href"))
    _live(page)
    assert page.evaluate("document.documentElement.lang") == "ko"
    speak(page, "en")


@pytest.mark.parametrize("language", ["en", "ko"])
@pytest.mark.parametrize("view", VIEWS)
def test_all_visible_text_comes_from_the_table(page: Chromium, language: str, view: str) -> None:
    show(page, view)
    speak(page, language)
    page.wait_until("document.querySelector('#gate').classList.contains('off') === false")
    assert said.beside_the_table(page, language) == []


@pytest.mark.parametrize("view", VIEWS)
def test_a_narrow_phone_shows_every_view_without_scrolling_sideways(page: Chromium, view: str) -> None:
    with page.phone(360, 740):
        for language in ("ko", "en"):
            speak(page, language)
            show(page, view)
            assert page.evaluate("document.documentElement.scrollWidth") <= 360
            assert page.evaluate(
                "(({ top, bottom, width }) => [top >= 0, bottom <= innerHeight, width > 100])"
                "(document.querySelector('#stop').getBoundingClientRect())"
            ) == [True, True, True]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("view", VIEWS)
def test_axe_finds_nothing(page: Chromium, view: str, scheme: str) -> None:
    show(page, view)
    assert axe.findings(page, scheme) == []


def test_a_gamepad_drives_while_its_deadman_is_held_and_never_by_one_that_was_held_before(
    stage: Stage, page: Chromium
) -> None:
    commands = stage.probe.collect(Twist, "cmd_vel_teleop", COMMAND)
    page.evaluate("gamepad.connected = true; gamepad.buttons[4].pressed = true; gamepad.axes[1] = -1; true")
    page.press("#wheel")
    page.wait_until("document.querySelector('#drive').classList.contains('driving')")
    page.wait_until("!document.querySelector('#gamepadhint').hidden")
    # Held before control was taken: the tick after the next would have driven.
    page.evaluate("new Promise((resolve) => setTimeout(resolve, 200))")
    assert not commands
    page.evaluate("gamepad.buttons[4].pressed = false; true")
    page.evaluate("new Promise((resolve) => setTimeout(resolve, 120))")
    page.evaluate("gamepad.buttons[4].pressed = true; true")
    half = 0.5 * CONTRACT.limits.linear_m_s
    wait_for(lambda: commands and commands[-1].linear.x == pytest.approx(half), what="half speed forward")
    page.evaluate("gamepad.axes[1] = -0.1; true")
    wait_for(lambda: commands[-1] == Twist(), what="a stick within its dead zone")
    page.evaluate("gamepad.axes[1] = 0; gamepad.axes[0] = 1; true")
    wait_for(lambda: commands[-1].linear.y == pytest.approx(-half), what="half speed to the right")
    page.evaluate("gamepad.axes[0] = 0; gamepad.axes[2] = 1; true")
    right = -0.5 * CONTRACT.limits.angular_rad_s
    wait_for(lambda: commands[-1].angular.z == pytest.approx(right), what="half of the turn to the right")
    page.evaluate("gamepad.axes[2] = 0; true")
    page.evaluate("gamepad.buttons[4].pressed = false; true")
    wait_for(lambda: commands[-1] == Twist(), what="the zero")


def test_a_deadman_that_is_held_while_another_page_resumes_does_not_move_the_robot(
    stage: Stage, page: Chromium
) -> None:
    commands = stage.probe.collect(Twist, "cmd_vel_teleop", COMMAND)
    page.evaluate("gamepad.buttons[4].pressed = true; gamepad.axes[1] = -1; gamepad.axes[0] = 0; true")
    page.key("keyDown", "ArrowUp", "ArrowUp")
    wait_for(lambda: commands and commands[-1].linear.x > 0.1, what="motion")
    assert stage.post("/api/stop")["ok"]
    wait_for(lambda: commands[-1] == Twist(), what="the zero")
    page.wait_until("!document.querySelector('#resume').hidden")
    assert stage.post("/api/resume")["ok"]
    page.wait_until("document.querySelector('#resume').hidden")
    count = len(commands)
    page.evaluate("new Promise((resolve) => setTimeout(resolve, 300))")
    assert commands[count:] == []
    # Pressed again, each of them drives.
    page.key("keyUp", "ArrowUp", "ArrowUp")
    page.key("keyDown", "ArrowUp", "ArrowUp")
    wait_for(lambda: commands[-1].linear.x > 0.1, what="motion by the key")
    page.key("keyUp", "ArrowUp", "ArrowUp")
    wait_for(lambda: commands[-1] == Twist(), what="the zero")
    page.evaluate("gamepad.buttons[4].pressed = false; true")
    page.evaluate("new Promise((resolve) => setTimeout(resolve, 120))")
    page.evaluate("gamepad.buttons[4].pressed = true; true")
    wait_for(lambda: commands[-1].linear.x > 0.1, what="motion by the gamepad")
    page.evaluate("gamepad.buttons[4].pressed = false; gamepad.axes[1] = 0; true")
    wait_for(lambda: commands[-1] == Twist(), what="the zero")


def test_the_gamepad_moves_the_gripper_and_stops_everything(stage: Stage, page: Chromium) -> None:
    grippers = stage.probe.collect(GripperCommand, "gripper/command_teleop", COMMAND)
    for button, position in ((0, 1.0), (1, 0.0)):
        page.evaluate(f"gamepad.buttons[{button}].pressed = true; true")
        wait_for(lambda position=position: grippers and grippers[-1].position == position, what="the gripper")
        page.evaluate(f"gamepad.buttons[{button}].pressed = false; true")
    page.evaluate("gamepad.buttons[8].pressed = true; true")
    page.wait_until("document.querySelector('#stop').dataset.phase === 'stopped'")
    page.evaluate("gamepad.buttons[8].pressed = false; gamepad.connected = false; true")
    page.wait_until("!document.querySelector('#resume').hidden")
    page.press("#resume")
    page.wait_until("document.querySelector('#resume').hidden")
    page.press("#wheel")
    page.wait_until("!document.querySelector('#drive').classList.contains('driving')")


def test_the_speed_is_remembered(page: Chromium) -> None:
    page.evaluate("speed.value = 80; speed.dispatchEvent(new Event('input')); true")
    page.open(page.evaluate("location.href"))
    _live(page)
    assert page.evaluate("document.querySelector('#speed').value") == "80"
    assert page.evaluate("document.querySelector('#speedshown').textContent") == "80 %"


@pytest.mark.parametrize("view", VIEWS)
def test_the_keyboard_alone_reaches_every_control(page: Chromium, view: str) -> None:
    show(page, view)
    assert unreached(page) == []


def test_a_robot_without_a_gripper_has_no_control_for_one(page: Chromium) -> None:
    state = {"wheel": {"possible": True, "operator": None}, "gate": {}, "base": "holonomic"}
    hidden = "['gripper', 'gripperkey'].map((id) => document.getElementById(id).hidden)"
    for gripper in (False, True):
        given = json.dumps({**state, "gripper": gripper})
        shown = page.evaluate(f"import('/drive.js').then(({{ drive }}) => {{ drive.show({given}); return {hidden}; }})")
        assert shown == [not gripper] * 2


def test_no_script_of_the_page_has_failed(page: Chromium) -> None:
    assert page.failures == []
