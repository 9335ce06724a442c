"""The page in a real browser when the dashboard hangs, is restarted, or keeps requests waiting."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from chromium import Chromium
from dashboard_stage import CONTRACT, Stage
from episodes_stage import Server
from geometry_msgs.msg import Twist
from sensor_msgs.msg import Image

from mobile_vla_msgs.srv import SetInstruction
from mobile_vla_ros.convert import image_message
from mobile_vla_ros.qos import COMMAND, SENSOR_OFFERED
from mobile_vla_ros.testing import wait_for

pytestmark = pytest.mark.alone

LIVE = "document.querySelector('#link').dataset.t === 'link.live'"
LOST = "document.querySelector('#link').dataset.t === 'link.lost'"
ALARM = "document.querySelector('#alarm').checkVisibility()"
PHASE = "document.querySelector('#stop').dataset.phase"
DRIVING = "document.querySelector('#drive').classList.contains('driving')"


@pytest.fixture
def page(stage: Stage, browser: Chromium) -> Chromium:
    browser.open(f"http://127.0.0.1:{stage.port}/")
    browser.wait_until(f"{LIVE} && document.querySelector('figure') !== null")
    return browser


@contextmanager
def frozen(stage: Stage) -> Iterator[None]:
    """Freeze the dashboard for a while."""
    stage.node.process.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        stage.node.process.send_signal(signal.SIGCONT)


def resumed(stage: Stage, page: Chromium) -> None:
    page.wait_until(LIVE)
    # A STOP that the dashboard found when it woke up may come after the first Resume.
    wait_for(
        lambda: stage.post("/api/resume")["ok"] and not time.sleep(0.6) and page.evaluate(f"{PHASE} === 'ready'"),
        what="the resumed gate",
    )


def test_a_stop_at_a_dashboard_that_hangs_raises_an_alarm_that_names_the_emergency_stop(
    stage: Stage, page: Chromium
) -> None:
    with frozen(stage):
        page.press("#stop")
        page.wait_until(ALARM, 4.0)
        said = page.evaluate("document.querySelector('#alarm').textContent")
        assert "Use the robot's own emergency stop" in said and "no answer from the dashboard" in said
        # It ends, so that the button can be pressed again.
        page.wait_until(f"{PHASE} === 'ready'", 8.0)
        assert page.evaluate(ALARM)
        page.press("#stop")
    # One that gets through takes the alarm away.
    page.wait_until(f"{PHASE} === 'stopped' && !{ALARM}")
    resumed(stage, page)


def test_a_dashboard_that_hangs_is_not_shown_as_live_and_is_found_again(stage: Stage, page: Chromium) -> None:
    with frozen(stage):
        page.wait_until(LOST, 4.0)
        assert page.evaluate("document.body.classList.contains('lost')")
        # Nor is an attempt to connect that nobody answers.
        page.evaluate("new Promise((resolve) => setTimeout(resolve, 1500))")
        assert page.evaluate(LOST)
    page.wait_until(LIVE)
    page.wait_until("!document.querySelector('#gate').classList.contains('off')")


def test_an_operator_whose_dashboard_hangs_loses_control_and_must_take_it_and_press_again(
    stage: Stage, page: Chromium
) -> None:
    output = stage.probe.collect(Twist, "cmd_vel", COMMAND)
    page.press("#wheel")
    page.wait_until(DRIVING)
    page.key("keyDown", "ArrowUp", "ArrowUp")
    wait_for(lambda: output and output[-1].linear.x > 0.1, what="motion")
    with frozen(stage):
        wait_for(lambda: output[-1] == Twist(), what="zero on cmd_vel")
        page.wait_until(f"!{DRIVING}", 4.0)
    page.wait_until(LIVE)
    stage.wait_state(lambda state: state["wheel"]["operator"] is None, "a free wheel")
    page.wait_until("!document.querySelector('#wheel').disabled")
    count = len(output)
    # The key is still down: it drives neither now nor when control is taken again.
    page.press("#wheel")
    page.wait_until(DRIVING)
    wait_for(lambda: len(output) > count + 10, what="the next zeros")
    assert all(message == Twist() for message in output[count:])
    page.key("keyUp", "ArrowUp", "ArrowUp")
    page.press("#wheel")
    page.wait_until(f"!{DRIVING}")


def test_a_stop_overtakes_requests_that_hold_every_connection_of_the_browser(stage: Stage, page: Chromium) -> None:
    release = threading.Event()

    def answer(request: SetInstruction.Request, response: SetInstruction.Response) -> SetInstruction.Response:
        if request.instruction == "wait":
            release.wait(30)
        response.success = True
        return response

    service = stage.probe.node.create_service(SetInstruction, "policy/set_instruction", answer)
    try:
        wait_for(lambda: stage.post("/api/policy/instruction", {"instruction": "go"})["ok"], what="the service")
        ask = "fetch('/api/policy/instruction', { method: 'POST', headers, body: '{\"instruction\": \"wait\"}' })"
        page.evaluate(
            "window.held = 6; const headers = { 'Content-Type': 'application/json' };"
            f"for (let each = 0; each < 6; each += 1) {ask}.then(() => {{ held -= 1; }}); true"
        )
        begin_s = time.monotonic()
        page.press("#stop")
        page.wait_until(f"{PHASE} === 'stopped'", 4.0)
        assert page.evaluate("held") == 6, f"they were answered after {time.monotonic() - begin_s:.1f} s"
    finally:
        release.set()
        page.wait_until("held === 0", 40)
        stage.probe.node.destroy_service(service)
    resumed(stage, page)


def test_the_images_of_a_restarted_dashboard_are_shown(stage: Stage, page: Chromium) -> None:
    publisher = stage.probe.publisher(Image, CONTRACT.cameras["static"].topic, SENSOR_OFFERED)
    page.evaluate("window.seen = []; document.addEventListener('painted', (event) => seen.push(event.detail.sequence))")

    def send(level: int) -> bool:
        image = np.full((224, 224, 3), level, np.uint8)
        publisher.publish(image_message(image, stage.probe.now_ns(), "camera"))
        time.sleep(0.02)
        return False

    wait_for(lambda: send(60) or page.evaluate("seen.length") > 30, what="thirty images")
    stage.node.stop(signal.SIGKILL)
    page.wait_until(LOST)
    stage.start_node()
    page.wait_until(LIVE)
    page.evaluate("seen = []; true")
    wait_for(lambda: send(200) or page.evaluate("seen.length") > 3, what="images of the new dashboard")
    pixel = "document.querySelector('figure canvas').getContext('2d').getImageData(100, 100, 1, 1).data[0]"
    assert page.evaluate("seen[0]") < 30 and page.evaluate(pixel) == pytest.approx(200, abs=4)


def test_a_page_with_the_token_of_an_earlier_start_says_that_its_address_is_no_longer_valid(
    browser: Chromium, tmp_path: Path
) -> None:
    server = Server(tmp_path, token="earlier")
    port = server.port
    try:
        browser.open("about:blank")
        browser.command("Page.navigate", url=f"{server.address}/?token=earlier")
        browser.wait_until(LIVE)
        server.close()
        server = Server(tmp_path, port, token="later")
        browser.wait_until("document.querySelector('#link').dataset.t === 'link.refused'")
        browser.press("#stop")
        browser.wait_until(ALARM)
        said = browser.evaluate("document.querySelector('#alarm').textContent")
        assert "emergency stop" in said and "no longer valid; open the new one" in said
        browser.press("#lang")
        browser.press("#stop")
        browser.wait_until("document.querySelector('#alarm').textContent.includes('새 주소를 여세요')")
        browser.press("#lang")
    finally:
        server.close()


def test_the_page_waits_for_its_words(stage: Stage, browser: Chromium) -> None:
    once = "window.fetch = ((real) => (address, options) => address === '/words.json' && !window.missed"
    once += " ? (window.missed = true, Promise.resolve(new Response('', { status: 429 }))) : real(address, options))"
    added = browser.command("Page.addScriptToEvaluateOnNewDocument", source=f"{once}(window.fetch);")
    try:
        browser.open(f"http://127.0.0.1:{stage.port}/")
        browser.wait_until(LIVE)
        assert browser.evaluate("missed")
    finally:
        browser.command("Page.removeScriptToEvaluateOnNewDocument", identifier=added["identifier"])
