"""Numbers to PNG files: one figure a function. Owns how plots look; computes nothing that is not in its arguments.

matplotlib is imported here and nowhere else, without pyplot: no global state, no display. Colours are Okabe and Ito's
(https://jfly.uni-koeln.de/color/), which colour-blind readers tell apart.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator, PercentFormatter
from numpy.typing import NDArray
from PIL import Image

BLUE, ORANGE, GREEN, INK, PALE = "#0072B2", "#D55E00", "#009E73", "#222222", "#8a8a8a"
_DPI = 110
_MAX_TITLE_NAME = 18
_BLUES = LinearSegmentedColormap.from_list("blues", ["#ffffff", "#c6dcec", "#5ba3cf", "#0072B2", "#00456e"])


def plot_curves(
    metrics: Sequence[dict[str, Any]], path: Path, *, kept_step: int | None = None, measure: str = "accuracy"
) -> None:
    """Loss and accuracy (or, as `measure` says, the mean absolute error "mae") over steps, of training and, where there
    is one, of validation; the step that was kept marked.

    `metrics`: rows of metrics.jsonl; keys that are absent or None are left out.
    """
    figure = _figure(9.6, 3.8, layout=None)
    # margins by hand: finding them takes as long as drawing
    figure.subplots_adjust(left=0.075, right=0.985, top=0.91, bottom=0.135, wspace=0.19)
    loss_axes, accuracy_axes = figure.subplots(1, 2)
    _draw_series(loss_axes, metrics, "loss", label="training", colour=BLUE)
    _draw_series(loss_axes, metrics, "val_loss", label="validation", colour=ORANGE, kept_step=kept_step)
    _draw_series(accuracy_axes, metrics, measure, label="training", colour=BLUE)
    _draw_series(accuracy_axes, metrics, f"val_{measure}", label="validation", colour=ORANGE, kept_step=kept_step)
    loss_axes.set_title("Loss (lower is better)", loc="left")
    if _spans_decades(metrics, "loss"):
        loss_axes.set_yscale("log")
        loss_axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        loss_axes.yaxis.set_minor_locator(NullLocator())
        loss_axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    if measure == "accuracy":
        accuracy_axes.set_title("Accuracy (higher is better)", loc="left")
        accuracy_axes.yaxis.set_major_formatter(PercentFormatter(xmax=1.0))
        _cut_low_end(accuracy_axes, metrics)
    else:
        accuracy_axes.set_title("Mean absolute error (lower is better)", loc="left")
    for axes in (loss_axes, accuracy_axes):
        axes.set_xlabel("step")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=6, steps=[1, 2, 2.5, 5, 10]))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
        axes.grid(True, color="#e6e6e6", linewidth=0.8)
        _clean(axes)
        if axes.lines:
            axes.legend(frameon=False)
        else:
            axes.text(0.5, 0.5, "nothing was logged", ha="center", color=PALE, transform=axes.transAxes)
    _save(figure, path)


def plot_sweep(rates: NDArray[np.floating], losses: NDArray[np.floating], path: Path, *, rate: float) -> None:
    """Loss over a learning rate that rises from step to step; the rate that was chosen marked. Both [n]."""
    figure = _figure(6.4, 3.8)
    axes = figure.subplots()
    axes.plot(rates, losses, color=BLUE, linewidth=1.8)
    axes.axvline(rate, color=ORANGE, linewidth=1.4)
    axes.set_xscale("log")
    low, high = float(np.min(losses)), float(losses[0])
    axes.set_ylim(low - 0.1 * (high - low), high + 0.5 * (high - low))
    at = axes.get_xaxis_transform()
    axes.text(rate, 0.96, f" {rate:g}", color=ORANGE, va="top", transform=at)
    axes.set_title(f"Learning rate {rate:g}: the loss falls fast there, and stays steady", loc="left")
    axes.set_xlabel("learning rate")
    axes.set_ylabel("training loss, smoothed")
    axes.grid(True, color="#e6e6e6", linewidth=0.8)
    _clean(axes)
    _save(figure, path)


def plot_confusion(confusion: NDArray[np.integer], class_names: Sequence[str], path: Path, *, split: str = "") -> None:
    """The confusion matrix; the title says how many were right and what was confused most.

    `confusion` int [k, k]: row is the label, column what was said. `split` ("test") is named in the title.
    """
    confusion = np.asarray(confusion)
    n_classes = len(class_names)
    size = min(max(4.6, 1.6 + 0.52 * n_classes), 10.0)
    figure = _figure(size, size)
    axes = figure.subplots()
    per_row = confusion.sum(axis=1, keepdims=True)
    shares = confusion / np.maximum(per_row, 1)
    wrong = np.where(np.eye(n_classes, dtype=bool), 0, confusion)
    # The diagonal would drown the mistakes: they get a scale of their own, the right ones a frame of pale grey.
    strength = np.where(np.eye(n_classes, dtype=bool), 0.0, wrong / max(int(wrong.max(initial=0)), 1))
    axes.imshow(strength, cmap=_BLUES, vmin=0, vmax=1.25)
    for side in range(n_classes):
        axes.add_patch(Rectangle((side - 0.5, side - 0.5), 1, 1, facecolor="#f0f0f0", edgecolor="none"))
    if n_classes <= 26:
        _write_counts(axes, confusion, shares, strength)
    _name_ticks(axes, class_names)
    axes.set_xlabel("the model said")
    axes.set_ylabel("it is")
    axes.set_title(_confusion_title(confusion, wrong, class_names, split), loc="left", fontsize=10.5)
    _save(figure, path)


def plot_predicted(
    predicted: NDArray[np.floating], targets: NDArray[np.floating], path: Path, *, split: str = ""
) -> None:
    """What a regression said over what was right, a point an example; on the line both are equal. Both [n]."""
    figure = _figure(5.6, 5.4)
    axes = figure.subplots()
    axes.scatter(targets, predicted, s=12, color=BLUE, alpha=min(1.0, 300 / max(len(targets), 1) + 0.15), linewidths=0)
    low, high = (float(bound(np.concatenate([targets, predicted]))) for bound in (np.min, np.max))
    axes.plot([low, high], [low, high], color=ORANGE, linewidth=1.4)
    error = float(np.abs(predicted - targets).mean())
    axes.set_title(f"{split or 'data'}: off by {error:.3g} on average, of {len(targets):,} examples", loc="left")
    axes.set_xlabel("what is right")
    axes.set_ylabel("what was said")
    axes.grid(True, color="#e6e6e6", linewidth=0.8)
    _clean(axes)
    _save(figure, path)


def plot_mistakes(
    images: NDArray[np.uint8],
    labels: NDArray[np.integer],
    predicted: NDArray[np.integer],
    probabilities: NDArray[np.floating],
    class_names: Sequence[str],
    path: Path,
    n: int = 24,
    *,
    title: str = "",
) -> None:
    """The first `n` of the given mistakes, in their order, each with "said 9 (87%), is 4".

    `images` uint8 [n, height, width, channels], `labels` and `predicted` int [n], `probabilities` float [n, k].
    """
    n_shown = min(n, len(images))
    captions = [
        f"said {_short(class_names[int(predicted[index])])} ({probabilities[index][predicted[index]]:.0%})\n"
        f"is {_short(class_names[int(labels[index])])} ({probabilities[index][labels[index]]:.0%})"
        for index in range(n_shown)
    ]
    if n_shown == 0:
        title = title or "No mistakes: every one was right"
    elif not title:
        title = f"The {n_shown} worst mistakes: what was said, what it is, and the probability of each"
    _plot_grid(images[:n_shown], captions, path, title=title, n_columns=8, caption_colour=ORANGE)


def plot_batch(images: NDArray[np.uint8], labels: NDArray[np.integer], class_names: Sequence[str], path: Path) -> None:
    """A batch as the model gets it, up to 32 images with their labels: to see that data and labels belong together.

    `images` uint8 [n, height, width, channels], `labels` int [n].
    """
    n_shown = min(32, len(images))
    captions = [_short(class_names[int(label)]) for label in labels[:n_shown]]
    _plot_grid(images[:n_shown], captions, path, title=f"Training data and its labels: {n_shown} images")


def _figure(width: float, height: float, layout: Literal["constrained"] | None = "constrained") -> Figure:
    """Inches."""
    figure = Figure(figsize=(width, height), dpi=_DPI, layout=layout, facecolor="white")
    FigureCanvasAgg(figure)
    return figure


def _save(figure: Figure, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    # Fast compression: the smallest file would take as long as drawing it.
    figure.savefig(path, format="png", pil_kwargs={"compress_level": 4})


def _clean(axes: Axes) -> None:
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axes.spines[side].set_color(PALE)
    axes.tick_params(colors=INK, labelsize=9, color=PALE)


def _series(metrics: Sequence[dict[str, Any]], key: str) -> tuple[list[int], list[float]]:
    pairs = [(row["step"], row[key]) for row in metrics if row.get(key) is not None]
    return [step for step, _ in pairs], [value for _, value in pairs]


def _draw_series(
    axes: Axes, metrics: Sequence[dict[str, Any]], key: str, *, label: str, colour: str, kept_step: int | None = None
) -> None:
    steps, values = _series(metrics, key)
    if not steps:
        return
    is_sparse = len(steps) <= 30
    axes.plot(
        steps, values, color=colour, linewidth=1.6, label=label, marker="o" if is_sparse else None, markersize=3.5
    )
    if kept_step not in steps:
        return
    index = steps.index(kept_step)
    text = f"{values[index]:.2%}" if key.endswith("accuracy") else f"{values[index]:.4g}"
    axes.plot(
        steps[index],
        values[index],
        linestyle="none",
        marker="*",
        markersize=13,
        color=colour,
        markeredgecolor="white",
        label=f"kept: {text} at step {steps[index]:,}",
        zorder=5,
    )


def _spans_decades(metrics: Sequence[dict[str, Any]], key: str) -> bool:
    _, values = _series(metrics, key)
    return bool(values) and min(values) > 0 and max(values) / min(values) > 20


def _cut_low_end(axes: Axes, metrics: Sequence[dict[str, Any]]) -> None:
    """The first steps' accuracies, near chance, would squeeze all that is of interest into the top of the plot."""
    values = _series(metrics, "accuracy")[1] + _series(metrics, "val_accuracy")[1]
    if len(values) < 10:
        return
    low = float(np.quantile(values, 0.1))
    room = max(1.0 - low, 0.01)
    axes.set_ylim(max(0.0, low - 0.35 * room), min(1.0, max(values)) + 0.04 * room)


