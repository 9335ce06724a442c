"""Kosmos-2 for driving: function and weights of :mod:`mobile_vla_policy.backbones.kosmos2`, executed faster.

- Query, key and value of a layer are one product; norm, activation and residual belong to the product next to them.
- Attention gets a causal flag instead of a mask to add.
- Keys and values of the resampler's latent queries do not depend on the image: they are computed once.
- The text model's sequence is padded behind ACT to a multiple of a vector unit's length.
- Of the last text layer only ACT is computed; the rest of the sequence only gives it keys and values.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import nn
from torch.nn import functional
from transformers import PreTrainedTokenizerBase

from mobile_vla_policy.backbones.backbone import Backbone, BackboneError
from mobile_vla_policy.backbones.linear import MakeLinear, activation_named, merge_lora, spec_of
from mobile_vla_policy.backbones.tokenizer import Tokens

#: Attention over 160 positions takes 0.7 of the time of 155, and the products take the same.
_LENGTH_STEP = 16
#: torch's 16-bit kernel on a CPU takes two thirds of the time for 288 keys that it takes for 257.
_KEYS_STEP = 32


class FastKosmos2Backbone(Backbone):
    """Takes over the weights of a Kosmos-2 layer by layer; the given model cannot be used afterwards.

    Adapters are merged on the way. Each layer of the given model is dropped before the next is read.
    """

    def __init__(
        self,
        model: Any,
        tokenizer: PreTrainedTokenizerBase,
        act: torch.Tensor,
        pixel_mean_std: tuple[torch.Tensor, torch.Tensor],
        frame_ids: list[list[int]],
        dtype: torch.dtype,
        make: MakeLinear,
    ) -> None:
        super().__init__(tokenizer)
        vision, text = model.config.vision_config, model.config.text_config
        self._hidden_size, self._image_size = int(text.embed_dim), int(vision.image_size)
        vision_layers = _take_layers(model.vision_model.model.encoder)
        text_layers = _take_layers(model.text_model.model)
        merge_lora(model)  # adapters outside the layers
        self.vision = _Vision(model.vision_model.model, vision_layers, vision, dtype, make)
        self.resampler = _Resampler(model.image_to_text_projection, dtype, make)
        self.text = _Text(model.text_model.model, text_layers, text, dtype, make)
        self.act = nn.Parameter(act.detach().to(dtype), requires_grad=False)
        self.pixel_mean, self.pixel_std = (nn.Buffer(values) for values in pixel_mean_std)
        self.frame_ids = nn.Buffer(torch.tensor(frame_ids, device=act.device))

    @property
    def hidden_size(self) -> int:
        """Width of the ACT state."""
        return self._hidden_size

    @property
    def image_size(self) -> int:
        """Side of the square input images [px]."""
        return self._image_size

    def embed_images(self, images: torch.Tensor) -> torch.Tensor:
        """Return image latents ``[N, cameras, latents, hidden_size]`` of ``images`` float ``[N, cameras, 3, S, S]``."""
        pixels = ((images.flatten(0, 1) - self.pixel_mean) / self.pixel_std).to(self.act.dtype)
        latents: torch.Tensor = self.resampler(self.vision(pixels))
        return torch.unflatten(latents, 0, images.shape[:2])

    def act_states(self, latents: torch.Tensor, tokens: Tokens) -> torch.Tensor:
        """Return ACT states ``[N, hidden_size]`` of image latents ``[N, cameras, latents, hidden_size]``."""
        # One more position for ACT, and padding behind it.
        length = self.frame_ids.numel() + latents.shape[1] * latents.shape[2] + tokens.ids.shape[1] + 1
        count, words = len(latents), self.text.words(functional.pad(tokens.ids, (0, 1 + -length % _LENGTH_STEP)))
        here = torch.arange(words.shape[1], device=words.device) == tokens.lengths[:, None]
        marks = self.text.words(self.frame_ids)
        parts = [marks[0].expand(count, -1, -1)]
        for camera in range(latents.shape[1]):
            parts += [latents[:, camera], marks[camera + 1].expand(count, -1, -1)]
        embeddings = torch.cat([*parts, torch.where(here[..., None], self.act, words)], dim=1)
        states: torch.Tensor = self.text(embeddings, embeddings.shape[1] - words.shape[1] + tokens.lengths)
        return states

    def enable_gradient_checkpointing(self) -> None:
        """Raise BackboneError: there is no backward pass."""
        raise BackboneError("this network is optimised for driving and cannot be trained; load the checkpoint again")


def attend(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, *, causal: bool = False) -> torch.Tensor:
    """Attend with queries ``[N, heads, queries, dim]`` to ``[N, heads, keys, dim]``; ``causal``: self-attention."""
    if causal and torch.onnx.is_in_onnx_export():
        # Otherwise the exporter builds the mask with Trilu, which TensorRT's parser is not known to take.
        here = torch.arange(key.shape[2], device=key.device)
        return functional.scaled_dot_product_attention(query, key, value, attn_mask=here <= here[:, None])
    missing = -key.shape[2] % _KEYS_STEP
    if causal or not missing or key.device.type != "cpu" or key.dtype != torch.bfloat16:
        return functional.scaled_dot_product_attention(query, key, value, is_causal=causal)
    there = torch.arange(key.shape[2] + missing) < key.shape[2]
    key, value = functional.pad(key, (0, 0, 0, missing)), functional.pad(value, (0, 0, 0, missing))
    return functional.scaled_dot_product_attention(query, key, value, attn_mask=there[None, None, None])


def _take_layers(module: Any) -> list[Any]:
    layers = list(module.layers)
    module.layers = nn.ModuleList()
    return layers


class _Attention(nn.Module):
    """Self-attention and feed-forward of one layer, on ``[N, length, width]``."""

    def __init__(self, qkv: nn.Module, out: nn.Module, heads: int, causal: bool) -> None:
        super().__init__()
        self.qkv, self.out = qkv, out
        self._heads, self._causal = heads, causal

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        query, key, value = self.qkv(x).unflatten(-1, (3, self._heads, -1)).permute(2, 0, 3, 1, 4)
        mixed = attend(query, key, value, causal=self._causal)
        attended: torch.Tensor = self.out(mixed.transpose(1, 2).flatten(2), x)
        return attended


class _FeedForward(nn.Module):
    """Two products, with the first one's activation and both norms inside them."""

    def __init__(self, up: nn.Module, down: nn.Module) -> None:
        super().__init__()
        self.up, self.down = up, down

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = self.down(self.up(x), x)
        return result


