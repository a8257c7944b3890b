"""Random changes of training images, drawn here and carried out inside the compiled step (`training/augment.py`).

What happens to an example is addressed as the examples themselves are: by (seed, step) and its place in the batch. So a
resumed run, another number of steps a call, another number of workers and another device all draw the same.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_TAG = 0x61756772  # keeps these streams apart from those of the order of examples


@dataclass(frozen=True)
class Draws:
    """What is done to the examples of n batches: `transforms` float32 [n, batch, 8] map places of the changed image to
    places of the original (as tf.raw_ops.ImageProjectiveTransformV3 has it), `boxes` int32 [n, batch, 2] are the top
    left corners of what is cut out."""

    transforms: NDArray[np.float32]
    boxes: NDArray[np.int32]


@dataclass(frozen=True)
class Augmentation:
    """`flip` mirrors left and right; `shift` is the largest move as a share of the side, `rotate` the largest turn as a
    share of a whole one, `zoom` the largest change of scale, `cutout` the side of a cut-out square as a share of the
    image's shorter side. Zero is off."""

    image_shape: tuple[int, int, int]
    seed: int
    flip: bool = False
    shift: float = 0.0
    rotate: float = 0.0
    zoom: float = 0.0
    cutout: float = 0.0

    @property
    def moves(self) -> bool:
        """Whether places change at all."""
        return bool(self.flip or self.shift or self.is_smooth)

    @property
    def is_smooth(self) -> bool:
        """Whether places fall between pixels, so that values are interpolated. Flips and shifts are whole pixels."""
        return bool(self.rotate or self.zoom)

    @property
    def box_side(self) -> int:
        """Pixels; 0 when nothing is cut out."""
        return round(self.cutout * min(self.image_shape[:2]))

    def draw(self, first_step: int, rows: NDArray[np.int64], epochs: NDArray[np.int64]) -> Draws:
        """`rows` and `epochs` int64 [n, batch]: which example each one is, and in which pass over the data.

        An example is mirrored in every second epoch, the first time by chance: over two epochs the network sees both
        sides of each (Jordan, 2024, arXiv:2404.00498, section 3.6).
        """
        n_steps, batch_size = rows.shape
        transforms = np.empty((n_steps, batch_size, 8), np.float32)
        boxes = np.empty((n_steps, batch_size, 2), np.int32)
        for index in range(n_steps):
            bits = np.random.Philox(key=[self.seed, _TAG], counter=[0, 0, 0, first_step + index])
            generator = np.random.Generator(bits)
            chances = generator.random((batch_size, 6), np.float32)
            mirrored = self.flip & ((_coin(rows[index], self.seed) + epochs[index]) % 2 == 1)
            transforms[index] = self._transforms(chances, mirrored)
            boxes[index] = self._boxes(chances)
        return Draws(transforms, boxes)

    def _transforms(self, chances: NDArray[np.float32], mirrored: NDArray[np.bool_]) -> NDArray[np.float32]:
        height, width, _ = self.image_shape
        around = 2.0 * chances[:, :4] - 1.0  # shift down, shift right, turn, scale: -1 to 1
        down, right = around[:, 0] * self.shift * height, around[:, 1] * self.shift * width
        if not self.is_smooth:
            down, right = _whole(chances[:, 0], self.shift * height), _whole(chances[:, 1], self.shift * width)
        angle = around[:, 2] * self.rotate * 2.0 * math.pi
        scale = 1.0 + around[:, 3] * self.zoom
        side = np.where(mirrored, -1.0, 1.0)
        across, along = (width - 1) / 2.0, (height - 1) / 2.0
        a, b = scale * np.cos(angle) * side, -scale * np.sin(angle)
        c, d = scale * np.sin(angle) * side, scale * np.cos(angle)
        result = np.zeros((len(chances), 8), np.float32)
        result[:, 0], result[:, 1], result[:, 2] = a, b, across + right - a * across - b * along
        result[:, 3], result[:, 4], result[:, 5] = c, d, along + down - c * across - d * along
        return result

    def _boxes(self, chances: NDArray[np.float32]) -> NDArray[np.int32]:
        """The square's centre is anywhere in the image, so that it may reach beyond the edge."""
        size = np.array(self.image_shape[:2], np.float32)
        return (np.floor(chances[:, 4:] * size) - self.box_side // 2).astype(np.int32)


def _whole(chance: NDArray[np.float32], most: float) -> NDArray[np.float32]:
    """-n to n, each whole number as likely as the others; n is `most` rounded, but at least 1 where it is not 0."""
    n = max(round(most), 1) if most else 0
    return np.floor(chance * (2 * n + 1)) - n


def _coin(rows: NDArray[np.int64], seed: int) -> NDArray[np.int64]:
    """0 or 1 for each row, by a hash of it (SplitMix64's finaliser: Steele, Lea and Flood, 2014)."""
    bits = rows.astype(np.uint64) + np.uint64((seed * 0x9E3779B97F4A7C15) % 2**64)
    bits = (bits ^ (bits >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    bits = (bits ^ (bits >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return ((bits ^ (bits >> np.uint64(31))) & np.uint64(1)).astype(np.int64)
