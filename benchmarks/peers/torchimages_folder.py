"""A folder of images through PyTorch's DataLoader: a Dataset that opens each file with Pillow, as torchvision does.

    python torchimages_folder.py FOLDER --size 224 [--first-step]

One worker process a core, batches of 256. Prints the images and the seconds from listing the folder to the last batch,
as JSON; with `--first-step` in place of that the time of day at which the first step of a small network was done.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset


class Folder(Dataset):
    def __init__(self, folder: Path) -> None:
        classes = sorted({path.name for side in folder.iterdir() for path in side.iterdir()})
        numbers = {name: number for number, name in enumerate(classes)}
        self.files = [(str(path), numbers[path.parent.name]) for path in sorted(folder.glob("*/*/*.jpg"))]

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        path, label = self.files[index]
        with open(path, "rb") as file:  # noqa: PTH123 - as torchvision does
            image = Image.open(file).convert("RGB")
        return torch.from_numpy(np.array(image)), label


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--size", type=int, required=True)
    parser.add_argument("--first-step", action="store_true")
    options = parser.parse_args()
    if options.first_step:
        print(json.dumps({"n": 1, "at": train_a_step(options.folder, options.size)}))
        return
    started = time.perf_counter()
    n = 0
    for images, _ in DataLoader(Folder(options.folder), batch_size=256, num_workers=len(os.sched_getaffinity(0))):
        assert images.shape[1:] == (options.size, options.size, 3)
        n += len(images)
    print(json.dumps({"n": n, "seconds": time.perf_counter() - started}))


def train_a_step(folder: Path, size: int) -> float:
    data = DataLoader(Folder(folder), batch_size=32, shuffle=True, num_workers=len(os.sched_getaffinity(0)))
    pool = torch.nn.MaxPool2d(2)
    flat = 64 * ((size - 2) // 2 // 2 - 1) ** 2
    blocks = [torch.nn.Conv2d(3, 32, 3), torch.nn.ReLU(), pool, torch.nn.Conv2d(32, 64, 3), torch.nn.ReLU(), pool]
    model = torch.nn.Sequential(*blocks, torch.nn.Flatten(), torch.nn.Linear(flat, 10))
    optimizer = torch.optim.Adam(model.parameters())
    images, labels = next(iter(data))
    loss = torch.nn.functional.cross_entropy(model(images.permute(0, 3, 1, 2).float() / 255), labels)
    loss.backward()
    optimizer.step()
    return time.time()


if __name__ == "__main__":
    main()
