"""`railcar bench`: parse, call `workflows.bench`, print the ceilings and the rates as tables of 80 columns."""

from __future__ import annotations

from typing import Any

import click

from railcar.cli.console import Console
from railcar.cli.options import common_options, set_option

_BAR_WIDTH = 14
_NAMES = {"matmul": "matrix product", "convolution": "convolution 3x3"}


@click.command("bench")
@click.argument("recipes", nargs=-1, metavar="[RECIPE]...")
@click.option(
    "--seconds",
    type=click.FloatRange(min=0.1),
    default=3.0,
    show_default=True,
    metavar="S",
    help="How long each single measurement takes, its warm-up not counted.",
)
@set_option
@common_options(json=True)
def command(recipes: tuple[str, ...], seconds: float, overrides: tuple[str, ...], console: Console) -> None:
    """Measure how fast this machine trains, and how fast it could.

    First the ceilings: matrix products and convolutions in each precision, on each GPU or else the processor. Then the
    images a second of RECIPE... (all bundled ones when none is named), trained on random images by the same steps as
    `railcar train`: nothing is downloaded or kept. A recipe's share is its useful arithmetic over the best that the
    first device reached in its precision.
    """
    from railcar.workflows.bench import bench

    document = bench(recipes, overrides=overrides, seconds=seconds, told=lambda what: console.note(f"measuring {what}"))
    if console.json:
        console.json_result(document)
    else:
        console.result(format_bench(document))


def format_bench(document: dict[str, Any]) -> str:
    """The tables, at most 80 columns wide."""
    lines: list[str] = []
    for device in document["ceilings"]:
        lines += [f"{device['device']} {device['name']}"[:80], *_format_ceilings(device["rates"]), ""]
    width = max([len(row["recipe"]) for row in document["recipes"]] + [len("recipe")])
    width = min(width, 24)
    lines.append(f"{'recipe':<{width}}  {'precision':<9}{'images/s':>10}{'GFLOP/s':>9}  share of the ceiling")
    lines += [_format_recipe(row, width) for row in document["recipes"]]
    return "\n".join(lines)


def _format_ceilings(rates: dict[str, dict[str, float]]) -> list[str]:
    dtypes = list(next(iter(rates.values())))
    lines = [f"{'  ceiling, GFLOP/s':<24}" + "".join(f"{dtype:>12}" for dtype in dtypes)]
    for operation, by_dtype in rates.items():
        lines.append(f"  {_NAMES[operation]:<22}" + "".join(f"{by_dtype[dtype]:>12,.0f}" for dtype in dtypes))
    return lines


def _format_recipe(row: dict[str, Any], width: int) -> str:
    name, rate = row["recipe"], f"{row['images_per_s']:,.0f}"
    name = name if len(name) <= width else f"…{name[1 - width :]}"
    gflops = "-" if row["gflops"] is None else f"{row['gflops']:,.0f}"
    return f"{name:<{width}}  {row['precision']:<9}{rate:>10}{gflops:>9}  {_draw_bar(row['share'])}"


def _draw_bar(share: float | None) -> str:
    if share is None:
        return "not counted"
    n_full = round(min(share, 1.0) * _BAR_WIDTH)
    return f"{'█' * n_full}{'░' * (_BAR_WIDTH - n_full)} {share:.0%}"
