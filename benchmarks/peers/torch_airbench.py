"""CIFAR-10 by the method of airbench94 (Keller Jordan, 2024), for a CPU: autocast, channels last.

    python torch_airbench.py --data cifar10.npz [--epochs 9.9] [--seed 0] [--steps N] [--precision float32] [--compile]

What makes the method: a frozen first convolution that whitens patches of 2x2; three groups of two convolutions (64,
256, 256) that start as identities; batch normalisation that forgets fast, without scales and with biases that learn
64 times faster; Nesterov SGD on a triangle of rates, label smoothing, a slow average that is copied back every five
steps; images flipped in every other epoch and shifted by up to two pixels; six views of each test image. Settings
from the published program (github.com/KellerJordan/cifar10-airbench, MIT); the weights stay float32 here, where that
program has float16.

`--steps N` ends after N steps and prints the rate and the time that all would take. Prints seconds (whitening,
training and the last look, as the published program counts), images a second, and the accuracy after each epoch and
with six views.
"""

from __future__ import annotations

import time

PROCESS_START = time.perf_counter()

import argparse  # noqa: E402
import json  # noqa: E402
import math  # noqa: E402
from collections.abc import Callable, Iterator  # noqa: E402

import numpy as np  # noqa: E402
import torch  # noqa: E402
from torch import nn  # noqa: E402
from torch.nn import functional  # noqa: E402

BATCH = 1024
LEARNING_RATE = 11.5  # of 1,024 examples, apart from what momentum multiplies it by
WEIGHT_DECAY = 0.0153  # of 1,024 examples, apart from the learning rate
MOMENTUM = 0.85
BIAS_FACTOR = 64.0
LABEL_SMOOTHING = 0.2
RATE_AT_START, RATE_AT_END, PEAK_AT = 0.2, 0.07, 0.23
AVERAGE_FROM_EPOCH, AVERAGE_EVERY, AVERAGE_DECAY, AVERAGE_POWER = 3, 5, 0.95, 3.0
WHITENING_BIAS_EPOCHS = 3
SHIFT = 2
LOGIT_SCALE = 1 / 9
N_WARM_UP = 2
MEAN, STD = (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)

Forward = Callable[[torch.Tensor], torch.Tensor]


class Norm(nn.BatchNorm2d):
    """Of each batch, with a running average that keeps 0.6 and a bias but no scale."""

    def __init__(self, n_channels: int) -> None:
        super().__init__(n_channels, eps=1e-12, momentum=0.4)
        self.weight.requires_grad = False


def build_conv(n_in: int, n_out: int) -> nn.Conv2d:
    """3x3 without bias; its first filters pass the input through."""
    conv = nn.Conv2d(n_in, n_out, 3, padding="same", bias=False)
    nn.init.dirac_(conv.weight.data[:n_in])
    return conv


def build_group(n_in: int, n_out: int) -> list[nn.Module]:
    first = [build_conv(n_in, n_out), nn.MaxPool2d(2), Norm(n_out), nn.GELU()]
    return [*first, build_conv(n_out, n_out), Norm(n_out), nn.GELU()]


class Net(nn.Module):
    def __init__(self, *, is_bfloat16: bool) -> None:
        super().__init__()
        self.is_bfloat16 = is_bfloat16
        self.whiten = nn.Conv2d(3, 24, 2)
        nn.init.zeros_(self.whiten.bias)
        self.whiten.weight.requires_grad = False
        groups = [*build_group(24, 64), *build_group(64, 256), *build_group(256, 256)]
        self.body = nn.Sequential(nn.GELU(), *groups, nn.MaxPool2d(3), nn.Flatten())
        self.head = nn.Linear(256, 10, bias=False)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        with torch.autocast("cpu", torch.bfloat16, enabled=self.is_bfloat16):
            return self.head(self.body(self.whiten(images))).float() * LOGIT_SCALE

    def learn_whitening(self, images: torch.Tensor) -> None:
        """Set the first convolution by the principal directions of patches of `images`, each of them up and down."""
        n_values = 3 * 2 * 2
        patches = functional.unfold(images, 2).transpose(1, 2).reshape(-1, n_values)
        values, vectors = torch.linalg.eigh(patches.T @ patches / len(patches))
        filters = (vectors / torch.sqrt(values + 5e-4)).T.flip(0).reshape(n_values, 3, 2, 2)
        self.whiten.weight.data.copy_(torch.cat([filters, -filters]))


