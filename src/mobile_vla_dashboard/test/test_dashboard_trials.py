"""A series of trials in a real browser, against the launched simulation with a real, untrained policy."""

from __future__ import annotations

import json
import shutil
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import axe
import pytest
import said
from chromium import Chromium
from dashboard_stage import unreached
from launched_stage import LaunchedPage

from mobile_vla_dashboard.trial_report import images
from mobile_vla_data.episode.reader import Episode
from mobile_vla_ros.testing import unique_domain, wait_for

pytestmark = pytest.mark.alone

CHECKPOINT = Path(__file__).parents[2] / "mobile_vla_policy/test/checkpoint_0.1.0"
INSTRUCTION = "go to the kitchen"


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two checkpoints with different names."""
    folder = tmp_path_factory.mktemp("trials")
    return [Path(shutil.copytree(CHECKPOINT, folder / name)) for name in ("first_try", "second_try")]


@pytest.fixture(scope="module")
def page(browser: Chromium, checkpoints: list[Path]) -> Iterator[LaunchedPage]:
    dataset = checkpoints[0].parent / "episodes"
    arguments = ("sim:=true", f"checkpoint:={checkpoints[0]}", "device:=cpu", f"dataset:={dataset}")
    with unique_domain():
        page = LaunchedPage(checkpoints[0].parent, browser, "inference.launch.py", *arguments)
        try:
            page.open("trials")
            yield page
        finally:
            page.close()


def ask(page: LaunchedPage, path: str) -> dict:
    with urllib.request.urlopen(f"http://127.0.0.1:{page.port}{path}", timeout=30) as answer:
        return dict(json.load(answer))


def fill(page: LaunchedPage, **fields: str) -> None:
    for name, value in fields.items():
        page.browser.evaluate(f"document.querySelector('#series{name}').value = {json.dumps(value)}; true")


def phase(page: LaunchedPage) -> str:
    return str(page.browser.evaluate("document.querySelector('#trialphase').textContent"))


def test_a_series_compares_two_checkpoints_without_naming_them(page: LaunchedPage, checkpoints: list[Path]) -> None:
    browser = page.browser
    browser.wait_until("document.querySelector('#trialsetup').checkVisibility()")
    fill(page, label="Morning or evening", instructions=INSTRUCTION, starts="hall, facing the door", rounds="1")
    fill(page, limit="30")
    for folder in checkpoints:
        page.click(f"#checkpoints input[value={folder.name}]")
    page.click("#newseries button")
    page.until_prepared()
    (series,) = ask(page, "/api/trials")["series"]
    address = f"/api/trials/{series['id']}"
    assert page.text("#trialinstruction") == INSTRUCTION and page.text("#trialstart") == "hall, facing the door"
    first = page.text("#trialletter")
    page.begin_trial()
    page.tap("s", "KeyS")
    wait_for(lambda: ask(page, address)["series"]["done"] == 1, what="the first result")
    # The other checkpoint is loaded meanwhile; nothing on the page says which one that is.
    page.until_prepared()
    assert {first, page.text("#trialletter")} == {"A", "B"}
    # How the first one began.
    browser.wait_until("triallikeimage.checkVisibility() && triallikeimage.naturalWidth > 0")
    assert ask(page, address)["series"]["checkpoints"] is None
    # The form, which is hidden, still has the names to choose from.
    shown = browser.evaluate(
        "((copy) => { copy.querySelector('#trialsetup').remove(); return copy.outerHTML; })"
        "(document.body.cloneNode(true))"
    )
    assert not any(folder.name in shown for folder in checkpoints)
    page.narrow(360)
    page.begin_trial()
    page.tap("f", "KeyF")
    browser.wait_until("document.querySelector('#trialreasons').checkVisibility()")
    for scheme in ("light", "dark"):
        assert axe.findings(browser, scheme) == []
    assert unreached(browser) == []
    page.click("#lang")
    assert said.beside_the_table(browser, "ko") == [] and said.english_as_data(browser) == []
    page.click("#lang")
    browser.evaluate("trialnote.focus(); true")
    browser.write("the door was closed")
    # Enter leaves the field, and the keys judge again.
    browser.key("keyDown", "Enter", "Enter")
    assert browser.evaluate("document.querySelectorAll('#reasons kbd').length") == 11
    page.tap("-", "Minus")
    browser.wait_until("document.querySelector('#trialphase').textContent === 'The series is over'", 30)

    over = ask(page, address)["series"]
    assert [result["outcome"] for result in over["results"]] == ["success", "failure"]
    assert over["summary"]["reasons"] == {"something else": 1}
    assert over["results"][1]["note"] == "the door was closed"
    assert over["summary"]["interval_95"] == pytest.approx([0.0945, 0.9055], abs=1e-3)
    assert set(over["summary"]["by_checkpoint"]) == {folder.name for folder in checkpoints}
    assert "second_try" in page.text("#trialrates")
    assert page.text("#trialrates .rate:first-child .bar span:last-child") == "1 of 2: 50 %, 95 % interval 9 to 91 %"
    assert browser.evaluate("document.querySelector('#trialreport').getAttribute('href')") == f"{address}/report"
    assert browser.evaluate(
        "fetch(document.querySelector('#trialrows a').href).then((answer) => answer.blob()).then(createImageBitmap)"
        ".then(({ width }) => width)"
    )


def test_a_series_leaves_its_results_videos_and_a_report(page: LaunchedPage) -> None:
    (series,) = ask(page, "/api/trials")["series"]
    (folder,) = Path(page.state).rglob(series["id"])
    kept = json.loads((folder / "series.json").read_text())
    assert [result["outcome"] for result in kept["results"]] == ["success", "failure"]
    assert len(images(folder / kept["results"][0]["video"])) >= 3
    with urllib.request.urlopen(f"http://127.0.0.1:{page.port}/api/trials/{series['id']}/report", timeout=60) as answer:
        report = answer.read().decode()
    assert "Morning or evening" in report and "95 % interval (Wilson)" in report and "data:image/webp" in report


def test_an_interrupted_series_is_continued(page: LaunchedPage) -> None:
    browser = page.browser
    page.click("#trialleave")
    browser.wait_until("document.querySelector('#trialsetup').checkVisibility()")
    instructions = [INSTRUCTION, "go to the bedroom"]
    fill(page, label="Interrupted", instructions="\n".join(instructions), starts="", checkpoints="", rounds="2")
    page.click("#newseries button")
    page.until_prepared()
    first = page.text("#trialinstruction")
    page.begin_trial()
    page.tap("s", "KeyS")
    wait_for(lambda: ask(page, "/api/trials")["series"][0]["done"] == 1, what="the first result")
    page.until_prepared()
    assert sorted([first, page.text("#trialinstruction")]) == sorted(instructions)
    # A page that is loaded anew shows what is at work; any other series is taken up from the list.
    page.open("trials")
    page.until_prepared()
    page.click("#trialleave")
    browser.wait_until("document.querySelectorAll('#serieslist button').length === 2")
    page.click("#serieslist button")
    page.until_prepared()
    page.begin_trial()
    # A trial that went wrong for another reason is made again.
    page.click("#trialdiscard")
    page.until_prepared()
    assert ask(page, "/api/trials")["series"][0]["done"] == 1
    page.click("#trialclose")
    page.click("#trialclose")
    browser.wait_until("document.querySelector('#trialphase').textContent === 'The series is over'")


def test_a_checkpoint_that_could_not_be_loaded_is_loaded_again(page: LaunchedPage, checkpoints: list[Path]) -> None:
    browser = page.browser
    page.open("trials")
    page.click("#trialleave")
    browser.wait_until("document.querySelector('#trialsetup').checkVisibility()")
    fill(page, label="Later", instructions=INSTRUCTION, starts="", checkpoints="third_try", rounds="1")
    page.click("#newseries button")
    browser.wait_until(
        "document.querySelector('#trialmessage').textContent.startsWith('Load checkpoint A by hand')", 30
    )
    page.click("#lang")
    browser.wait_until("document.querySelector('#trialmessage').textContent.endsWith('대시보드가 찾지 못했습니다')")
    page.click("#lang")
    shutil.copytree(checkpoints[0], checkpoints[0].parent / "third_try")
    page.click("#trialagain")
    page.until_prepared()
    assert not browser.evaluate("document.querySelector('#trialagain').checkVisibility()")
    page.click("#trialclose")
    page.click("#trialclose")
    browser.wait_until("document.querySelector('#trialphase').textContent === 'The series is over'")
    page.click("#trialleave")


def test_an_episode_beside_a_policy_gets_the_instruction_of_the_policy(
    page: LaunchedPage, checkpoints: list[Path]
) -> None:
    browser, instruction = page.browser, "go to the bedroom"
    browser.evaluate(
        "fetch('/api/policy/instruction', { method: 'POST', headers: { 'Content-Type': 'application/json' }, "
        f"body: JSON.stringify({{ instruction: {json.dumps(instruction)} }}) }}).then(() => true)"
    )
    page.open("collect")
    browser.wait_until(f"document.querySelector('#followed').textContent === {json.dumps(instruction)}", 30)
    page.start_episode()
    page.until_steps(12)
    page.tap("s", "KeyS")
    path = checkpoints[0].parent / "episodes/episode_000000.h5"
    wait_for(path.exists, 60, "the episode")
    with Episode.open(path) as episode:
        assert (episode.metadata.language, episode.metadata.source) == (instruction, "policy")
        assert (episode.metadata.task, episode.outcome) == ("go_to_bedroom", "success")


def test_no_script_of_the_page_has_failed(page: LaunchedPage) -> None:
    assert page.browser.failures == []
