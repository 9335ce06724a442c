from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from mobile_vla_data.dataset.folder import DatasetError
from mobile_vla_data.dataset.plan import CollectionPlan
from mobile_vla_data.look.report import write_report

PLAN_YAML = Path(__file__).resolve().parents[3] / "config" / "collection_plan.yaml"


class _Balanced(HTMLParser):
    VOID = ("meta", "img", "br")

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []

    def handle_starttag(self, tag, attributes):
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def page_of(dataset, tmp_path):
    write_report(dataset, tmp_path / "out" / "report.html")
    page = (tmp_path / "out" / "report.html").read_text()
    checker = _Balanced()
    checker.feed(page)
    assert checker.open == []
    # Nothing is fetched from anywhere.
    assert not re.search(r'(src|href)="(?!data:)', page)
    return page


def test_the_page_holds_plan_charts_findings_and_pictures_and_needs_nothing_else(dataset, record, tmp_path):
    CollectionPlan.ensure(dataset, PLAN_YAML)
    for seed in range(4):
        record(seed=seed, steps=55, language="go to the <kitchen> & back", environment={"room": "kitchen"})
    (dataset / "episode_000002.h5").write_bytes(b"damaged")
    page = page_of(dataset, tmp_path)
    assert "3 of 1000 planned episodes" in page and page.count("data:image/jpeg;base64,") == 6
    assert "<code>unreadable</code>" in page and "<code>plan-wording</code>" in page
    assert "go to the &lt;kitchen&gt; &amp; back" in page and "<kitchen>" not in page
    assert page.count("<svg") == 8 and page.count("<polyline") == 3


def test_an_empty_dataset_has_a_page_too(dataset, tmp_path):
    page = page_of(dataset, tmp_path)
    assert "no-episodes" in page and "There is no plan.yaml" in page


def test_a_missing_dataset_is_refused(tmp_path):
    with pytest.raises(DatasetError):
        write_report(tmp_path / "nowhere", tmp_path / "report.html")


def test_the_command_writes_into_the_dataset_by_default(run, record, dataset):
    record()
    assert run("report", dataset).stdout.strip() == str(dataset / "report.html")
    assert (dataset / "report.html").exists()
