"""Tokenizers: one loaded by name, one built from the instructions of a dataset, and a cache of what they return."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import AutoTokenizer, PreTrainedTokenizerBase, PreTrainedTokenizerFast

from mobile_vla_data.instruction import normalise_instruction

#: Longer instructions than this are refused [tokens]; every token costs time in each step.
MAX_INSTRUCTION_TOKENS = 128

#: Size of the vocabulary of a tokenizer that is built here.
VOCABULARY = 1024
#: Most random tokens that :func:`with_other_words` inserts.
_INSERTED = 6
#: Kosmos-2's special tokens.
_SPECIAL = ["<s>", "<pad>", "</s>", "<unk>", "<image>", "</image>", "<phrase>", "</phrase>", "<object>", "</object>"]
_SPECIAL += ["</delimiter_of_multi_objects/>", "<grounding>"]

#: Words that become whole tokens, beside those of the dataset's own instructions.
_PHRASES = (
    "go to the kitchen, the living room, the bedroom, the bathroom",
    "navigate to the table, the chair, the sofa, the bed, the desk",
    "pick up the cup, the book, the phone, the remote, the bottle",
    "place the object on the table and open the drawer or close the drawer",
)


class TokenizerError(RuntimeError):
    """A tokenizer cannot be loaded. The message is one line."""


@dataclass(frozen=True)
class Tokens:
    """Instructions as token ids, padded on the right."""

    ids: torch.Tensor
    """int64 ``[N, L]``."""
    lengths: torch.Tensor
    """int64 ``[N]``: tokens before the padding."""

    def select(self, index: torch.Tensor) -> Tokens:
        """Return the instructions at ``index`` (int64 ``[M]``), so that all frames of a window share one."""
        return Tokens(self.ids[index], self.lengths[index])

    def to(self, device: torch.device | str) -> Tokens:
        """Return the same tokens on another device."""
        return Tokens(self.ids.to(device), self.lengths.to(device))


def with_other_words(tokens: Tokens, share: float) -> Tokens:
    """Return ``tokens`` with a share of them replaced at random, and a run of random ones in every other instruction.

    The order of those that stay is kept. For networks that learn words from few instructions.
    """
    ids, lengths = tokens.ids, tokens.lengths

    def chance() -> torch.Tensor:
        return torch.rand(len(ids), 1, device=ids.device)

    # The mean of a uniform number's cube is a quarter.
    replaced = torch.rand(ids.shape, device=ids.device) < 4 * share * chance() ** 3
    ids = torch.where(replaced, torch.randint_like(ids, VOCABULARY), ids)
    more = (chance() < 0.5) * (chance() * (_INSERTED + 1)).long()
    before = (chance() * (lengths[:, None] + 1)).long()
    place = torch.arange(ids.shape[1], device=ids.device)
    longer = torch.randint(VOCABULARY, (len(ids), ids.shape[1] + _INSERTED), device=ids.device)
    return Tokens(longer.scatter(1, place + more * (place >= before), ids), lengths + more[:, 0])


class InstructionCache:
    """Tokenises each distinct instruction once."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self._ids: dict[str, list[int]] = {}

    def __call__(self, instructions: Sequence[str]) -> Tokens:
        """Pad the ids of ``instructions`` to the longest. Raises ValueError on an empty or malformed instruction."""
        rows = [self._encode(text) for text in instructions]
        lengths = torch.tensor([len(row) for row in rows])
        ids = torch.zeros(len(rows), int(lengths.max()), dtype=torch.int64)
        for row, values in zip(ids, rows, strict=True):
            row[: len(values)] = torch.tensor(values)
        return Tokens(ids, lengths)

    def _encode(self, text: str) -> list[int]:
        if text not in self._ids:
            ids = self._tokenizer.encode(normalise_instruction(text), add_special_tokens=False)
            if not ids:
                raise ValueError(f"the instruction {text!r} is empty; say what to do, for example 'go to the kitchen'")
            self._ids[text] = list(ids)
        return self._ids[text]


def load_tokenizer(name: str | Path) -> PreTrainedTokenizerBase:
    """Load a tokenizer from a hub name or a folder. Raises :class:`TokenizerError` if there is none."""
    try:
        return AutoTokenizer.from_pretrained(str(name))
    except (OSError, ValueError) as error:
        raise TokenizerError(f"cannot load a tokenizer from '{name}': {' '.join(str(error).split())}") from None


def build_tokenizer(instructions: Sequence[str] = ()) -> PreTrainedTokenizerBase:
    """Build a byte-level BPE tokenizer with Kosmos-2's special tokens and whole tokens for words of ``instructions``.

    It can encode any text: unknown words become bytes. The same instructions in any order give the same tokenizer.
    """
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>"))
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase()])
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=_SPECIAL,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator([*_PHRASES, *sorted(set(instructions))], trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<s>", pad_token="<pad>", eos_token="</s>", unk_token="<unk>"
    )
