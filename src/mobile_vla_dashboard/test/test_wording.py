"""The one table of the page's words: complete in both languages, and nothing is said beside it."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import pytest

from mobile_vla_dashboard.trials import REASONS
from mobile_vla_dashboard.wording import STATIC, in_english, say, table

PLACEHOLDER = re.compile(r"\{(\w+)\}")
SCRIPTS = sorted(STATIC.glob("*.js"))
#: Keys that are put together of parts: of these every part is named somewhere.
PHASES = {f"trials.{phase}" for phase in ("idle", "ready", "running", "judging", "over")}
PARTS = (
    "hint.",
    "absent.",
    "silent.",
    "node.",
    "category.",
    "outcome.",
    "player.done.",
    "recorder.",
    "reason.",
    "trials.refused.",
)
#: Visible without the table: the project's name; STOP and its alarm, which must be there even if no word can be loaded.
UNTRANSLATED = {"Mobile VLA", "STOP", table()["stop.failed"]["en"]}


class _Text(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.texts: list[str] = []
        self.keys: set[str] = set()

    def handle_starttag(self, tag, attrs):
        self.keys |= {value for name, value in attrs if name.startswith("data-t")}
        shown = [value for name, value in attrs if name in ("placeholder", "title", "aria-label", "alt")]
        self.texts += [value for value in shown if value]

    def handle_data(self, data):
        self.texts.append(data.strip())


@pytest.fixture(scope="module")
def page() -> _Text:
    parser = _Text()
    parser.feed((STATIC / "index.html").read_text(encoding="utf-8"))
    return parser


def test_every_key_has_both_languages_with_the_same_placeholders() -> None:
    for key, texts in table().items():
        assert list(texts) == ["en", "ko"], key
        assert all(texts.values()), key
        assert set(PLACEHOLDER.findall(texts["en"])) == set(PLACEHOLDER.findall(texts["ko"])), key


def test_the_page_itself_holds_keys_and_no_words(page: _Text) -> None:
    assert page.keys <= table().keys()
    words = {text for text in page.texts if re.search(r"[^\W\d_]", text)}
    assert words == UNTRANSLATED


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_every_key_that_a_script_names_is_in_the_table(script) -> None:
    code = script.read_text(encoding="utf-8")
    keys = set(re.findall(r'"([a-z]+(?:\.[a-z0-9]+)+)"', code))
    assert keys <= table().keys()


def test_every_key_is_used() -> None:
    sources = [*STATIC.glob("*.js"), *STATIC.glob("*.html"), *STATIC.parent.glob("*.py")]
    code = "\n".join(path.read_text(encoding="utf-8") for path in sources)
    named = set(re.findall(r"[a-z]+(?:\.[a-z0-9_]+)+", code)) | set(re.findall(r'say\("([a-z]+)"', code))
    unused = table().keys() - named - PHASES
    assert {key for key in unused if not key.startswith(PARTS) and f'"{key}"' not in code} == set()


def test_every_reason_of_a_failed_trial_has_words() -> None:
    for reason in REASONS:
        assert table()[f"reason.{reason.replace(' ', '_')}"]["en"] == reason


def test_words_of_the_server_are_checked_when_they_are_said() -> None:
    words = say("reply.absent", who=say("node.gate"), service="gate/stop")
    assert in_english(words) == "no command gate is running (service gate/stop does not exist)"
    with pytest.raises(KeyError):
        say("no.such.key")
    with pytest.raises(KeyError):
        say("reply.absent", who="gate")
