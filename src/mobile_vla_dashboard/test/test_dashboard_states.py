"""Every state of the page in a real browser: a recorder and a policy speak to the real dashboard over real topics."""

from __future__ import annotations

import array
import signal
from collections.abc import Iterator
from pathlib import Path

import axe
import numpy as np
import pytest
import said
from chromium import Chromium
from dashboard_stage import CONTRACT, Stage, show, speak, unreached
from episodes_stage import changed, record
from geometry_msgs.msg import Twist
from nav_msgs.msg import Odometry
from sensor_msgs.msg import Image

from mobile_vla_msgs.msg import ActionChunk, PolicyStatus, RecorderStatus, StageLatency
from mobile_vla_msgs.srv import StopEpisode
from mobile_vla_ros.convert import to_stamp
from mobile_vla_ros.qos import COMMAND, LATCHED, SENSOR_OFFERED
from mobile_vla_ros.testing import Probe, unique_domain, wait_for

pytestmark = pytest.mark.alone

PLAN = Path(__file__).parents[3] / "config" / "collection_plan.yaml"
RECORDING, IDLE = RecorderStatus.STATE_RECORDING, RecorderStatus.STATE_IDLE
CELLS = 20


class Robot:
    """Publishes what a recorder and a policy would, five times a second; a test changes the messages."""

    def __init__(self, probe: Probe, dataset: Path) -> None:
        self.probe = probe
        self.recorder = RecorderStatus(
            state=IDLE,
            dataset=str(dataset),
            episode_id="episode_000002",
            language="go to the kitchen",
            declared_rate_hz=10.0,
            real_rate_hz=9.9,
            episodes_saved=3,
        )
        self.policy = PolicyStatus(
            state=PolicyStatus.STATE_RUNNING,
            instruction="go to the kitchen",
            inference_rate_hz=10.0,
            latency=[StageLatency(stage="total", p50_s=0.03, p99_s=0.05)],
        )
        self.policy_runs = False
        self.answer = "saved 20 steps"
        self.stops: list[str] = []
        self._ticks = 0
        self._publishers = {
            name: probe.node.create_publisher(kind, topic, qos)
            for name, kind, topic, qos in (
                ("recorder", RecorderStatus, "recorder/status", LATCHED),
                ("policy", PolicyStatus, "policy/status", LATCHED),
                ("chunk", ActionChunk, "policy/action_chunk", 10),
                ("odom", Odometry, CONTRACT.state.odometry_topic, SENSOR_OFFERED),
                ("target", Image, "policy/target_map", SENSOR_OFFERED),
                ("robot", Image, "policy/robot_map", SENSOR_OFFERED),
            )
        }
        probe.node.create_service(StopEpisode, "recorder/stop_episode", self._stop)
        probe.node.create_timer(0.2, self._tick)

    def _stop(self, request: StopEpisode.Request, response: StopEpisode.Response) -> StopEpisode.Response:
        self.stops.append(request.outcome)
        response.message = self.answer if len(self.stops) == 1 else "no episode is open"
        response.success = response.message.startswith("saved ")
        return response

    def _tick(self) -> None:
        self._publishers["recorder"].publish(self.recorder)
        if not self.policy_runs:
            return
        self._publishers["policy"].publish(self.policy)
        # It drives along x and back, and is seen moving to the right and back: metres lie in the image.
        self._ticks += 1
        at, stamp = abs(self._ticks % 28 - 14), to_stamp(self.probe.now_ns())
        odometry = Odometry()
        odometry.header.stamp = stamp
        odometry.pose.pose.position.x = 0.1 * at
        self._publishers["odom"].publish(odometry)
        for name, column in (("target", CELLS - 2), ("robot", 2 + at)):
            cells = bytearray(CELLS * CELLS)
            cells[CELLS * 10 + column] = 255
            image = Image(height=CELLS, width=CELLS, encoding="mono8", step=CELLS, data=array.array("B", cells))
            image.header.stamp, image.header.frame_id = stamp, CONTRACT.first_camera
            self._publishers[name].publish(image)
        chunk = ActionChunk(delta_x=[0.05] * 5, delta_y=[0.0] * 5, gripper=[0.2] * 5)
        chunk.header.stamp = stamp
        self._publishers["chunk"].publish(chunk)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("states") / "dataset"
    folder.mkdir()
    (folder / "plan.yaml").write_text(PLAN.read_text())
    for _ in range(3):
        record(folder, 60)
    return folder


