"""The browser of the page's tests and measurements: it starts within its time, and leaves nothing behind."""

from __future__ import annotations

import os
from pathlib import Path

import chromium
import pytest
from chromium import BrowserError, Chromium, NoBrowserError

pytestmark = pytest.mark.alone


def program(folder: Path, text: str) -> str:
    path = folder / "browser"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return str(path)


def test_a_browser_that_never_listens_is_given_up(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(chromium, "NAMES", (program(tmp_path, "exec sleep 60"),))
    monkeypatch.setattr(chromium, "START_S", 0.5)
    with pytest.raises(BrowserError, match=r"Chromium opened no page within 0\.5 s"):
        Chromium()


def test_a_browser_that_ends_at_once_is_reported_at_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(chromium, "NAMES", (program(tmp_path, "exit 1"),))
    with pytest.raises(BrowserError, match="ended before it opened a page"):
        Chromium()


def test_a_killed_browser_leaves_no_open_file_and_no_profile(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    before = len(os.listdir("/proc/self/fd"))
    try:
        browser = Chromium()
    except NoBrowserError as error:
        pytest.skip(str(error))
    browser.kill()
    assert len(os.listdir("/proc/self/fd")) == before
    assert not list(tmp_path.glob("mobile_vla_browser_*"))
