"""The documents agree with the code and with each other."""

import ast
import os
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from mobile_vla_data.checks import codes, findings

ROOT = Path(__file__).resolve().parents[1]
LINK = re.compile(r"(?<!`)!?\[[^\]]*\]\((?P<target>[^)\s]+)\)")
FENCE = re.compile(r"^( *)(```|~~~).*?^\1\2\s*$", re.DOTALL | re.MULTILINE)


def documents() -> list[Path]:
    """Every Markdown file that git knows."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "*.md"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    )
    return [ROOT / name for name in listed.stdout.split("\n") if name and (ROOT / name).exists()]


def anchors(document: Path) -> set[str]:
    """Anchors of a document's headings, by the rules of GitHub and GitLab."""
    text = FENCE.sub("", document.read_text(encoding="utf-8"))
    found: set[str] = set()
    for heading in re.findall(r"^#+ +(.+?) *$", text, re.MULTILINE):
        plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).replace("`", "")
        slug = re.sub(r"[^\w\- ]", "", plain.lower()).strip().replace(" ", "-")
        count = sum(1 for anchor in found if anchor == slug or re.fullmatch(rf"{re.escape(slug)}-\d+", anchor))
        found.add(f"{slug}-{count}" if count else slug)
    return found


def broken(document: Path) -> list[str]:
    """Links of a document that lead nowhere in the repository."""
    text = FENCE.sub("", document.read_text(encoding="utf-8"))
    problems = []
    for match in LINK.finditer(text):
        path, _, anchor = match["target"].partition("#")
        if re.match(r"[a-z]+:", path):
            continue
        target = (document.parent / path).resolve() if path else document
        if not target.exists():
            problems.append(f"{document.relative_to(ROOT)}: {match['target']} does not exist")
        elif anchor and anchor not in anchors(target):
            problems.append(f"{document.relative_to(ROOT)}: {match['target']} has no such heading")
    return problems


def test_every_relative_link_and_anchor_leads_somewhere():
    problems = [problem for document in documents() for problem in broken(document)]
    assert not problems, "\n".join(problems)


def test_a_broken_link_or_anchor_is_found(tmp_path):
    page = ROOT / "docs" / "broken-link-for-a-test.md"
    try:
        page.write_text("# Here\n\n[one](nowhere.md) [two](index.md#nowhere) [three](#here) [four](index.md)\n")
        assert [problem.split(": ")[1] for problem in broken(page)] == [
            "nowhere.md does not exist",
            "index.md#nowhere has no such heading",
        ]
    finally:
        page.unlink()


def test_every_document_that_code_or_configuration_names_exists():
    listed = subprocess.run(
        ["git", "grep", "-nIoE", r"\bdocs/[a-z/_-]+\.(md|png|jpg)"], cwd=ROOT, capture_output=True, text=True
    )
    named = {line.split(":", 2)[2]: line for line in listed.stdout.splitlines()}
    missing = [line for name, line in named.items() if not (ROOT / name).exists() and "operators.md" not in name]
    assert not missing, "\n".join(missing)


@pytest.mark.alone  # builds every node
@pytest.mark.skipif(find_spec("rclpy") is None, reason="no ROS 2 here")
def test_the_generated_reference_equals_the_code():
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT / "tools"), os.environ.get("PYTHONPATH", "")])}
    command = [sys.executable, "-m", "reference", "--check"]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr[-2000:]


def test_every_finding_of_the_checks_has_an_entry_in_the_table_of_codes():
    used = set()
    for path in Path(findings.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and _called(node.func) in ("Finding", "finding", "_error"):
                used |= {_code(argument) for argument in node.args[:2]}
    used -= {"", "error", "warning"}
    assert len(used) > 40, "the checks no longer build findings in the way this test reads them"
    entries = {
        code.replace("language-", "*-").replace("task-", "*-") if code.endswith("-empty") else code
        for code in codes.CODES
    }
    assert used == entries


def _called(function: ast.expr) -> str:
    return function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")


def _code(argument: ast.expr) -> str:
    """A constant code; ``*`` stands for a part that is computed."""
    if isinstance(argument, ast.Constant) and isinstance(argument.value, str):
        return argument.value if re.fullmatch(r"[a-z]+(-[a-z]+)*", argument.value) else ""
    if isinstance(argument, ast.JoinedStr):
        text = "".join(str(part.value) if isinstance(part, ast.Constant) else "*" for part in argument.values)
        return text if re.fullmatch(r"\*-[a-z]+", text) else ""
    return ""


def test_both_readmes_have_the_same_headings_commands_links_and_pictures():
    english, korean = ((ROOT / name).read_text(encoding="utf-8") for name in ("README.md", "README.ko.md"))
    assert _outline(english) == _outline(korean)
    assert re.findall(r"```.*?```", english, re.DOTALL) == re.findall(r"```.*?```", korean, re.DOTALL)
    links = [sorted(match["target"] for match in LINK.finditer(text)) for text in (english, korean)]
    assert [link for link in links[0] if link != "README.ko.md"] == [link for link in links[1] if link != "README.md"]
    assert _quoted(english) == _quoted(korean)


def _outline(text: str) -> list[int]:
    """Level of every heading, in order."""
    return [len(marks) for marks in re.findall(r"^(#+) ", FENCE.sub("", text), re.MULTILINE)]


def _quoted(text: str) -> list[str]:
    """Every name in code type outside of code blocks: commands, topics, files."""
    return sorted(re.findall(r"`([^`]+)`", FENCE.sub("", text)))


def test_every_test_that_the_safety_page_names_exists():
    named = safety_tests()
    assert len(named) > 60
    files = {path.name: path.read_text() for path in [*ROOT.glob("src/*/test/*.py"), *ROOT.glob("test/*.py")]}
    everywhere = "\n".join(files.values())
    missing = [
        f"{file or 'any file'}: {sentence}"
        for file, sentence in named
        if f"def test_{sentence.replace(' ', '_')}(" not in (files.get(file, "") if file else everywhere)
    ]
    assert not missing, "\n".join(missing)


def safety_tests() -> list[tuple[str, str]]:
    """File (or an empty string) and sentence of every test in the last column of the tables of faults."""
    named, in_table = [], False
    for line in (ROOT / "docs/explanation/safety.md").read_text().splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        in_table = line.startswith("|") and (in_table or cells[-1] == "test")
        if not in_table or cells[-1] in ("test", "---", "none") or cells[-1].startswith("["):
            continue
        for item in cells[-1].split("; "):
            match = re.match(r"(?:`(?:.*/)?(?P<file>test_\w+\.py)`(?:: )?)?(?P<sentence>[^`(]*)", item)
            sentence = re.sub(r"[^a-z0-9_ ]", "", match["sentence"].lower()).strip()
            if sentence and not sentence.startswith("the same"):
                named.append((match["file"] or "", sentence))
    return named


def test_every_source_file_that_the_documents_name_exists():
    named = re.compile(r"`(?P<path>mobile_vla_\w+/(?:[\w/]*\w\.py|(?:\w+/)*))`")
    missing = []
    for page in [*(ROOT / "docs").rglob("*.md"), ROOT / "CONTRIBUTING.md", ROOT / "SECURITY.md"]:
        for match in named.finditer(page.read_text(encoding="utf-8")):
            package = match["path"].split("/")[0]
            folders = (ROOT / "src" / package, ROOT / "src")
            if not any((folder / match["path"]).exists() for folder in folders):
                missing.append(f"{page.relative_to(ROOT)}: {match['path']}")
    assert not missing, "\n".join(missing)