@pytest.fixture(scope="module")
def stage(dataset: Path) -> Iterator[Stage]:
    with unique_domain(), Probe() as probe:
        stage = Stage(probe, dataset=str(dataset))
        try:
            yield stage
        finally:
            stage.close()


@pytest.fixture(scope="module")
def robot(stage: Stage, dataset: Path) -> Robot:
    return Robot(stage.probe, dataset)


@pytest.fixture(scope="module")
def page(stage: Stage, robot: Robot, browser: Chromium) -> Chromium:
    browser.open(f"http://127.0.0.1:{stage.port}/#collect")
    browser.wait_until("document.querySelectorAll('#episodes li').length === 3")
    return browser


@pytest.fixture
def recording(page: Chromium, robot: Robot) -> Iterator[None]:
    """An open episode, of which three ticks were dropped."""
    robot.recorder.state, robot.recorder.steps, robot.recorder.dropped_ticks = RECORDING, 20, 3
    robot.answer = "saved 20 steps"
    robot.stops.clear()
    show(page, "collect")
    page.wait_until("running.checkVisibility()")
    yield
    robot.recorder.state = IDLE
    page.wait_until("!document.querySelector('#running').checkVisibility()")


@pytest.fixture
def driving_policy(page: Chromium, robot: Robot) -> Iterator[None]:
    robot.policy_runs = True
    show(page, "run")
    page.wait_until("prediction.checkVisibility()")
    yield
    robot.policy_runs = False


def tap(page: Chromium, key: str, code: str) -> None:
    text = {"text": "\r", "windowsVirtualKeyCode": 13} if key == "Enter" else {}
    page.command("Input.dispatchKeyEvent", type="keyDown", key=key, code=code, **text)
    page.key("keyUp", key, code)


def focus(page: Chromium, selector: str) -> None:
    page.evaluate(f"document.querySelector('{selector}').focus(); true")


def accessible(page: Chromium) -> list[str]:
    """What axe finds at the size of a desktop and of a phone, in light and in dark."""
    found = []
    for width in (1360, 360):
        page.resize(width, 900, phone=width == 360)
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        for scheme in ("light", "dark"):
            found += axe.findings(page, scheme)
    page.restore_size()
    return found


def painted(page: Chromium, canvas: str, share: float = 1.0) -> bool:
    """Whether anything is drawn in the upper ``share`` of a canvas."""
    data = f"c.getContext('2d').getImageData(0, 0, c.width, {share} * c.height).data"
    return bool(page.evaluate(f"((c) => {data}.some(Boolean))(document.querySelector('{canvas}'))"))


def until_in_command(page: Chromium, headline: str, detail: str) -> None:
    """Wait until the page says who is in command, and why."""
    # In front of the reason is the fault that nothing listens to this gate.
    page.wait_until(
        f"gate.querySelector('.headline').textContent === '{headline}' &&"
        f" gate.querySelector('.detail').textContent.endsWith('; {detail}')"
    )


def open_details(page: Chromium) -> None:
    page.evaluate("document.querySelectorAll('details').forEach((each) => { each.open = true; }); true")


def test_a_forecast_says_when_the_plan_is_fulfilled(page: Chromium) -> None:
    show(page, "collect")
    speak(page, "en")
    page.wait_until("/^At this pace finished on \\w+ \\d+, 20\\d\\d$/.test(forecast.textContent)")
    assert page.evaluate("total.textContent") == "3 of 1000"
    speak(page, "ko")
    page.wait_until("/^이 속도라면 20\\d\\d년 .*에 완료$/.test(forecast.textContent)")
    speak(page, "en")


