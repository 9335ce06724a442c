"""Datasets to object storage and back: a folder through fsspec, and an S3 server on this machine if moto is there."""

import json
import threading
import uuid

import numpy as np
import pytest

from mobile_vla_data.convert.errors import ConvertError
from mobile_vla_data.dataset.edit import Labels, relabel
from mobile_vla_data.dataset.folder import Dataset
from mobile_vla_data.dataset.split import split_dataset
from mobile_vla_data.episode.reader import Episode
from mobile_vla_data.hub import storage
from mobile_vla_data.hub.names import HubError

pytest.importorskip("fsspec")


@pytest.fixture(params=["file", "s3"])
def url(request, tmp_path, monkeypatch):
    """An address where nothing is yet."""
    if request.param == "file":
        return f"file://{tmp_path}/far/flat"
    server = pytest.importorskip("moto.server").ThreadedMotoServer("127.0.0.1", 0)
    s3fs = pytest.importorskip("s3fs")
    server.start()
    request.addfinalizer(server.stop)
    host, port = server.get_host_and_port()
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "someone")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    s3fs.S3FileSystem.clear_instance_cache()
    bucket = f"lab-{uuid.uuid4()}"
    s3fs.S3FileSystem().mkdir(bucket)
    return f"s3://{bucket}/flat"


@pytest.fixture
def recorded(record, dataset):
    for seed in range(4):
        record(seed=seed, steps=5, cameras=("static",))
    split_dataset(dataset, (0.5, 0.25, 0.25))
    (dataset / "notes.txt").write_text("not for others")
    return dataset


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir() if not path.name.startswith(".")}


def test_a_dataset_comes_back_to_the_byte_and_only_what_differs_is_sent(recorded, url, tmp_path):
    assert storage.push(recorded, url) == 5
    back = storage.pull(url, tmp_path / "back")
    assert contents(back) == {name: data for name, data in contents(recorded).items() if name != "notes.txt"}
    assert storage.push(recorded, url) == 0
    split_dataset(recorded, (0.5, 0.25, 0.25), seed=3)
    assert storage.push(recorded, url) == 1


def test_another_dataset_is_not_overwritten_unless_it_is_asked_for(recorded, record, tmp_path, run):
    url = f"file://{tmp_path}/far/flat"
    storage.push(recorded, url)
    sent = contents(tmp_path / "far/flat")
    for seed in (7, 8):
        record(seed=seed, steps=6, cameras=("static",), folder=tmp_path / "other")
    done = run("push", tmp_path / "other", url)
    assert done.returncode == 1 and "has another episode_000000.h5 and 1 more; choose another address" in done.stderr
    assert done.stderr.count("\n") == 1 and contents(tmp_path / "far/flat") == sent
    assert run("push", tmp_path / "other", url, "--replace").returncode == 0
    path = "episode_000000.h5"
    assert (tmp_path / "far/flat" / path).read_bytes() == (tmp_path / "other" / path).read_bytes()


def test_an_episode_with_new_labels_is_the_same_episode(recorded, tmp_path):
    url = f"file://{tmp_path}/far/flat"
    storage.push(recorded, url)
    relabel(recorded / "episode_000001.h5", Labels(outcome="failure"))
    assert storage.push(recorded, url) == 1
    back = storage.pull(url, tmp_path / "back")
    with Episode.open(back / "episode_000001.h5") as episode:
        assert episode.outcome == "failure"


def test_the_copy_for_training_is_kept_and_follows_what_is_sent(recorded, url, tmp_path, monkeypatch, record):
    monkeypatch.setenv("MOBILE_VLA_CACHE", str(tmp_path / "cache"))
    storage.push(recorded, url)
    first = storage.cached(url)
    before = {path.name: path.stat().st_mtime_ns for path in Dataset.open(first).episode_paths}
    record(seed=9, steps=5, cameras=("static",))
    storage.push(recorded, url)
    assert storage.cached(url) == first
    after = {path.name: path.stat().st_mtime_ns for path in Dataset.open(first).episode_paths}
    assert len(after) == 5 and before.items() <= after.items(), "what was there is not received again"
    with (
        Episode.open(Dataset.open(first).episode_paths[-1]) as episode,
        Episode.open(Dataset.open(recorded).episode_paths[-1]) as sent,
    ):
        assert np.array_equal(episode.image("static", 0), sent.image("static", 0))


