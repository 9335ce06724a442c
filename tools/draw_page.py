"""Draw docs/images/page_*.webp: the views of the dashboard at the sizes of a desktop and of a phone, in simulation.

The images of Run need --checkpoint; without it they stay as they are.

Run it in the environment of the workspace; it takes a minute or two, and needs Chromium.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "benchmarks"), str(ROOT / "src/mobile_vla_dashboard/test")]

from chromium import Chromium  # noqa: E402
from launched_stage import LaunchedPage  # noqa: E402

from mobile_vla_ros.testing import unique_domain  # noqa: E402

IMAGES = ROOT / "docs/images"
CHECKPOINT = ROOT / "src/mobile_vla_policy/test/checkpoint_0.1.0"
#: Name of the file's ending -> width and height [px], and whether it is a phone.
SIZES = {"": (1360, 1000, False), "_phone": (390, 844, True)}
SCENES = 10


def shoot(page: LaunchedPage, name: str, top: str, *endings: str) -> None:
    """Write the images of what is shown, of all sizes or of ``endings``; on a phone, scrolled to ``top``."""
    for ending in endings or SIZES:
        width, height, phone = SIZES[ending]
        page.browser.resize(width, height, phone=phone)
        target = top if phone else "body"
        page.browser.evaluate(f"document.querySelector('{target}').scrollIntoView(); scrollBy(0, -130); true")
        # Images that come in between are drawn, and lines at the new width.
        time.sleep(2.0)
        (IMAGES / f"page_{name}{ending}.webp").write_bytes(page.browser.screenshot())
    page.browser.resize(*SIZES[""][:2])


def collect(folder: Path, browser: Chromium) -> None:
    """Draw the Collect view with an episode of the expert played back."""
    dataset = folder / "episodes"
    command = ["mobile-vla-sim", "collect", "--episodes", str(SCENES), "--output", str(dataset), "--workers", "1"]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    arguments = ("sim:=true", "teleop:=web", f"dataset:={dataset}")
    drive(folder, browser, "collect.launch.py", arguments, draw_collect)


def draw_collect(page: LaunchedPage) -> None:
    """Show the next task, an episode that is recorded, and one that is played back, in its middle."""
    browser = page.browser
    browser.wait_until("!document.querySelector('#proposal').hidden", 60)
    browser.wait_until("!document.querySelector('#start button').disabled", 60)
    shoot(page, "collect_next", "#recorder", "_phone")
    page.click("#wheel")
    page.start_episode()
    page.until_steps(55)
    shoot(page, "collect_recording", "#recorder")
    for _ in range(2):
        page.tap("x", "KeyX")
    page.click("#wheel")
    browser.wait_until("!document.querySelector('#waiting').hidden", 60)
    page.click(".episode")
    browser.wait_until("document.querySelectorAll('#traces canvas').length === 2", 30)
    browser.evaluate(
        "((scrub) => { scrub.value = scrub.max / 2; scrub.dispatchEvent(new Event('input')); })"
        "(document.querySelector('#scrub')); true"
    )
    shoot(page, "collect", "#player")


def trials(folder: Path, browser: Chromium) -> None:
    """Draw the Trials view with a new series, a trial that is judged, and one to be prepared."""
    checkpoints = [Path(shutil.copytree(CHECKPOINT, folder / name)) for name in ("first_try", "second_try")]
    arguments = ("sim:=true", f"checkpoint:={checkpoints[0]}", "device:=cpu")

    def draw(page: LaunchedPage) -> None:
        browser.wait_until("document.querySelector('#trialsetup').checkVisibility()")
        fields = {
            "label": "Kitchen or bedroom",
            "instructions": "go to the kitchen\ngo to the bedroom",
            "starts": "hall, facing the door\nbedroom, beside the bed",
            "rounds": "2",
        }
        for name, value in fields.items():
            browser.evaluate(f"document.querySelector('#series{name}').value = {json.dumps(value)}; true")
        for checkpoint in checkpoints:
            page.click(f"#checkpoints input[value={checkpoint.name}]")
        shoot(page, "trials_new", "#trialsetup", "_phone")
        page.click("#newseries button")
        for key, code in (("s", "KeyS"), ("s", "KeyS"), ("f", "KeyF")):
            page.until_prepared()
            page.begin_trial()
            page.tap(key, code)
        browser.wait_until("document.querySelector('#trialreasons').checkVisibility()", 30)
        shoot(page, "trials_judging", "#trialcard")
        page.tap("1", "Digit1")
        page.until_prepared()
        shoot(page, "trials", "#trialcard")

    drive(folder, browser, "inference.launch.py", arguments, draw, "trials")


def drive(
    folder: Path,
    browser: Chromium,
    file: str,
    arguments: tuple[str, ...],
    draw: Callable[[LaunchedPage], None],
    view: str = "collect",
) -> None:
    """Launch a robot, open a view of its page, and draw it."""
    with unique_domain():
        page = LaunchedPage(folder, browser, file, *arguments)
        try:
            page.open(view)
            draw(page)
        finally:
            page.close()


def run(folder: Path, browser: Chromium, checkpoint: Path) -> None:
    """Draw the Run view while a policy follows an instruction; on the phone in Korean."""
    arguments = ("sim:=true", "teleop:=web", f"checkpoint:={checkpoint.resolve()}", "device:=cpu")

    def draw(page: LaunchedPage) -> None:
        browser.wait_until("!document.querySelector('#unfollow').disabled", 180)
        browser.evaluate("document.querySelector('#instruction').value = 'go to the kitchen'; true")
        page.click("#instruct [type=submit]")
        # The path is drawn once the robot has moved a little.
        browser.wait_until("!document.querySelector('#pathchoice').hidden", 60)
        shoot(page, "run", "#cameras", "")
        shoot(page, "run_prediction", "#prediction", "_phone")
        page.click("#lang")
        shoot(page, "run", "#cameras", "_phone")
        page.click("#lang")

    drive(folder, browser, "inference.launch.py", arguments, draw, "run")


def main() -> None:
    """Write every image."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    film = "checkpoint of kind film, such as of config/train_small.yaml, for the images of Run; without it they stay"
    parser.add_argument("--checkpoint", type=Path, help=film)
    parser.add_argument("--only", choices=("collect", "run", "trials"), help="draw the images of one view")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, Chromium() as browser:
        browser.resize(*SIZES[""][:2])
        if given.checkpoint and given.only in (None, "run"):
            run(Path(folder), browser, given.checkpoint)
        if given.only in (None, "collect"):
            collect(Path(folder), browser)
        if given.only in (None, "trials"):
            trials(Path(folder), browser)


if __name__ == "__main__":
    main()