def _write_counts(
    axes: Axes, confusion: NDArray[np.integer], shares: NDArray[np.floating], strength: NDArray[np.floating]
) -> None:
    size = 9 if len(confusion) <= 14 else 6.5
    for row, column in np.argwhere(confusion > 0):
        is_right = row == column
        text = f"{confusion[row, column]:,}" + (f"\n{shares[row, column]:.1%}" if is_right and size == 9 else "")
        axes.text(
            column,
            row,
            text,
            ha="center",
            va="center",
            fontsize=size - 1.5 if is_right else size,
            color="white" if strength[row, column] > 0.6 else INK,
        )


def _name_ticks(axes: Axes, class_names: Sequence[str]) -> None:
    names = [_short(name) for name in class_names]
    is_long = max((len(name) for name in names), default=0) > 3
    size = 9 if len(names) <= 16 else 7 if len(names) <= 40 else 4.5
    axes.set_xticks(range(len(names)), names, rotation=90 if is_long else 0, fontsize=size)
    axes.set_yticks(range(len(names)), names, fontsize=size)
    axes.tick_params(length=0)
    for spine in axes.spines.values():
        spine.set_color("#d0d0d0")


def _confusion_title(
    confusion: NDArray[np.integer], wrong: NDArray[np.integer], class_names: Sequence[str], split: str
) -> str:
    total, n_right = int(confusion.sum()), int(np.trace(confusion))
    if total == 0:
        return "No images were evaluated"
    head = f"{n_right / total:.2%} of {total:,} {split + ' ' if split else ''}images right"
    n_worst = int(wrong.max(initial=0))
    if n_worst == 0:
        return f"{head}; nothing was confused"
    row, column = divmod(int(wrong.argmax()), wrong.shape[1])
    times = "once" if n_worst == 1 else f"{n_worst:,} times"
    return f"{head};\nmost confused: {_short(class_names[row])} as {_short(class_names[column])} ({times})"


