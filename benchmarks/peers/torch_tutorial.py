"""The tutorial's network in PyTorch, for its rate: channels last, a fused Adam, eager and compiled; the better counts.

    python torch_tutorial.py --data mnist.npz [--steps 300] [--seconds 30] [--precision float32|bfloat16]

Prints the images a second of both ways (null where torch.compile finds no compiler), after some steps of warm-up; of as
many steps as fit into `--seconds`, where a processor computes so slowly in that format that `--steps` take longer.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable

import numpy as np
import torch
from torch import nn
from torch.nn import functional

BATCH = 128
N_WARM_UP = 10


def build_model() -> nn.Module:
    model = nn.Sequential(
        nn.Conv2d(1, 32, 5, padding="same"),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(32, 64, 5, padding="same"),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(7 * 7 * 64, 1024),
        nn.ReLU(),
        nn.Dropout(0.5),
        nn.Linear(1024, 10),
    )
    for one in model.parameters():
        if one.ndim > 1:
            nn.init.trunc_normal_(one, std=0.1, a=-0.2, b=0.2)
        else:
            nn.init.ones_(one)
    return model.to(memory_format=torch.channels_last).train()


def measure(
    images: torch.Tensor, labels: torch.Tensor, *, precision: str, steps: int, seconds: float, is_compiled: bool
) -> float:
    """Images a second."""
    model = build_model()
    forward: Callable[[torch.Tensor], torch.Tensor] = torch.compile(model) if is_compiled else model
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-4, fused=True)
    n_batches = len(images) // BATCH

    def make_steps(n_wanted: int) -> float:
        """Steps a second, of as many as fit into the time."""
        started, n_done, passed = time.perf_counter(), 0, 0.0
        while n_done < n_wanted and passed < seconds:
            at = n_done % n_batches * BATCH
            batch = images[at : at + BATCH].float().contiguous(memory_format=torch.channels_last)
            with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16"):
                loss = functional.cross_entropy(forward(batch), labels[at : at + BATCH])
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            n_done, passed = n_done + 1, time.perf_counter() - started
        return n_done / passed

    make_steps(N_WARM_UP)
    return round(make_steps(steps) * BATCH, 1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", required=True)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--seconds", type=float, default=30.0, help="after which no further step begins")
    parser.add_argument("--precision", choices=["float32", "bfloat16"], default="bfloat16")
    arguments = parser.parse_args()
    torch.manual_seed(0)
    with np.load(arguments.data) as data:
        images = torch.from_numpy(data["x_train"].reshape(-1, 1, 28, 28))
        labels = torch.from_numpy(data["y_train"].astype(np.int64))
    told = {"precision": arguments.precision, "steps": arguments.steps, "seconds": arguments.seconds}
    eager = measure(images, labels, is_compiled=False, **told)
    try:
        compiled = measure(images, labels, is_compiled=True, **told)
    except Exception as error:  # no C++ compiler, or one that it does not know
        print(f"torch.compile: {type(error).__name__}: {str(error).splitlines()[0]}", file=sys.stderr)
        compiled = None
    rates = {"eager": eager, "compiled": compiled}
    best = max((rate, name) for name, rate in rates.items() if rate is not None)
    print(json.dumps({"precision": arguments.precision, **rates, "images_per_s": best[0], "best": best[1]}))


if __name__ == "__main__":
    main()
