from __future__ import annotations

import json
import re
from pathlib import Path

import h5py
import numpy as np
import pytest

from mobile_vla_data.checks.validate import check_episode, validate_dataset
from mobile_vla_data.contract import Contract
from mobile_vla_data.dataset.split import split_dataset
from mobile_vla_data.storage.lock import DatasetLock


def the_one(findings):
    assert len(findings) == 1, [str(finding) for finding in findings]
    text = str(findings[0])
    assert "\n" not in text and findings[0].advice
    return findings[0]


def replace(path: Path, name: str, values: object, **options: object) -> None:
    with h5py.File(path, "r+") as file:
        attributes = dict(file[name].attrs)
        del file[name]
        file.create_dataset(name, data=values, **options).attrs.update(attributes)


def test_a_good_dataset_has_no_findings(dataset, record):
    for seed in range(3):
        record(seed=seed, language=f"go to the kitchen, please ({seed})")
    split_dataset(dataset, (0.34, 0.33, 0.33), seed=1)
    report = validate_dataset(dataset)
    assert report.ok and report.findings == [] and (report.num_episodes, report.num_steps) == (3, 60)


def test_many_processes_find_what_one_finds(dataset, record):
    for seed in range(34):
        record(seed=seed, steps=5, cameras=("static",), language=f"go there, number {seed}")
    path = dataset / "episode_000020.h5"
    path.write_bytes(path.read_bytes()[:3000])
    reports = [validate_dataset(dataset, processes=processes) for processes in (1, 2)]
    assert reports[0] == reports[1] and the_one(reports[0].findings).file == str(path)


@pytest.mark.parametrize("keep", [0, 7, 100, 3000, -1])
def test_a_truncated_file_is_named_with_its_reason(dataset, record, keep):
    path = record()
    path.write_bytes(path.read_bytes()[:keep])
    finding = the_one(check_episode(path))
    assert (finding.code, finding.severity, finding.file) == ("unreadable", "error", str(path))
    assert "truncated" in finding.message


def test_garbage_is_named(dataset):
    path = dataset / "episode_000000.h5"
    path.write_bytes(np.random.default_rng(0).bytes(5000))
    assert the_one(check_episode(path)).code == "unreadable"


def test_damage_anywhere_never_raises(dataset, record):
    path = record(steps=5, cameras=("static",))
    whole = path.read_bytes()
    rng = np.random.default_rng(1)
    for _ in range(60):
        damaged = bytearray(whole)
        start = int(rng.integers(0, min(len(whole) - 64, 20_000)))
        damaged[start : start + 64] = rng.bytes(64)
        path.write_bytes(bytes(damaged))
        check_episode(path)


def test_hdf5_that_is_no_episode_is_named(dataset):
    path = dataset / "episode_000000.h5"
    with h5py.File(path, "w") as file:
        file["x"] = 1
    assert "attribute 'schema' is missing" in the_one(check_episode(path)).message


def test_another_schema_version_is_refused(dataset, record):
    path = record()
    with h5py.File(path, "r+") as file:
        file.attrs["schema_version"] = "2.0"
    assert "this version reads 'mobile_vla_episode' 1.0 to 1.1" in the_one(check_episode(path)).message


@pytest.mark.parametrize("name", ["/actions", "/observations/state", "/timestamps", "/takeover",
                                  "/observations/images/static", "/observations/stamps/static",
                                  "/observations/stamps/odom", "/observations/stamps/gripper_state"])  # fmt: skip
def test_a_missing_dataset_is_named(record, name):
    path = record()
    with h5py.File(path, "r+") as file:
        del file[name]
    finding = the_one(check_episode(path))
    assert finding.code == "dataset-missing" and f"dataset {name} is missing" in finding.message


@pytest.mark.parametrize("name", ["language", "contract", "num_steps", "outcome", "dropped_ticks", "created_at"])
def test_a_missing_attribute_is_named(record, name):
    path = record()
    with h5py.File(path, "r+") as file:
        del file.attrs[name]
    finding = the_one(check_episode(path))
    assert finding.code == "attribute-missing" and f"'{name}' is missing" in finding.message


def test_a_wrong_shape_names_the_dataset_with_both_shapes(record):
    path = record()
    replace(path, "/actions", np.zeros((3, 20), np.float32))
    finding = the_one(check_episode(path))
    assert finding.code == "shape" and finding.message == "/actions has shape [3, 20], expected [T, 3]"


def test_a_wrong_image_shape_names_the_dataset_with_both_shapes(record):
    path = record(encoding="raw", steps=12)
    replace(path, "/observations/images/gripper", np.zeros((12, 3, 224, 224), np.uint8))
    finding = the_one(check_episode(path))
    assert finding.message == "/observations/images/gripper has shape [12, 3, 224, 224], expected [T, 224, 224, 3]"


@pytest.mark.parametrize(
    ("name", "values", "message"),
    [
        ("/actions", np.zeros((20, 3)), "/actions is float64, expected float32"),
        ("/timestamps", np.arange(20.0), "/timestamps is float64, expected int64"),
        ("/takeover", np.zeros(20, np.uint8), "/takeover is uint8, expected bool"),
        ("/observations/images/static", np.zeros(20, np.uint8), "is uint8, expected variable-length uint8"),
    ],
)
def test_a_wrong_type_is_named(record, name, values, message):
    path = record()
    replace(path, name, values)
    finding = the_one(check_episode(path))
    assert finding.code == "dtype" and message in finding.message