def test_tab_reaches_every_control_of_every_view(page: Chromium, robot: Robot) -> None:
    show(page, "collect")
    open_details(page)
    assert unreached(page) == []
    robot.recorder.state, robot.policy_runs = RECORDING, True
    try:
        page.wait_until("running.checkVisibility()")
        page.evaluate("document.querySelector('.episode').click(); true")
        page.wait_until("document.querySelectorAll('#traces canvas').length === 2")
        open_details(page)
        assert unreached(page) == []
        show(page, "run")
        page.wait_until("prediction.checkVisibility() && document.querySelectorAll('#chips .chip').length > 10")
        open_details(page)
        assert unreached(page) == []
    finally:
        robot.recorder.state, robot.policy_runs = IDLE, False
        page.evaluate("closeplayer.click(); true")
    show(page, "trials")
    assert unreached(page) == []


@pytest.mark.parametrize(("steps", "place"), [(20, "short"), (70, "right"), (130, "long")])
def test_an_open_episode_shows_its_steps_against_the_plan_and_dropped_ticks(
    page: Chromium, robot: Robot, recording: None, steps: int, place: str
) -> None:
    robot.recorder.steps = steps
    page.wait_until(f"stepcount.textContent === '{steps} steps; 50 to 100 are wanted'")
    assert page.evaluate("dropcount.textContent") == "3 ticks dropped"
    assert page.evaluate("meter.firstElementChild.className") == place
    assert page.evaluate("meter.getAttribute('aria-label')") == f"{steps} steps; 50 to 100 are wanted"


def test_axe_finds_nothing_while_an_episode_is_recorded_and_driven(page: Chromium, recording: None) -> None:
    page.evaluate("document.querySelector('#wheel').click(); true")
    page.wait_until("drive.classList.contains('driving')")
    assert accessible(page) == []
    page.evaluate("document.querySelector('#wheel').click(); true")
    page.wait_until("!drive.classList.contains('driving')")


def result(page: Chromium) -> list[str]:
    """Lines under the open episode: how its stop ended, and what the check found."""
    return list(page.evaluate("[result.children[0], ...result.children[1].children].map((each) => each.textContent)"))


def test_a_second_press_of_success_does_not_hide_that_it_was_saved(
    page: Chromium, robot: Robot, recording: None
) -> None:
    focus(page, "#speed")
    # A slider has the focus: the keys work all the same.
    tap(page, "s", "KeyS")
    tap(page, "s", "KeyS")
    wait_for(lambda: result(page) == ["episode_000002 saved without findings"], what="the result")
    tap(page, "s", "KeyS")
    page.evaluate("new Promise((resolve) => setTimeout(resolve, 500))")
    assert result(page) == ["episode_000002 saved without findings"]
    assert robot.stops == ["success"]


@pytest.fixture
def damaged(dataset: Path) -> Iterator[None]:
    """The newest episode with an action that is not a number."""
    with changed(dataset / "episode_000002.h5") as file:
        before, file["actions"][3, 0] = file["actions"][3, 0], np.nan
    yield
    with changed(dataset / "episode_000002.h5") as file:
        file["actions"][3, 0] = before


@pytest.mark.parametrize(
    ("answer", "headline"),
    [
        ("saved 60 steps", "episode_000002 saved; its check found:"),
        ("saved, but: 12% of the ticks were dropped", "saved, but: 12% of the ticks were dropped"),
    ],
)
def test_the_findings_of_a_stop_are_shown_at_once_and_a_second_press_does_not_hide_them(
    page: Chromium, robot: Robot, recording: None, damaged: None, answer: str, headline: str
) -> None:
    robot.answer = answer
    tap(page, "s", "KeyS")
    wait_for(lambda: result(page)[0] == headline and len(result(page)) > 1, what="the findings")
    line, found, *others = result(page)
    assert found.startswith("step 3: ") and not others
    page.evaluate("new Promise((resolve) => setTimeout(resolve, 1500))")
    tap(page, "s", "KeyS")
    page.evaluate("new Promise((resolve) => setTimeout(resolve, 300))")
    assert robot.stops == ["success"]
    assert result(page) == [line, found]


