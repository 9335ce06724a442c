"""What learns, and the optimiser that moves it."""

from __future__ import annotations

import torch

from mobile_vla_policy.training.settings import TrainSettings


def make_optimiser(network: torch.nn.Module, settings: TrainSettings) -> torch.optim.Optimizer:
    """AdamW (Loshchilov and Hutter 2019); weight decay on matrices, none on biases, norms and single vectors."""
    learning = [parameter for parameter in network.parameters() if parameter.requires_grad]
    groups: list[dict[str, object]] = [
        {"params": [p for p in learning if p.ndim >= 2], "weight_decay": settings.weight_decay},
        {"params": [p for p in learning if p.ndim < 2], "weight_decay": 0.0},
    ]
    # One kernel for all parameters: at thousands of windows a second, a loop over them would be a tenth of a step.
    return torch.optim.AdamW(groups, settings.learning_rate, settings.betas, fused=True)
