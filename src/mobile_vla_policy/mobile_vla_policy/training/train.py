"""Set-up of a training: dataset, network, device; also of the untrained checkpoint that it begins from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from accelerate import Accelerator
from accelerate.utils import set_seed
from rich.console import Console
from rich.progress import Progress

from mobile_vla_data.parallel import HERE, Spread
from mobile_vla_policy.backbones.tokenizer import MAX_INSTRUCTION_TOKENS
from mobile_vla_policy.checkpoint import RESUME, require_replaceable, save_checkpoint
from mobile_vla_policy.model.network import PolicyNetwork
from mobile_vla_policy.samples.episodes import EpisodeData, TrainingData, TrainingDataError, open_dataset
from mobile_vla_policy.samples.frames import FramesInMemory, open_frames
from mobile_vla_policy.samples.journeys import JourneyMaker
from mobile_vla_policy.samples.provenance import data_facts, start_facts
from mobile_vla_policy.samples.windows import WindowData
from mobile_vla_policy.training.features import FEATURES, FeatureStore
from mobile_vla_policy.training.log import FeatureProgress, MetricsLog, NoLog, TrainingLog
from mobile_vla_policy.training.objective import TrainingError
from mobile_vla_policy.training.output import OutputLock, clear, require_folder, require_free, require_space, settle
from mobile_vla_policy.training.resume import Position, load_position, require_same_training
from mobile_vla_policy.training.settings import TrainSettings
from mobile_vla_policy.training.start import begin, read_start, storage
from mobile_vla_policy.training.trainer import Trainer, TrainingResult
from mobile_vla_policy.training.views import ImageChange, views_of


def train(
    settings: TrainSettings,
    dataset: Path,
    output: Path,
    console: Console,
    resume: bool = False,
    overwrite: bool = False,
    spread: Spread = HERE,
) -> TrainingResult:
    """Train on ``dataset``, leaving ``best/``, ``last/``, metrics.csv and loss.png in ``output``.

    ``resume`` continues the training in ``output``; ``overwrite`` replaces it. ``spread`` says where a frozen backbone
    computes features.

    Raises:
        TrainingError, TrainingDataError, OutputError, ResumeError, BackboneError, WriteError, FolderBusyError: with one
            line that says what to do.
    """
    if settings.precision == "fp16" and not torch.cuda.is_available():
        raise TrainingError("precision fp16 needs CUDA; set precision=bf16 or precision=fp32")
    if spread.ray and not settings.policy.head_only:
        raise TrainingError(
            "--ray spreads the features of a frozen backbone, and this training has none; leave --ray out, or set "
            "policy.backbone.freeze=true policy.lora.enabled=false"
        )
    set_seed(settings.seed)
    accelerator = Accelerator(mixed_precision="no" if settings.precision == "fp32" else settings.precision)
    if not accelerator.is_main_process:
        console = Console(quiet=True)
    lock = OutputLock(output)
    try:
        run = _Run(settings, dataset, output, console, accelerator, lock, spread)
        return run.train(resume=resume, overwrite=overwrite)
    finally:
        lock.release()


@dataclass(frozen=True)
class _Run:
    """One call of :func:`train`, in one of several processes."""

    settings: TrainSettings
    dataset: Path
    output: Path
    console: Console
    accelerator: Accelerator
    lock: OutputLock
    spread: Spread

    def train(self, *, resume: bool, overwrite: bool) -> TrainingResult:
        position = self._prepare_output(resume=resume, overwrite=overwrite)
        data = _open(self.dataset, self.settings, self.console, self.accelerator)
        start = read_start(self.settings)
        settings, network = begin(self.settings, data, start)
        origin = Position.of_start(settings, data, network, self.accelerator.num_processes)
        if position is not None:
            source = settings.init_from or settings.policy.backbone.title
            require_same_training(self.output, position, origin, source)
        require_instructions_that_fit(network, data)
        describe(network, data, self.console)
        windows = open_windows(self.dataset, data, settings, network, self.accelerator, self.console, self.spread)
        facts = {**data_facts(data), **start_facts(start)}
        trainer = Trainer(
            settings, network, data, windows["train"], windows.get("validation"), self.output, self.accelerator,
            origin, facts,
        )  # fmt: skip
        self._take_output(network, settings, resume=resume, overwrite=overwrite)
        return trainer.run(self._open_log, position)

    def _prepare_output(self, *, resume: bool, overwrite: bool) -> Position | None:
        """Check the output folder before anything slow happens; return the position to resume from, if any."""
        require_folder(self.output)
        if resume and self.output.is_dir() and self.accelerator.is_main_process:
            self.lock.acquire()
        settle(self.output)
        if resume:
            return load_position(self.output / RESUME)
        require_free(self.output, overwrite)
        return None

    def _take_output(self, network: PolicyNetwork, settings: TrainSettings, *, resume: bool, overwrite: bool) -> None:
        """Remove an earlier training. This comes last, so that an earlier failure leaves the folder unchanged."""
        self.accelerator.wait_for_everyone()
        if not self.accelerator.is_main_process:
            return
        self.lock.acquire()
        if not resume:
            # Again: another training may have come and gone while this one got ready.
            require_free(self.output, overwrite)
            require_space(self.output, network, settings)
            clear(self.output)

    def _open_log(self, step: int) -> MetricsLog:
        return TrainingLog(self.output, self.console, step) if self.accelerator.is_main_process else NoLog()


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


def require_instructions_that_fit(network: PolicyNetwork, data: TrainingData) -> None:
    """Raise TrainingDataError naming an episode whose instruction would be too long for the trained policy."""
    for episode in (episode for episodes in data.splits.values() for episode in episodes):
        length = int(network.backbone.tokenise(list(episode.wordings)).lengths.max())
        if length > MAX_INSTRUCTION_TOKENS:
            raise TrainingDataError(
                f"{episode.path}: the instruction has {length} tokens, and a policy follows at most "
                f"{MAX_INSTRUCTION_TOKENS}; shorten it with mobile-vla-data relabel"
            )


def describe(network: PolicyNetwork, data: TrainingData, console: Console) -> None:
    """Print the number of trained parameters and of episodes."""
    total = sum(parameter.numel() for parameter in network.parameters())
    learns = sum(parameter.numel() for parameter in network.parameters() if parameter.requires_grad)
    counts = ", ".join(
        f"{name} {len(episodes)} episodes ({sum(e.num_steps for e in episodes)} steps)"
        for name, episodes in data.splits.items()
    )
    console.print(f"{learns / 1e6:.2f} M of {total / 1e6:.2f} M parameters learn; {counts}")


def _open(dataset: Path, settings: TrainSettings, console: Console, accelerator: Accelerator | None) -> TrainingData:
    cameras, dihedral = settings.policy.backbone.cameras, settings.augment.dihedral
    # The first process may have to split the dataset; the others then find it split.
    if accelerator is None:
        data = open_dataset(dataset, cameras, settings.seed, symmetric=dihedral)
    else:
        with accelerator.main_process_first():
            data = open_dataset(dataset, cameras, settings.seed, symmetric=dihedral)
    learns_places = settings.grounding_weight or settings.hindsight_weight
    if learns_places and cameras[0] != data.contract.first_camera:
        raise TrainingDataError(
            f"{dataset}: targets are annotated in images of '{data.contract.first_camera}', but "
            f"policy.backbone.cameras begins with '{cameras[0]}'; put '{data.contract.first_camera}' first"
        )
    train = data.splits["train"]
    if settings.grounding_weight and not any((episode.target_px() >= 0).any() for episode in train):
        console.print(
            f"Warning: {dataset}: no episode says where its target is, so the policy will hardly learn what the words "
            "mean; mark targets on the page or with mobile-vla-data annotate, or set grounding_weight=0",
            style="bold yellow",
            soft_wrap=True,
        )
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
    spread: Spread,
) -> dict[str, WindowData]:
    """Return the windows of the train split and, if there is one, of the validation split: images or features."""
    splits = {name: data.splits[name] for name in ("train", "validation") if data.splits.get(name)}
    if not settings.policy.head_only:
        return {name: _image_windows(episodes, data, settings, network, console) for name, episodes in splits.items()}
    if any(settings.augment.model_dump().values()) and settings.feature_views == 1:
        console.print(
            "only the head learns, on features that are computed once: augment is off; feature_views changes that"
        )
    if settings.init_from is None:
        console.print("the ACT embedding is random and frozen; set init_from=CHECKPOINT to start from a trained one")
    if not spread.many:
        network.to(accelerator.device)
    network.backbone.eval()
    folder = Path(settings.feature_cache).expanduser() if settings.feature_cache else dataset / FEATURES
    store = FeatureStore(folder, network.backbone, settings.policy.backbone.cameras, data.contract, storage(settings))
    views: dict[str, list[tuple[EpisodeData, ImageChange | None]]] = {
        name: [(episode, None) for episode in episodes] for name, episodes in splits.items()
    }
    for number in range(1, settings.feature_views):
        changed = views_of(splits["train"], number, settings.augment, data.contract, settings.seed)
        views["train"] += zip(*changed, strict=True)
    every = [view for of_split in views.values() for view in of_split]
    with FeatureProgress(console, store.folder, len(every)) as progress:
        features = iter(store.compute(every, progress.advance, spread))
    return {
        name: WindowData(
            [episode for episode, _ in of_split],
            [next(features) for _ in of_split],
            data.normalisation,
            settings.policy.head,
        )
        for name, of_split in views.items()
    }


def _image_windows(
    episodes: Sequence[EpisodeData],
    data: TrainingData,
    settings: TrainSettings,
    network: PolicyNetwork,
    console: Console,
) -> WindowData:
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
    learns_places = settings.grounding_weight or settings.hindsight_weight
    journeys = JourneyMaker(episodes, data.contract) if learns_places else None
    return WindowData(episodes, frames, data.normalisation, settings.policy.head, workers, journeys)