def test_a_stop_that_failed_can_be_asked_for_again_while_the_episode_is_open(
    page: Chromium, robot: Robot, recording: None
) -> None:
    robot.recorder.episode_id, robot.recorder.language = "episode_000009", "open the drawer"
    robot.answer = "the disk is full"
    try:
        page.wait_until("episode.textContent === 'open the drawer'")
        tap(page, "f", "KeyF")
        wait_for(lambda: result(page) == ["the disk is full"], what="the refusal")
        wait_for(lambda: tap(page, "f", "KeyF") or len(robot.stops) == 2, what="the second request")
    finally:
        robot.recorder.episode_id, robot.recorder.language = "episode_000002", "go to the kitchen"


def test_arrow_keys_drive_while_a_slider_has_the_focus(page: Chromium, stage: Stage) -> None:
    commands = stage.probe.collect(Twist, "cmd_vel_teleop", COMMAND)
    page.evaluate("document.querySelector('#wheel').click(); true")
    page.wait_until("drive.classList.contains('driving')")
    focus(page, "#speed")
    page.key("keyDown", "ArrowUp", "ArrowUp")
    wait_for(lambda: commands and commands[-1].linear.x > 0.0, what="motion")
    until_in_command(page, "The operator drives", "teleop drives")
    page.key("keyUp", "ArrowUp", "ArrowUp")
    wait_for(lambda: commands[-1] == Twist(), what="the zero")
    page.evaluate("document.querySelector('#wheel').click(); true")
    page.wait_until("!drive.classList.contains('driving')")


@pytest.mark.parametrize("box", ["arrive", "showpath", "showtarget", "showrobot"])
def test_enter_switches_a_box_and_the_space_bar_stops(page: Chromium, driving_policy: None, box: str) -> None:
    page.wait_until(f"document.querySelector('#{box}').checkVisibility()")
    focus(page, f"#{box}")
    tap(page, "Enter", "Enter")
    assert page.evaluate(f"document.querySelector('#{box}').checked") is False
    tap(page, "Enter", "Enter")
    assert page.evaluate(f"document.querySelector('#{box}').checked") is True
    assert page.evaluate("document.querySelector('#stop').dataset.phase") == "ready"
    tap(page, " ", "Space")
    page.wait_until("document.querySelector('#stop').dataset.phase === 'stopped' && resume.checkVisibility()")
    until_in_command(page, "Stopped", "gate/stop was called; call gate/resume to continue")
    assert page.evaluate(f"document.querySelector('#{box}').checked") is True
    page.evaluate("resume.click(); true")
    page.wait_until("!resume.checkVisibility()")


def test_a_driving_policy_is_in_command(page: Chromium, stage: Stage) -> None:
    publisher, command = stage.probe.publisher(Twist, "cmd_vel_policy", COMMAND), Twist()
    command.linear.x = 0.1
    timer = stage.probe.node.create_timer(0.05, lambda: publisher.publish(command))
    until_in_command(page, "The policy drives", "policy drives")
    page.wait_until("vx.textContent === '0.10 m/s'")
    stage.probe.node.destroy_timer(timer)
    page.wait_until("gate.querySelector('.headline').textContent === 'No driver'")


def test_a_driving_policy_shows_its_latency_and_its_path_in_the_image(
    page: Chromium, robot: Robot, driving_policy: None
) -> None:
    page.wait_until("p50.textContent === '30 ms'")
    wait_for(lambda: painted(page, "#latencyspark"), what="the line of the latency")
    page.wait_until("starved.textContent === '0'")
    assert not painted(page, "#starvedspark", 0.5)
    robot.policy.starved_ticks = 7
    page.wait_until("starved.textContent === '7'")
    wait_for(lambda: painted(page, "#starvedspark", 0.5), what="the peak of the starved ticks")
    # Only the path: the heatmaps are off.
    page.evaluate("for (const name of ['target', 'robot']) document.querySelector(`#show${name}`).click()")
    page.wait_until("pathchoice.checkVisibility()", 30)
    wait_for(lambda: painted(page, "#cameras figure:first-child .overlay"), what="the path over the image")
    page.evaluate("showpath.click(); true")
    wait_for(lambda: not painted(page, "#cameras figure:first-child .overlay"), what="an image without it")
    page.evaluate("for (const name of ['target', 'robot', 'path']) document.querySelector(`#show${name}`).click()")