class _Vision(nn.Module):
    """Pixels ``[B, 3, S, S]`` to unit-length states ``[B, 1 + patches, width]``."""

    def __init__(self, source: Any, layers: list[Any], config: Any, dtype: torch.dtype, make: MakeLinear) -> None:
        super().__init__()
        embeddings = source.embeddings.to(dtype).requires_grad_(False)
        self.patches = embeddings.patch_embedding
        positions = embeddings.position_embedding.weight
        # The first place belongs to the class embedding, which is the same for every image.
        self.first = nn.Parameter((embeddings.class_embedding + positions[0]).detach(), requires_grad=False)
        self.positions = nn.Parameter(positions[1:].detach(), requires_grad=False)
        self.norm = source.pre_layrnorm.to(dtype).requires_grad_(False)
        self.last_norm = source.post_layernorm.to(dtype).requires_grad_(False)
        activation, heads = activation_named(config.hidden_act), config.num_attention_heads
        self.layers = nn.ModuleList()
        while layers:
            layer = layers.pop(0)
            merge_lora(layer)
            its = layer.self_attn
            self.layers += [
                _Attention(
                    make(spec_of(its.q_proj, its.k_proj, its.v_proj, norm=layer.layer_norm1).to(dtype)),
                    make(spec_of(its.out_proj).to(dtype)),
                    heads,
                    causal=False,
                ),
                _FeedForward(
                    make(spec_of(layer.mlp.fc1, norm=layer.layer_norm2, activation=activation).to(dtype)),
                    make(spec_of(layer.mlp.fc2).to(dtype)),
                ),
            ]

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        patches = self.patches(pixels).flatten(2).transpose(1, 2) + self.positions
        x = self.norm(torch.cat([self.first.expand(len(patches), 1, -1), patches], dim=1))
        for layer in self.layers:
            x = layer(x)
        return functional.normalize(self.last_norm(x), dim=-1)


