"""PyTorch's public example for MNIST (`examples/mnist`), with a look at the test set after each epoch.

    python torch_mnist.py --data mnist.npz [--epochs 20] [--seed 1] [--limit N]

Two convolutions of 3x3 (32, 64), pooling, dropout 0.25, dense 128, dropout 0.5; pixels to mean 0 and deviation 1,
Adadelta at 1.0 that falls by 0.7 an epoch, batches of 64. The data lies in memory as normalised tensors: the
example's own loader decodes an image at a time. Prints the accuracy on the test set and the seconds since the process
began after each epoch; the looks at the test set are taken outside the clock.
"""

from __future__ import annotations

import time

PROCESS_START = time.perf_counter()

import argparse  # noqa: E402
import json  # noqa: E402

import numpy as np  # noqa: E402
import torch  # noqa: E402
from torch import nn  # noqa: E402
from torch.nn import functional  # noqa: E402

BATCH = 64
MEAN, STD = 0.1307, 0.3081


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 32, 3)
        self.conv2 = nn.Conv2d(32, 64, 3)
        self.dropout1 = nn.Dropout(0.25)
        self.dropout2 = nn.Dropout(0.5)
        self.dense1 = nn.Linear(12 * 12 * 64, 128)
        self.dense2 = nn.Linear(128, 10)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        hidden = functional.relu(self.conv2(functional.relu(self.conv1(images))))
        hidden = self.dropout1(functional.max_pool2d(hidden, 2))
        hidden = self.dropout2(functional.relu(self.dense1(torch.flatten(hidden, 1))))
        return functional.log_softmax(self.dense2(hidden), dim=1)


def normalise(images: np.ndarray) -> torch.Tensor:
    return (torch.from_numpy(images.reshape(-1, 1, 28, 28)).float() / 255 - MEAN) / STD


def measure(model: nn.Module, images: torch.Tensor, labels: torch.Tensor) -> float:
    model.eval()
    with torch.inference_mode():
        right = [
            (model(part).argmax(1) == mark).sum().item()
            for part, mark in zip(images.split(1000), labels.split(1000), strict=True)
        ]
    return sum(right) / len(labels)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", required=True)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--stop-at", type=float, default=1.0, help="no further once the test accuracy is this")
    parser.add_argument("--limit", type=int, help="training images; all when absent")
    arguments = parser.parse_args()
    torch.manual_seed(arguments.seed)
    with np.load(arguments.data) as data:
        images, test_images = normalise(data["x_train"][: arguments.limit]), normalise(data["x_test"])
        labels = torch.from_numpy(data["y_train"][: arguments.limit].astype(np.int64))
        test_labels = torch.from_numpy(data["y_test"].astype(np.int64))
    model = Net()
    optimizer = torch.optim.Adadelta(model.parameters(), lr=1.0)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, step_size=1, gamma=0.7)
    outside_s, history = 0.0, []
    for epoch in range(1, arguments.epochs + 1):
        model.train()
        for rows in torch.randperm(len(images)).split(BATCH):
            optimizer.zero_grad()
            functional.nll_loss(model(images[rows]), labels[rows]).backward()
            optimizer.step()
        scheduler.step()
        paused = time.perf_counter()
        accuracy = measure(model, test_images, test_labels)
        outside_s += time.perf_counter() - paused
        seconds = round(time.perf_counter() - PROCESS_START - outside_s, 2)
        history.append({"epoch": epoch, "seconds": seconds, "accuracy": accuracy})
        if accuracy >= arguments.stop_at:
            break
    print(json.dumps({"seed": arguments.seed, "epochs": len(history), **history[-1], "history": history}))


if __name__ == "__main__":
    main()