def test_shadow_mode_compares_the_policy_with_what_the_robot_got(
    page: Chromium, robot: Robot, driving_policy: None
) -> None:
    robot.policy = PolicyStatus(
        state=PolicyStatus.STATE_RUNNING,
        shadow=True,
        instruction="go to the kitchen",
        inference_rate_hz=10.0,
        latency=[StageLatency(stage="total", p50_s=0.03, p99_s=0.05)],
        shadow_samples=120,
        shadow_velocity_difference_mean_m_s=0.012,
        shadow_velocity_difference_p95_m_s=0.034,
        shadow_yaw_rate_difference_mean_rad_s=0.056,
        shadow_gripper_agreement=0.9,
    )
    page.wait_until("shadow.checkVisibility()")
    shown = page.evaluate("['mean', 'p95', 'yaw', 'grip', 'samples'].map((id) => window[`shadow${id}`].textContent)")
    assert shown == ["0.012 m/s", "0.034 m/s", "0.056 rad/s", "90 %", "120"]
    assert accessible(page) == []
    robot.policy.shadow = False
    page.wait_until("!shadow.checkVisibility()")


def test_instructions_that_cannot_be_read_are_named_and_asked_for_again(page: Chromium, dataset: Path) -> None:
    plan = dataset / "plan.yaml"
    whole = plan.read_text()
    plan.write_text("tasks: 5\n")
    show(page, "collect")
    show(page, "run")
    page.wait_until("chipsproblem.checkVisibility() && chipsproblem.textContent.includes('plan.yaml')")
    plan.write_text(whole)
    show(page, "collect")
    show(page, "run")
    page.wait_until("!chipsproblem.checkVisibility() && document.querySelectorAll('#chips .chip').length > 10")


def test_everything_is_said_in_korean_while_episodes_are_recorded_and_played(
    page: Chromium, robot: Robot, recording: None
) -> None:
    robot.policy_runs = True
    page.evaluate("document.querySelector('.episode').click(); true")
    page.wait_until("document.querySelectorAll('#traces canvas').length === 2")
    speak(page, "ko")
    try:
        for view in ("collect", "run", "trials"):
            show(page, view)
            open_details(page)
            page.evaluate("new Promise((resolve) => setTimeout(resolve, 600))")
            assert said.beside_the_table(page, "ko") == []
            assert said.english_as_data(page) == []
    finally:
        robot.policy_runs = False
        speak(page, "en")
        show(page, "collect")
        page.evaluate("closeplayer.click(); true")


def test_refusals_of_the_dashboard_are_said_in_korean(page: Chromium) -> None:
    speak(page, "ko")
    show(page, "trials")
    page.evaluate("seriesinstructions.value = Array(50).fill(0).map((_, n) => `go ${n}`).join('\\n'); true")
    page.evaluate("seriesrounds.value = 100; document.querySelector('#newseries button').click(); true")
    page.wait_until("toastwords.textContent.includes('시험 5000회는')")
    page.evaluate("seriesinstructions.value = ''; seriesrounds.value = 5; true")
    speak(page, "en")


def test_axe_finds_nothing_while_a_stop_is_not_confirmed(page: Chromium, stage: Stage) -> None:
    stage.gate.stop(signal.SIGKILL)
    page.wait_until("document.querySelector('#gate').classList.contains('off')", 30)
    tap(page, "Escape", "Escape")
    page.wait_until("document.querySelector('#alarm').checkVisibility()", 30)
    assert accessible(page) == []
    stage.gate = stage.start_gate()
    page.wait_until("document.querySelector('#resume').checkVisibility() || !gate.classList.contains('off')", 30)


def test_a_lost_connection_is_readable_and_what_changed_meanwhile_is_loaded(
    page: Chromium, stage: Stage, dataset: Path
) -> None:
    show(page, "collect")
    page.wait_until("document.querySelectorAll('#episodes li').length === 3")
    stage.node.stop()
    page.wait_until("document.body.classList.contains('lost')")
    assert accessible(page) == []
    record(dataset, 60)
    stage.start_node()
    page.wait_until("!document.body.classList.contains('lost')", 30)
    # The recorder says nothing new.
    page.wait_until("document.querySelectorAll('#episodes li').length === 4", 30)