class _Resampler(nn.Module):
    """Vision states ``[B, places, vision width]`` to latents ``[B, latents, width]``."""

    def __init__(self, source: Any, dtype: torch.dtype, make: MakeLinear) -> None:
        super().__init__()
        attention = source.x_attn
        self._heads = attention.num_heads
        queries = source.latent_query.detach().to(dtype)
        to_keys_values = spec_of(attention.k_proj, attention.v_proj).to(dtype)
        with torch.no_grad():
            query = attention.q_proj.to(dtype)(queries)
            keys_values = functional.linear(queries, to_keys_values.weight, to_keys_values.bias)
        self.query = nn.Parameter(query, requires_grad=False)
        self.own_keys_values = nn.Parameter(keys_values, requires_grad=False)
        self.dense = make(spec_of(source.dense).to(dtype))
        self.keys_values = make(to_keys_values)
        self.out = make(spec_of(attention.out_proj).to(dtype))

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        own = self.own_keys_values.expand(len(states), -1, -1)
        both = torch.cat([self.keys_values(self.dense(states)), own], dim=1)
        key, value = both.unflatten(-1, (2, self._heads, -1)).permute(2, 0, 3, 1, 4)
        query = self.query.unflatten(-1, (self._heads, -1)).transpose(0, 1).expand(len(states), -1, -1, -1)
        mixed = attend(query, key, value)
        latents: torch.Tensor = self.out(mixed.transpose(1, 2).flatten(2))
        return latents


class _Text(nn.Module):
    """Embeddings ``[N, length, width]`` and the place of ACT ``[N]`` to the ACT states ``[N, width]``."""

    def __init__(self, source: Any, layers: list[Any], config: Any, dtype: torch.dtype, make: MakeLinear) -> None:
        super().__init__()
        self.words = source.embed_tokens.to(dtype).requires_grad_(False)
        self.last_norm = source.layer_norm.to(dtype).requires_grad_(False)
        self._scale = math.sqrt(config.embed_dim) if config.scale_embedding else 1.0
        # Kosmos-2 counts positions from the one after the padding's.
        self.positions = nn.Buffer(source.embed_positions.weights[config.pad_token_id + 1 :].to(dtype))
        activation, self._heads = activation_named(config.activation_function), config.attention_heads
        self.layers = nn.ModuleList()
        while layers:
            layer = layers.pop(0)
            merge_lora(layer)
            its, norm = layer.self_attn, layer.self_attn_layer_norm
            out = make(spec_of(its.out_proj, norm=its.inner_attn_ln).to(dtype))
            feed_forward = _FeedForward(
                make(spec_of(layer.ffn.fc1, norm=layer.final_layer_norm, activation=activation).to(dtype)),
                make(spec_of(layer.ffn.fc2, norm=layer.ffn.ffn_layernorm).to(dtype)),
            )
            if layers:
                qkv = make(spec_of(its.q_proj, its.k_proj, its.v_proj, norm=norm).to(dtype))
                self.layers += [_Attention(qkv, out, self._heads, causal=True), feed_forward]
            else:
                self.last_query = make(spec_of(its.q_proj, norm=norm).to(dtype))
                self.last_keys_values = make(spec_of(its.k_proj, its.v_proj, norm=norm).to(dtype))
                self.last_out, self.last_feed_forward = out, feed_forward

    def forward(self, embeddings: torch.Tensor, act: torch.Tensor) -> torch.Tensor:
        length = embeddings.shape[1]
        x = embeddings * self._scale + self.positions[:length]
        for layer in self.layers:
            x = layer(x)
        own = x[torch.arange(len(x), device=x.device), act][:, None]
        query = self.last_query(own).unflatten(-1, (self._heads, -1)).transpose(1, 2)
        key, value = self.last_keys_values(x).unflatten(-1, (2, self._heads, -1)).permute(2, 0, 3, 1, 4)
        seen = torch.arange(length, device=x.device) <= act[:, None]
        mixed = functional.scaled_dot_product_attention(query, key, value, attn_mask=seen[:, None, None])
        own = self.last_feed_forward(self.last_out(mixed.transpose(1, 2).flatten(2), own))
        states: torch.Tensor = self.last_norm(own)[:, 0]
        return states