@pytest.mark.parametrize(("name", "value"), [("/actions", np.nan), ("/observations/state", np.inf)])
def test_one_value_that_is_not_finite_is_named_with_its_step(record, name, value):
    path = record()
    with h5py.File(path, "r+") as file:
        file[name][13, 1] = value
    finding = the_one(check_episode(path))
    assert (finding.code, finding.step) == ("not-finite", 13) and f"{name}[13, 1] is {value}" in finding.message


def test_ticks_that_do_not_rise_are_named_with_the_step(record):
    path = record()
    with h5py.File(path, "r+") as file:
        file["/timestamps"][8] = file["/timestamps"][7]
    finding = the_one(check_episode(path))
    assert (finding.code, finding.step) == ("ticks-not-rising", 8)


@pytest.mark.parametrize(
    ("name", "value", "code"),
    [
        ("language", "  ", "language-empty"),
        ("category", "flying", "attribute-invalid"),
        ("outcome", "good", "attribute-invalid"),
        ("environment", "[1]", "attribute-invalid"),
        ("environment", "{", "attribute-invalid"),
        ("contract", "{}", "contract-invalid"),
        ("contract", "nonsense", "contract-invalid"),
        ("episode_id", "episode_000009", "id-mismatch"),
    ],
)
def test_an_attribute_that_cannot_be_is_named(record, name, value, code):
    path = record()
    with h5py.File(path, "r+") as file:
        file.attrs[name] = value
    assert the_one(check_episode(path)).code == code


def test_num_steps_must_agree_with_every_dataset(record):
    path = record()
    with h5py.File(path) as file:
        stamps = file["/observations/stamps/odom"][:19]
    replace(path, "/observations/stamps/odom", stamps)
    finding = the_one(check_episode(path))
    assert finding.code == "length-mismatch"
    assert finding.message == "/observations/stamps/odom has 19 steps, attribute 'num_steps' says 20"


def test_a_second_contract_in_a_dataset_names_the_fields(dataset, contract, record):
    for seed in range(2):
        record(seed=seed)
    changed = contract.to_json().replace('"control_rate_hz":10.0', '"control_rate_hz":10.2')
    path = record(seed=2, with_contract=Contract.from_json(changed))
    finding = the_one(validate_dataset(dataset).findings)
    assert finding.code == "contract-differs" and finding.file == str(path)
    assert "control_rate_hz: 10.2 != 10.0" in finding.message


def test_unfinished_recordings_are_named_unless_a_recorder_is_at_work(dataset, record):
    record()
    (dataset / ".episode_000001.h5.part").touch()
    with DatasetLock(dataset):
        assert validate_dataset(dataset).findings == []
    finding = the_one(validate_dataset(dataset).findings)
    assert finding.code == "unfinished" and "mobile-vla-data recover" in finding.advice
    assert finding.file.endswith(".episode_000001.h5.part")


@pytest.mark.parametrize(
    ("splits", "code", "words"),
    [
        ({"train": ["episode_000000", "episode_000009"]}, "splits-unknown", "'train' names episode_000009"),
        ({"train": ["episode_000000"], "test": ["episode_000000"]}, "splits-twice", "is in 'train' and in 'test'"),
        ({"train": []}, "splits-incomplete", "1 episodes are in no split, episode_000000 first"),
        ({"train": "all"}, "splits-invalid", "must map split names to lists of episode ids"),
    ],
)
def test_splits_that_disagree_with_the_files_are_named(dataset, record, splits, code, words):
    record()
    (dataset / "splits.json").write_text(json.dumps({"splits": splits}))
    finding = the_one(validate_dataset(dataset).findings)
    assert finding.code == code and words in finding.message


def test_splits_that_are_no_json_are_named(dataset, record):
    record()
    (dataset / "splits.json").write_text("{")
    assert the_one(validate_dataset(dataset).findings).code == "splits-invalid"


def test_one_instruction_for_everything_is_an_error(dataset, record):
    for seed in range(10):
        record(seed=seed, steps=5, cameras=("static",), task=f"task_{seed % 2}", language="do it")
    finding = the_one(validate_dataset(dataset).findings)
    assert (finding.code, finding.severity) == ("one-instruction", "error")


def test_an_episode_recorded_twice_is_named(dataset, record):
    record(seed=3)
    path = record(seed=3, language="go to the kitchen now")
    finding = the_one(validate_dataset(dataset).findings)
    assert finding.code == "duplicate" and finding.file == str(path) and "episode_000000" in finding.message


def test_an_empty_dataset_is_a_finding(dataset):
    assert the_one(validate_dataset(dataset).findings).code == "no-episodes"


def test_every_finding_reads_as_one_line(record):
    path = record()
    replace(path, "/actions", np.zeros((3, 20), np.float32))
    assert re.fullmatch(rf"{path}: /actions has .*; .* \[shape\]", str(check_episode(path)[0]))
