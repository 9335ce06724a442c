"""Puts a training together: dataset, network, device; and makes the untrained checkpoint that it begins from."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from accelerate import Accelerator
from accelerate.utils import set_seed
from rich.console import Console
from rich.progress import Progress

from mobile_vla_policy.checkpoint import require_replaceable, save_checkpoint
from mobile_vla_policy.config import TrainSettings
from mobile_vla_policy.model.network import PolicyNetwork
from mobile_vla_policy.samples.episodes import EpisodeData, TrainingData, open_dataset
from mobile_vla_policy.samples.frames import FramesInMemory, open_frames
from mobile_vla_policy.samples.provenance import data_facts, start_facts
from mobile_vla_policy.samples.windows import WindowDataset
from mobile_vla_policy.training.features import FOLDER, FeatureStore
from mobile_vla_policy.training.finite import TrainingError
from mobile_vla_policy.training.log import Journal, Looking, NoLog, TrainingLog
from mobile_vla_policy.training.output import OutputLock, clear, require_folder, require_free, require_space, settle
from mobile_vla_policy.training.resume import FOLDER as RESUME
from mobile_vla_policy.training.resume import load_position, require_same_training
from mobile_vla_policy.training.start import begin, read_start, storage
from mobile_vla_policy.training.trainer import Trainer


def train(
    settings: TrainSettings,
    dataset: Path,
    output: Path,
    console: Console,
    resume: bool = False,
    overwrite: bool = False,
) -> float:
    """Train on ``dataset``, leaving ``best/``, ``last/``, metrics.csv and loss.png in ``output``.

    ``resume`` goes on with the training that is there; ``overwrite`` replaces it.

    Returns the best validation loss; minus the number of steps when there is no validation split.

    Raises:
        TrainingError, TrainingDataError, OutputError, ResumeError, BackboneError, WriteError, FolderBusyError: with one
            line that says what to do.
    """
    lock = OutputLock(output)
    try:
        return _train(settings, dataset, output, console, resume, overwrite, lock)
    finally:
        lock.release()


def _train(
    settings: TrainSettings,
    dataset: Path,
    output: Path,
    console: Console,
    resume: bool,
    overwrite: bool,
    lock: OutputLock,
) -> float:
    if settings.precision == "fp16" and not torch.cuda.is_available():
        raise TrainingError("precision fp16 needs CUDA; set precision=bf16 or precision=fp32")
    set_seed(settings.seed)
    accelerator = Accelerator(
        mixed_precision="no" if settings.precision == "fp32" else settings.precision,
    )
    require_folder(output)
    if resume and output.is_dir() and accelerator.is_main_process:
        lock.acquire()
    settle(output)
    position = load_position(output / RESUME) if resume else None
    if position is None:
        require_free(output, overwrite)
    if not accelerator.is_main_process:
        console = Console(quiet=True)
    data = _open(dataset, settings, console, accelerator)
    start = read_start(settings)
    settings, network = begin(settings, data, start)
    if position is not None:
        require_same_training(output, position, settings, data, network, accelerator.num_processes)
    describe(network, data, console)
    sets = open_windows(dataset, data, settings, network, accelerator, console)
    facts = {**data_facts(data), **start_facts(start)}
    trainer = Trainer(settings, network, data, sets["train"], sets.get("validation"), output, accelerator, facts)
    # Only now: what fails before leaves an earlier training as it was.
    accelerator.wait_for_everyone()
    if accelerator.is_main_process:
        lock.acquire()
        if position is None:
            # Again: another training may have come and gone while this one got ready.
            require_free(output, overwrite)
            require_space(output, network, settings)
            clear(output)

    def log(step: int) -> Journal:
        return TrainingLog(output, console, step) if accelerator.is_main_process else NoLog()

    return trainer.run(log, position)


def init(settings: TrainSettings, dataset: Path, output: Path, console: Console) -> None:
    """Write the untrained checkpoint that :func:`train` would begin from.

    Raises:
        CheckpointError: ``output`` holds something else.
        TrainingDataError, BackboneError: as for :func:`train`.
    """
    require_replaceable(output)
    set_seed(settings.seed)
    data = _open(dataset, settings, console, None)
    start = read_start(settings)
    settings, network = begin(settings, data, start)
    facts = {"steps": 0, **start_facts(start)}
    save_checkpoint(output, network, settings.policy, data.normalisation, data.contract, facts)


def describe(network: PolicyNetwork, data: TrainingData, console: Console) -> None:
    """Say what is about to be trained on what."""
    total = sum(parameter.numel() for parameter in network.parameters())
    learns = sum(parameter.numel() for parameter in network.parameters() if parameter.requires_grad)
    counts = ", ".join(
        f"{name} {len(episodes)} episodes ({sum(e.num_steps for e in episodes)} steps)"
        for name, episodes in data.splits.items()
    )
    console.print(f"{learns / 1e6:.2f} M of {total / 1e6:.2f} M parameters learn; {counts}")


def _open(dataset: Path, settings: TrainSettings, console: Console, accelerator: Accelerator | None) -> TrainingData:
    # The first process may have to split the dataset; the others then find it split.
    if accelerator is None:
        data = open_dataset(dataset, settings.policy.backbone.cameras, settings.seed)
    else:
        with accelerator.main_process_first():
            data = open_dataset(dataset, settings.policy.backbone.cameras, settings.seed)
    if data.note:
        console.print(data.note)
    return data


def open_windows(
    dataset: Path,
    data: TrainingData,
    settings: TrainSettings,
    network: PolicyNetwork,
    accelerator: Accelerator,
    console: Console,
) -> dict[str, WindowDataset]:
    """The windows of the train split, and of the validation split if there is one: over images, or over features."""
    splits = {name: data.splits[name] for name in ("train", "validation") if data.splits.get(name)}
    if not settings.policy.head_only:
        return {name: _image_windows(episodes, data, settings, network, console) for name, episodes in splits.items()}
    if any(settings.augment.model_dump().values()):
        console.print("only the head learns, on features computed once: augment is off")
    if settings.init_from is None:
        console.print("ACT is as it was drawn and stays so; init_from=CHECKPOINT would begin with one that has learned")
    network.to(accelerator.device).backbone.eval()
    folder = Path(settings.feature_cache) if settings.feature_cache else dataset / FOLDER
    store = FeatureStore(folder, network.backbone, settings.policy.backbone.cameras, data.contract, storage(settings))
    with Looking(console, store.folder, sum(len(episodes) for episodes in splits.values())) as looking:
        features = {
            name: store.compute(episodes, accelerator.autocast, looking.advance) for name, episodes in splits.items()
        }
    return {
        name: WindowDataset(episodes, features[name], data.normalisation, settings.policy.head)
        for name, episodes in splits.items()
    }


def _image_windows(
    episodes: Sequence[EpisodeData],
    data: TrainingData,
    settings: TrainSettings,
    network: PolicyNetwork,
    console: Console,
) -> WindowDataset:
    with Progress(console=console, transient=True) as progress:
        task = progress.add_task("decode", total=len(episodes))
        frames = open_frames(
            episodes,
            settings.policy.backbone.cameras,
            network.backbone.image_size,
            settings.cache_gb,
            lambda: progress.advance(task),
        )
    workers = 0 if isinstance(frames, FramesInMemory) else settings.workers
    return WindowDataset(episodes, frames, data.normalisation, settings.policy.head, workers)
