"""Driving by pad and keys in a real browser: everything that must end a motion ends it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from chromium import Chromium
from dashboard_stage import CONTRACT, Stage
from geometry_msgs.msg import Twist

from mobile_vla_ros.qos import COMMAND
from mobile_vla_ros.testing import wait_for

pytestmark = pytest.mark.alone

HALF = 0.5 * CONTRACT.limits.linear_m_s
DRIVING = "document.querySelector('#drive').classList.contains('driving')"


@pytest.fixture(scope="module")
def commands(stage: Stage) -> list[Twist]:
    return stage.probe.collect(Twist, "cmd_vel_teleop", COMMAND)


@pytest.fixture
def page(stage: Stage, browser: Chromium) -> Iterator[Chromium]:
    """The page, with control taken."""
    browser.open(f"http://127.0.0.1:{stage.port}/")
    browser.wait_until("document.querySelector('#link').dataset.t === 'link.live'")
    take(stage, browser)
    yield browser
    if browser.evaluate(DRIVING):
        browser.press("#wheel")
    stage.wait_state(lambda state: state["wheel"]["operator"] is None, "a free wheel")


def take(stage: Stage, page: Chromium) -> None:
    stage.wait_state(lambda state: state["wheel"]["operator"] is None, "a free wheel")
    page.wait_until("!document.querySelector('#wheel').disabled && document.querySelector('#wheel').checkVisibility()")
    page.press("#wheel")
    page.wait_until(DRIVING)


def place(page: Chromium, ahead: float, left: float = 0.0) -> dict[str, float]:
    """A place on the pad, in parts of its radius from its middle."""
    page.evaluate("document.querySelector('#pad').scrollIntoView({ block: 'center' }); true")
    x, y, radius = page.evaluate(
        "(({ x, y, width }) => [x + width / 2, y + width / 2, width / 2])"
        "(document.querySelector('#pad').getBoundingClientRect())"
    )
    return {"x": x - left * radius, "y": y - ahead * radius}


def mouse(page: Chromium, kind: str, at: dict[str, float]) -> None:
    page.command("Input.dispatchMouseEvent", type=kind, button="left", buttons=1, clickCount=1, **at)


def until(commands: list[Twist], x: float, y: float = 0.0) -> None:
    wanted = pytest.approx((x, y), abs=0.02)
    wait_for(lambda: commands and (commands[-1].linear.x, commands[-1].linear.y) == wanted, what=f"{x}, {y}")


def hold_key(page: Chromium, commands: list[Twist]) -> None:
    page.key("keyDown", "ArrowUp", "ArrowUp")
    until(commands, HALF)


def stays_still(page: Chromium, commands: list[Twist]) -> None:
    """The zero has come, and a page that still drove would have sent more by now."""
    wait_for(lambda: commands[-1] == Twist(), what="the zero")
    count = len(commands)
    page.evaluate("new Promise((resolve) => setTimeout(resolve, 300))")
    assert commands[count:] == []


def test_the_pad_drives_while_it_is_held(page: Chromium, commands: list[Twist]) -> None:
    mouse(page, "mousePressed", place(page, 0.8))
    until(commands, HALF)
    mouse(page, "mouseMoved", place(page, 0.0, 0.4))
    until(commands, 0.0, HALF / 2)
    # Beyond the pad it is followed, too, and is no faster than at its edge.
    mouse(page, "mouseMoved", place(page, -2.0))
    until(commands, -HALF)
    mouse(page, "mouseReleased", place(page, -2.0))
    stays_still(page, commands)
    mouse(page, "mouseMoved", place(page, 0.5))
    stays_still(page, commands)


def test_a_touch_that_the_system_cancels_stops_the_robot(page: Chromium, commands: list[Twist]) -> None:
    with page.phone(1360, 900):
        page.touch("touchStart", {**place(page, 0.8), "id": 1})
        until(commands, HALF)
        page.touch("touchCancel")
        stays_still(page, commands)


def test_a_second_finger_does_not_take_over_the_pad(page: Chromium, commands: list[Twist]) -> None:
    # The last test that touches: after two fingers at once Chromium 156 sends no event for the next touch.
    with page.phone(1360, 900):
        first, second = {**place(page, 0.8), "id": 1}, {**place(page, -0.8), "id": 2}
        page.touch("touchStart", first)
        until(commands, HALF)
        page.touch("touchStart", first, second)
        second = {**place(page, -0.7), "id": 2}
        page.touch("touchMove", first, second)
        until(commands, HALF)
        count = len(commands)
        wait_for(lambda: len(commands) > count + 6, what="the next commands")
        assert all(message.linear.x > 0 for message in commands[count:])
        page.touch("touchEnd")
        stays_still(page, commands)


def test_a_pad_that_loses_the_pointer_stops_the_robot(page: Chromium, commands: list[Twist]) -> None:
    page.evaluate("pad.addEventListener('pointerdown', (event) => { window.held = event.pointerId; }); true")
    mouse(page, "mousePressed", place(page, 0.8))
    # A capture begins and ends with the next event of its pointer (Pointer Events, "process pending pointer capture").
    mouse(page, "mouseMoved", place(page, 0.9))
    until(commands, HALF)
    page.evaluate("pad.releasePointerCapture(held); true")
    mouse(page, "mouseMoved", place(page, 0.8))
    stays_still(page, commands)
    mouse(page, "mouseReleased", place(page, 0.8))


def test_a_key_whose_release_macos_hides_behind_its_command_key_does_not_stay_down(
    page: Chromium, commands: list[Twist]
) -> None:
    hold_key(page, commands)
    page.command("Input.dispatchKeyEvent", type="rawKeyDown", key="Meta", code="MetaLeft", modifiers=4)
    # The arrow is lifted here; no event says so.
    stays_still(page, commands)
    page.command("Input.dispatchKeyEvent", type="keyUp", key="Meta", code="MetaLeft")
    stays_still(page, commands)
    page.key("keyUp", "ArrowUp", "ArrowUp")


def test_a_page_that_loses_the_focus_stops_the_robot(page: Chromium, commands: list[Twist]) -> None:
    hold_key(page, commands)
    page.evaluate("dispatchEvent(new Event('blur')); true")
    stays_still(page, commands)
    assert page.evaluate(DRIVING)
    page.key("keyUp", "ArrowUp", "ArrowUp")


def test_a_page_that_is_hidden_stops_the_robot_and_gives_up_control(
    stage: Stage, page: Chromium, commands: list[Twist]
) -> None:
    hold_key(page, commands)
    other = page.command("Target.createTarget", url="about:blank")["targetId"]
    try:
        wait_for(lambda: page.evaluate("document.hidden"), what="a page behind another")
        stays_still(page, commands)
        stage.wait_state(lambda state: state["wheel"]["operator"] is None, "a free wheel", 2.0)
    finally:
        page.command("Target.closeTarget", targetId=other)
        page.command("Page.bringToFront")
        page.key("keyUp", "ArrowUp", "ArrowUp")
    page.wait_until(f"!document.hidden && !{DRIVING}")


def test_a_double_press_takes_control_once(stage: Stage, page: Chromium, commands: list[Twist]) -> None:
    page.press("#wheel")
    page.wait_until(f"!{DRIVING}")
    stage.wait_state(lambda state: state["wheel"]["operator"] is None, "a free wheel")
    # The page may hear that later than the stage; until then, its button is disabled.
    page.wait_until("!document.querySelector('#wheel').disabled")
    page.evaluate(
        "window.opened = 0; window.WebSocket = class extends WebSocket { constructor(a) { super(a); opened += 1; } }"
    )
    page.evaluate("wheel.click(); wheel.click(); true")
    page.wait_until(DRIVING)
    hold_key(page, commands)
    page.key("keyUp", "ArrowUp", "ArrowUp")
    assert page.evaluate("opened") == 1
    page.press("#wheel")
    page.wait_until(f"!{DRIVING}")
    stage.wait_state(lambda state: state["wheel"]["operator"] is None, "a free wheel", 2.0)