def test_an_interrupted_pull_goes_on(recorded, url, tmp_path, monkeypatch):
    storage.push(recorded, url)

    def stop(done, total):
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        storage.pull(url, tmp_path / "back", stop)
    assert not (tmp_path / "back").exists()
    received = []
    real = storage._entry
    monkeypatch.setattr(storage, "_entry", lambda path: received.append(path.name) or real(path))
    storage.pull(url, tmp_path / "back")
    assert sum(name.endswith(".part") for name in received) == 2, "three of the five files were there"


def test_a_file_that_is_damaged_on_the_storage_is_named_and_not_used(recorded, tmp_path):
    url = f"file://{tmp_path}/far/flat"
    storage.push(recorded, url)
    episode = tmp_path / "far" / "flat" / "episode_000001.h5"
    data = bytearray(episode.read_bytes())
    data[-1] ^= 1
    episode.write_bytes(data)
    with pytest.raises(HubError, match=r"episode_000001.h5: differs from manifest.json"):
        storage.pull(url, tmp_path / "back")
    assert not (tmp_path / "back").exists()


@pytest.mark.parametrize(
    ("manifest", "message"),
    [
        (None, "there is no manifest.json; send a dataset there with"),
        ("{", "manifest.json is damaged"),
        (json.dumps({"../../evil": {"size": 1, "sha256": "0"}}), "names '../../evil', which is no file of a dataset"),
        (json.dumps({".hidden": {"size": 1, "sha256": "0"}}), "names '.hidden', which is no file of a dataset"),
    ],
)
def test_what_is_no_dataset_is_one_line(tmp_path, manifest, message):
    (tmp_path / "far").mkdir()
    if manifest:
        (tmp_path / "far" / "manifest.json").write_text(manifest)
    with pytest.raises(HubError, match=message):
        storage.pull(f"file://{tmp_path}/far", tmp_path / "back")


def test_wrong_addresses_are_one_line(recorded, tmp_path, run):
    for url in ("nothing://lab/flat", "s4:///"):
        for line in (("push", recorded, url), ("pull", url, tmp_path / "back")):
            done = run(*line)
            assert done.returncode == 1 and done.stderr.count("\n") == 1 and url in done.stderr, done.stderr
    (tmp_path / "there").mkdir()
    with pytest.raises(ConvertError, match="exists already"):
        storage.pull(f"file://{recorded}", tmp_path / "there")


def test_a_copy_is_kept_in_the_cache_folder_of_the_user(recorded, tmp_path, monkeypatch):
    monkeypatch.delenv("MOBILE_VLA_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "caches"))
    url = f"file://{tmp_path}/far/flat"
    storage.push(recorded, url)
    assert tmp_path / "caches/mobile_vla" in storage.cached(url).parents


def test_a_training_waits_for_another_that_receives_the_same_copy(recorded, tmp_path, monkeypatch):
    monkeypatch.setenv("MOBILE_VLA_CACHE", str(tmp_path / "cache"))
    url = f"file://{tmp_path}/far/flat"
    storage.push(recorded, url)
    inside, go_on = threading.Event(), threading.Event()

    def hold(done, total):
        inside.set()
        go_on.wait(30)

    thread = threading.Thread(target=storage.cached, args=(url, hold))
    thread.start()
    assert inside.wait(30)
    copies = []
    second = threading.Thread(target=lambda: copies.append(storage.cached(url)))
    second.start()
    second.join(1.0)
    assert second.is_alive() and not copies, "nothing is given before it is whole"
    go_on.set()
    thread.join()
    second.join(30)
    assert [len(Dataset.open(copy).episode_ids) for copy in copies] == [4]


@pytest.mark.parametrize("option", [("--license", "cc-by-4.0"), ("--private",), ("--message", "first day")])
def test_options_of_the_hub_are_refused_in_one_line(recorded, tmp_path, run, option):
    url = f"file://{tmp_path}/far/flat"
    done = run("push", recorded, url, *option)
    assert done.returncode == 1 and f"object storage has no {option[0]}" in done.stderr
    assert done.stderr.count("\n") == 1 and not (tmp_path / "far").exists()
