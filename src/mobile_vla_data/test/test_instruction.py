from __future__ import annotations

import unicodedata

import h5py
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mobile_vla_data.checks.validate import check_episode
from mobile_vla_data.dataset.plan import PlannedTask, wording_of
from mobile_vla_data.episode.metadata import EpisodeMetadata, MetadataError
from mobile_vla_data.episode.reader import Episode
from mobile_vla_data.instruction import MAX_CHARACTERS, InstructionError, normalise_instruction


@pytest.mark.parametrize(
    ("given", "recorded"),
    [
        ("go to the kitchen", "go to the kitchen"),
        ("  go\tto \r\n the\nkitchen ", "go to the kitchen"),
        ("go\u00a0to\u3000the\u2003kitchen\u2028now\x85", "go to the kitchen now"),
        ("ｇｏ　ｔｏ　ｋｉｔｃｈｅｎ", "go to kitchen"),
        ("\ufeffgo\u200b to\u200e the\u2060 kitchen\u00ad", "go to the kitchen"),
        ("부엌으로 가", "부엌으로 가"),
        (unicodedata.normalize("NFD", "부엌으로 가, café"), "부엌으로 가, café"),
        ("ｶﾞﾗｽをとって", "ガラスをとって"),
        ("به آشپزخانه می\u200cروم", "به آشپزخانه می\u200cروم"),
        ("pick up the 👩\u200d🍳\ufe0f cup", "pick up the 👩\u200d🍳\ufe0f cup"),
        ("drive 2 m² and ½ m to room ①", "drive 2 m² and ½ m to room ①"),
        ("ㅋㅋ go", "ㅋㅋ go"),
        ("\u200d \u200c\ufeff", ""),
        ("", ""),
        ("a" * MAX_CHARACTERS + " \n\t ", "a" * MAX_CHARACTERS),
    ],
)
def test_an_instruction_has_one_form(given, recorded):
    assert normalise_instruction(given) == recorded


@pytest.mark.parametrize("text", ["go\x00", "go \x1b[31m", "\x7f", "a\x1fb", "\x9b1m go", "half \ud83d of a pair"])
def test_control_characters_are_refused_by_their_code(text):
    with pytest.raises(InstructionError, match=r"holds the control character U\+[0-9A-F]{4}; remove it"):
        normalise_instruction(text)


@pytest.mark.parametrize("text", ["a" * 501, "가" * 10_000, " go " * 1_000_000])
def test_a_text_that_is_too_long_is_refused(text):
    with pytest.raises(InstructionError, match="give at most 500"):
        normalise_instruction(text)


@given(st.text(max_size=60))
def test_normalising_twice_changes_nothing(text):
    try:
        once = normalise_instruction(text)
    except InstructionError:
        return
    assert normalise_instruction(once) == once
    assert (once.encode() and once == once.strip()) or not once


def test_what_is_recorded_is_what_a_policy_would_be_told(record):
    path = record(language="go\u3000to\nthe kitchen", language_alternatives=("ｔｏ the kitchen",))
    with Episode.open(path) as episode:
        assert episode.text("language") == "go to the kitchen"
        assert episode.metadata.language_alternatives == ("to the kitchen",)


def test_an_instruction_that_no_policy_would_take_is_refused_when_it_is_recorded_and_relabelled(record, run):
    for wrong in ("a" * 10_000, "go\x00"):
        with pytest.raises(MetadataError, match="language: the instruction"):
            EpisodeMetadata(wrong, "t", "navigation")
        with pytest.raises(MetadataError, match="language_alternatives: the instruction"):
            EpisodeMetadata("go", "t", "navigation", language_alternatives=(wrong,))
    with pytest.raises(MetadataError, match="language is empty"):
        EpisodeMetadata("\u200b\u3000", "t", "navigation")
    path = record()
    before = path.read_bytes()
    done = run("relabel", path, "--language", "b" * 10_000)
    assert done.returncode == 1 and "10000 characters" in done.stderr and path.read_bytes() == before


def test_an_older_file_is_read_in_the_one_form_and_named_where_it_has_none(record, run):
    path = record()
    with h5py.File(path, "r+") as file:
        file.attrs["language"] = "go\u00a0to the\nkitchen"
    with Episode.open(path) as episode:
        assert episode.metadata.language == "go to the kitchen"
    assert check_episode(path) == []
    with h5py.File(path, "r+") as file:
        file.attrs["language"] = "go\x07"
    (finding,) = check_episode(path)
    assert finding.code == "attribute-invalid" and "U+0007" in finding.message and "relabel" in finding.advice
    assert run("relabel", path, "--language", "go on").returncode == 0 and check_episode(path) == []


def test_a_plan_whose_wording_is_in_another_form_still_knows_the_instruction():
    task = PlannedTask(category="navigation", episodes=1, instructions=["ｇｏ to the\u00a0{room}"])
    assert wording_of("go to the kitchen", task, {"room": "kitchen"}) == task.instructions[0] == "go to the {room}"