class Train:
    """The training images, normalised; each epoch anew shifted, and flipped in every other one."""

    def __init__(self, images: torch.Tensor, labels: torch.Tensor) -> None:
        is_flipped = torch.rand(len(images)) < 0.5
        images = torch.where(is_flipped[:, None, None, None], images.flip(-1), images)
        self._padded = functional.pad(images, (SHIFT,) * 4, mode="reflect")
        self._labels = labels
        self._epoch = 0

    @property
    def n_batches(self) -> int:
        return len(self._labels) // BATCH

    def batches(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        n = len(self._labels)
        shifts = torch.randint(0, 2 * SHIFT + 1, (2, n))
        windows = self._padded.unfold(2, 32, 1).unfold(3, 32, 1)  # views: [n, 3, down, right, 32, 32]
        is_flipped = self._epoch % 2 == 1
        self._epoch += 1
        for rows in torch.randperm(n)[: self.n_batches * BATCH].split(BATCH):
            images = windows[rows, :, shifts[0, rows], shifts[1, rows]]
            images = images.flip(-1) if is_flipped else images
            yield images.contiguous(memory_format=torch.channels_last), self._labels[rows]


class SlowAverage:
    """Every few steps the network is drawn to an average of itself, more strongly towards the end."""

    def __init__(self, model: nn.Module) -> None:
        self._model = model
        self._average = {name: value.clone() for name, value in model.state_dict().items()}

    def update(self, keep: float) -> None:
        for name, value in self._model.state_dict().items():
            if value.is_floating_point():
                self._average[name].lerp_(value, 1 - keep)
                value.copy_(self._average[name])


def rate_at(step: int, n_steps: int) -> float:
    """The share of the peak rate: up from RATE_AT_START, then down to RATE_AT_END."""
    peak = int(PEAK_AT * n_steps)
    if step < peak:
        return RATE_AT_START + (1 - RATE_AT_START) * step / peak
    return 1 + (RATE_AT_END - 1) * (step - peak) / max(n_steps - peak, 1)


def build_optimizer(model: Net) -> torch.optim.Optimizer:
    scale = 1024 * (1 + 1 / (1 - MOMENTUM))
    rate, decay = LEARNING_RATE / scale, WEIGHT_DECAY * BATCH / scale
    biases = [module.bias for module in model.modules() if isinstance(module, Norm)]
    known = {id(one) for one in biases}
    others = [one for one in model.parameters() if one.requires_grad and id(one) not in known]
    groups = [
        {"params": biases, "lr": rate * BIAS_FACTOR, "weight_decay": decay / (rate * BIAS_FACTOR)},
        {"params": others, "lr": rate, "weight_decay": decay / rate},
    ]
    return torch.optim.SGD(groups, momentum=MOMENTUM, nesterov=True, fused=True)


def see_mirrored(forward: Forward, images: torch.Tensor) -> torch.Tensor:
    return (forward(images) + forward(images.flip(-1))) / 2


def see_six_views(forward: Forward, images: torch.Tensor) -> torch.Tensor:
    """As it is and mirrored, and both a pixel up and left, and down and right; half the weight to the first two."""
    padded = functional.pad(images, (1,) * 4, mode="reflect")
    shifted = [see_mirrored(forward, padded[:, :, at : at + 32, at : at + 32]) for at in (0, 2)]
    return see_mirrored(forward, images) / 2 + sum(shifted) / 4


def measure(model: Net, images: torch.Tensor, labels: torch.Tensor, see: Callable[..., torch.Tensor]) -> float:
    model.eval()
    with torch.inference_mode():
        right = [
            (see(model, part).argmax(1) == mark).sum().item()
            for part, mark in zip(images.split(1000), labels.split(1000), strict=True)
        ]
    model.train()
    return sum(right) / len(labels)


def normalise(images: np.ndarray) -> torch.Tensor:
    values = (torch.from_numpy(images).float() / 255 - torch.tensor(MEAN)) / torch.tensor(STD)
    return values.permute(0, 3, 1, 2)


def train(arguments: argparse.Namespace, data: dict[str, torch.Tensor]) -> dict[str, object]:
    """The line of JSON: `seconds` without the looks at the test set between epochs."""
    started, outside_s, history, step, warm_s = time.perf_counter(), 0.0, [], 0, 0.0
    model = Net(is_bfloat16=arguments.precision == "bfloat16").to(memory_format=torch.channels_last)
    model.learn_whitening(data["x_train"][:5000])
    forward: Forward = torch.compile(model) if arguments.compile else model
    loader = Train(data["x_train"], data["y_train"])
    n_steps = math.ceil(loader.n_batches * arguments.epochs)
    n_wanted = min(n_steps, arguments.steps or n_steps)
    optimizer = build_optimizer(model)
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda done: rate_at(done, n_steps))
    average = None
    for epoch in range(math.ceil(arguments.epochs)):
        model.whiten.bias.requires_grad = epoch < WHITENING_BIAS_EPOCHS
        for images, labels in loader.batches():
            loss = functional.cross_entropy(forward(images), labels, label_smoothing=LABEL_SMOOTHING, reduction="sum")
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            scheduler.step()
            step += 1
            if step == N_WARM_UP:
                warm_s = time.perf_counter() - started
            if epoch >= AVERAGE_FROM_EPOCH and step % AVERAGE_EVERY == 0:
                if average is None:
                    average = SlowAverage(model)
                else:
                    average.update(AVERAGE_DECAY**AVERAGE_EVERY * (step / n_steps) ** AVERAGE_POWER)
            if step >= n_wanted:
                break
        if average is not None:
            average.update(1.0)
        if step >= n_wanted:
            break
        paused = time.perf_counter()
        accuracy = measure(model, data["x_test"], data["y_test"], lambda forward, part: forward(part))
        outside_s += time.perf_counter() - paused
        seconds = round(time.perf_counter() - started - outside_s, 2)
        history.append({"epoch": epoch + 1, "seconds": seconds, "accuracy": accuracy})
    training_s = time.perf_counter() - started - outside_s
    # the steps of the warm-up hold the whitening and, compiled, the compilation
    step_s = (training_s - warm_s) / max(step - N_WARM_UP, 1)
    row = {
        "seed": arguments.seed,
        "steps": step,
        "steps_in_all": n_steps,
        "precision": arguments.precision,
        "is_compiled": arguments.compile,
        "images_per_s": round(BATCH / step_s, 1),
        "history": history,
    }
    if step < n_steps:
        return {**row, "seconds_extrapolated": round(warm_s + step_s * (n_steps - N_WARM_UP), 1)}
    plain = measure(model, data["x_test"], data["y_test"], lambda forward, part: forward(part))
    paused = time.perf_counter()
    accuracy = measure(model, data["x_test"], data["y_test"], see_six_views)
    seconds = training_s + time.perf_counter() - paused
    return {**row, "seconds": round(seconds, 2), "accuracy_plain": plain, "accuracy": accuracy}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", required=True)
    parser.add_argument("--epochs", type=float, default=9.9)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, help="end after so many, for the rate only")
    parser.add_argument("--limit", type=int, help="images of each side; all when absent")
    parser.add_argument("--precision", choices=["float32", "bfloat16"], default="bfloat16", help="of the computation")
    parser.add_argument("--compile", action="store_true", help="by torch.compile, which needs a C++ compiler")
    arguments = parser.parse_args()
    torch.manual_seed(arguments.seed)
    with np.load(arguments.data) as file:
        order = torch.randperm(len(file["y_train"]))[: arguments.limit].numpy()
        rows = {"train": order, "test": np.arange(len(file["y_test"]))[: arguments.limit]}
        data = {f"x_{side}": normalise(file[f"x_{side}"][which]) for side, which in rows.items()}
        data |= {
            f"y_{side}": torch.from_numpy(file[f"y_{side}"][which].astype("int64")) for side, which in rows.items()
        }
    before_s = time.perf_counter() - PROCESS_START
    row = train(arguments, data)
    print(json.dumps({**row, "seconds_before": round(before_s, 2)}))


if __name__ == "__main__":
    main()