def _short(name: str) -> str:
    return name if len(name) <= _MAX_TITLE_NAME else name[: _MAX_TITLE_NAME - 1] + "…"


def _plot_grid(
    images: NDArray[np.uint8],
    captions: Sequence[str],
    path: Path,
    *,
    title: str,
    n_columns: int = 8,
    caption_colour: str = INK,
) -> None:
    """Images in rows of `n_columns`, a caption under each. Placed by hand, in pixels, and pasted into one picture: axes
    for each image, or a layout engine, take ten times as long."""
    n_images = len(images)
    n_columns = min(n_columns, max(n_images, 1))
    n_rows = -(-n_images // n_columns)
    n_lines = max((caption.count("\n") + 1 for caption in captions), default=1)
    picture_width = round(1.02 * _DPI)
    # The first image's shape is that of all: a batch has one shape.
    picture_height = round(picture_width * min(max(images.shape[1] / images.shape[2], 0.3), 2.0)) if n_images else 0
    cell_width, cell_height = picture_width + 11, picture_height + round((0.17 * n_lines + 0.12) * _DPI)
    width, height = max(n_columns * cell_width, round(5.6 * _DPI)), n_rows * cell_height + round(0.45 * _DPI)
    canvas = Image.new("RGB", (width, height), "white")
    figure = Figure(figsize=(width / _DPI, height / _DPI), dpi=_DPI, facecolor="white")
    FigureCanvasAgg(figure)
    margin = (width - n_columns * cell_width) // 2 + 5
    for index, (image, caption) in enumerate(zip(images, captions, strict=True)):
        row, column = divmod(index, n_columns)
        left, top = margin + column * cell_width, round(0.42 * _DPI) + row * cell_height
        canvas.paste(_enlarge(image, (picture_width, picture_height)), (left, top))
        figure.text(
            (left + picture_width / 2) / width,
            1 - (top + picture_height + 5) / height,
            caption,
            ha="center",
            va="top",
            fontsize=7.5,
            color=caption_colour,
            linespacing=1.15,
        )
    figure.text(0.11 * _DPI / width, 1 - 0.12 * _DPI / height, title, fontsize=10.5, va="top", color=INK)
    figure.figimage(np.asarray(canvas), origin="upper")
    _save(figure, path)


def _enlarge(image: NDArray[np.uint8], size: tuple[int, int]) -> Image.Image:
    """`image` uint8 [height, width, 1, 3 or 4] at `size` (width, height), its pixels kept as they are."""
    picture = Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image)
    return picture.resize(size, Image.Resampling.NEAREST).convert("RGB")
