"""Draws wordings of instructions for recorded episodes out of a file of paraphrases."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mobile_vla_data.dataset.edit import Labels
from mobile_vla_data.dataset.plan import put_in
from mobile_vla_data.episode.metadata import EpisodeMetadata
from mobile_vla_data.yaml_file import read_yaml


class ParaphraseError(ValueError):
    """A file of paraphrases is missing or wrong; one line naming file and task."""


@dataclass(frozen=True)
class Paraphrases:
    """Task -> wordings, in which ``{room}`` and other names stand for the episode's environment. Use :meth:`load`."""

    path: Path
    wordings: Mapping[str, Sequence[str]]

    @classmethod
    def load(cls, path: str | Path) -> Paraphrases:
        """Read a YAML file: a collection plan, or a mapping of task names to lists of wordings.

        Raises:
            ParaphraseError: the file is missing, is not YAML, or holds something else.
        """
        path = Path(path)
        document = read_yaml(path, ParaphraseError, "no such file; a collection plan also serves")
        tasks = document.get("tasks", document) if isinstance(document, dict) else None
        if not isinstance(tasks, dict) or not tasks:
            raise ParaphraseError(f"{path}: must map task names to lists of wordings")
        return cls(path, {str(task): _wordings(path, task, found) for task, found in tasks.items()})

    def draw(self, metadata: EpisodeMetadata, episode_id: str, seed: int) -> Labels:
        """Draw the instruction of an episode; every other wording, and the one it has, becomes an alternative.

        The same seed and episode give the same instruction.

        Raises:
            ParaphraseError: the file has no wordings of the task, or one names an environment that the episode lacks.
        """
        if metadata.task not in self.wordings:
            raise ParaphraseError(f"{self.path}: has no wordings of task '{metadata.task}' ({episode_id})")
        environment = {name: str(value) for name, value in metadata.environment.items()}
        filled = []
        for wording in self.wordings[metadata.task]:
            try:
                filled.append(put_in(wording, environment))
            except (KeyError, IndexError) as error:
                raise ParaphraseError(
                    f"{self.path}: '{wording}' uses {{{error.args[0]}}}, which the environment of {episode_id} lacks"
                ) from None
        chosen = random.Random(f"{seed}/{episode_id}").choice(filled)
        others = dict.fromkeys([metadata.language, *metadata.language_alternatives, *filled])
        others.pop(chosen, None)
        return Labels(language=chosen, language_alternatives=tuple(others))


def _wordings(path: Path, task: Any, found: Any) -> list[str]:
    listed = found.get("instructions") if isinstance(found, dict) else found
    if not isinstance(listed, list) or not listed or not all(isinstance(item, str) and item.strip() for item in listed):
        raise ParaphraseError(f"{path}: task '{task}' needs a list of wordings")
    return listed
