"""Kosmos-2's architecture at a hundredth of its width, with random weights and a tokenizer built on the spot.

It needs no download, trains in minutes on two cores, and is what the tests and the demo use. Random weights at this
width need another start than Kosmos-2's own (standard deviation 0.02 drowns the image in the position signal):

- text weights with standard deviation width^-0.5, which keeps the variance of activations from layer to layer;
- two-dimensional sine positions in the vision tower, so that attention can tell places apart from the first step;
- the projection undoes the unit normalisation of image features (factor width^0.5), so that they weigh like words.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import Kosmos2Config, Kosmos2Model, PreTrainedTokenizerBase, PreTrainedTokenizerFast

_PATCH_PX = 16
_VOCABULARY = 1024
_SPECIAL = ["<s>", "<pad>", "</s>", "<unk>", "<image>", "</image>", "<phrase>", "</phrase>", "<object>", "</object>"]
_SPECIAL += ["</delimiter_of_multi_objects/>", "<grounding>"]

#: Words that whole tokens are made of, beside those of the dataset's own instructions.
_PHRASES = (
    "go to the kitchen, the living room, the bedroom, the bathroom",
    "navigate to the table, the chair, the sofa, the bed, the desk",
    "pick up the cup, the book, the phone, the remote, the bottle",
    "place the object on the table and open the drawer or close the drawer",
)


def tiny_config(width: int, layers: int, image_size: int, latents: int) -> Kosmos2Config:
    """Kosmos-2's configuration at ``width``, for square images [px] and so many latents per image."""
    heads = width // 32
    return Kosmos2Config(
        text_config={
            "vocab_size": _VOCABULARY,
            "max_position_embeddings": 512,
            "embed_dim": width,
            "layers": layers,
            "ffn_dim": 4 * width,
            "attention_heads": heads,
            "dropout": 0.0,
            "attention_dropout": 0.0,
            "init_std": width**-0.5,
        },
        vision_config={
            "hidden_size": width,
            "intermediate_size": 4 * width,
            "num_hidden_layers": layers,
            "num_attention_heads": heads,
            "image_size": image_size,
            "patch_size": _PATCH_PX,
        },
        latent_query_num=latents,
    )


def tiny_kosmos2(width: int, layers: int, image_size: int, latents: int) -> Kosmos2Model:
    """A small Kosmos-2 with weights drawn from torch's current random state."""
    config = tiny_config(width, layers, image_size, latents)
    model = Kosmos2Model(config)
    with torch.no_grad():
        model.text_model.model.embed_tokens.weight.normal_(std=width**-0.5)
        model.vision_model.model.embeddings.patch_embedding.weight.normal_(std=(3 * _PATCH_PX**2) ** -0.5)
        positions = model.vision_model.model.embeddings.position_embedding.weight
        positions[0].zero_()
        positions[1:].copy_(sine_positions(image_size // _PATCH_PX, width))
        model.image_to_text_projection.dense.weight.mul_(math.sqrt(width))
    return model


def sine_positions(side: int, width: int) -> torch.Tensor:
    """Two-dimensional sine-cosine positions, float ``[side * side, width]`` (as in MAE, He et al. 2021)."""
    quarter = width // 4
    frequencies = 10000 ** -(torch.arange(quarter) / quarter)
    phases = torch.arange(side)[:, None] * frequencies
    line = torch.cat([phases.sin(), phases.cos()], dim=1)
    rows = line[:, None].expand(side, side, -1)
    columns = line[None].expand(side, side, -1)
    return torch.cat([rows, columns], dim=-1).reshape(side * side, width)


def build_tokenizer(instructions: Sequence[str] = ()) -> PreTrainedTokenizerBase:
    """A byte-level BPE whose merges make whole tokens of the words in ``instructions``.

    Any text can be encoded: unknown words fall apart into bytes. The same instructions in any order give the same
    tokenizer. It has Kosmos-2's special tokens.
    """
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>"))
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase()])
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=_VOCABULARY,
        special_tokens=_SPECIAL,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator([*_PHRASES, *sorted(set(instructions))], trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<s>", pad_token="<pad>", eos_token="</s>", unk_token="<unk>"
    )
