"""The options that say on which machine something is done: `--on` and what belongs to it, for several commands."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from railcar.cli.options import Duration
from railcar.errors import UsageError


def rental_options(*, with_on: bool, deed: str = "train") -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Adds the options; passes `rental`, a dict of what was given, or None where `--on` was not. `deed` is what is done
    there, a key of `_DEEDS`."""

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def with_rental(*arguments: Any, **options: Any) -> Any:
            names = ("on", "detach", "keep", "idle_s", "max_hours", "budget_usd", "spot", "gpu", "region")
            taken = {name: options.pop(name, None) for name in (*names, "or_on_demand", "yes", "python", "wheelhouse")}
            given = {name: value for name, value in taken.items() if value not in (None, False, ())}
            if with_on and "on" not in given:
                if given:
                    name = next(iter(given)).replace("_s", "").replace("_usd", "").replace("_", "-")
                    raise UsageError(f"--{name} is for {_DEEDS[deed]} on a machine", hint="say on which with --on")
                return function(*arguments, rental=None, **options)
            return function(*arguments, rental=given, **options)

        found = with_rental
        for option in reversed(_OPTIONS if with_on else _OPTIONS[1:]):  # without: --detach is of no use
            found = option(found)
        return _on_option(deed)(found) if with_on else found

    return decorate


_DEEDS = {"train": "a training", "serve": "serving"}


def _on_option(deed: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    where = "ssh:HOST, a provider that rents one, or the name of one that is there."
    return click.option("--on", metavar="MACHINE", help=f"{deed.capitalize()} on another machine: {where}")


_OPTIONS = (
    click.option("--detach", is_flag=True, help="Begin it there, and do not wait."),
    click.option("--keep", is_flag=True, help="Do not give the machine back afterwards."),
    click.option("--gpu", metavar="NAME[:N]", help="The GPU, and how many: T4:1."),
    click.option("--region", metavar="REGION", multiple=True, help="Where; several times: the first that has one."),
    click.option("--spot", is_flag=True, help="Cheaper, and taken away when somebody pays more."),
    click.option("--or-on-demand", is_flag=True, help="With --spot: where there is none, one on demand, at its price."),
    click.option("--idle", "idle_s", type=Duration(), metavar="TIME", help="Power off after so long without use."),
    click.option("--max-hours", type=click.FloatRange(min=0, min_open=True), metavar="H", help="End after so long."),
    click.option(
        "--budget", "budget_usd", type=click.FloatRange(min=0, min_open=True), metavar="USD", help="End at this cost."
    ),
    click.option("--yes", is_flag=True, help="Agree to the price without being asked."),
    click.option(
        "--python", metavar="PATH", help="A Python there that has what is needed, in place of one made for it."
    ),
    click.option(
        "--wheelhouse",
        type=click.Path(exists=True, file_okay=False, path_type=Path),
        metavar="DIR",
        help="Install from this folder of wheels, for machines without a network.",
    ),
)


def make_rental(given: dict[str, Any], recipe: Any) -> Any:
    """A `Rental` from what was given and the recipe's `machine`."""
    from railcar.machines.base import MachineSpec
    from railcar.workflows.on_machine import Rental

    node = recipe.machine
    regions = given.get("region") or ((node.region,) if isinstance(node.region, str) else node.region or ())
    is_spot = bool(given.get("spot", node.spot))
    if given.get("or_on_demand") and not is_spot:
        raise UsageError("--or-on-demand is for where no spot machine can be had", hint="add --spot")
    spec = MachineSpec(
        gpu=given.get("gpu", node.gpu),
        machine_type=node.machine_type,
        image=node.image,
        regions=tuple(regions),
        spot=is_spot,
        or_on_demand=bool(given.get("or_on_demand", node.or_on_demand)),
        disk_gb=node.disk_gb,
        max_hours=given.get("max_hours", node.max_hours),
        idle_minutes=given["idle_s"] / 60 if "idle_s" in given else node.idle_minutes,
        budget_usd=given.get("budget_usd", node.budget_usd),
    )
    return Rental(
        on=given["on"],
        agree=lambda text: ask(text, yes=bool(given.get("yes"))),
        spec=spec,
        detach=bool(given.get("detach")),
        keep=bool(given.get("keep")),
        python=given.get("python", node.python),
        wheelhouse=given.get("wheelhouse"),
        ssh_config=Path(node.ssh_config).expanduser() if node.ssh_config else None,
        nodes=node.nodes,
        hours=given.get("max_hours", node.max_hours if "max_hours" in node.model_fields_set else None),
    )


def ask(text: str, *, yes: bool) -> bool:
    """Whether the user agrees. Raises `UsageError` where nobody can be asked."""
    print(text, file=sys.stderr)
    if yes:
        return True
    if not sys.stdin.isatty():
        raise UsageError("nobody can be asked whether to rent it: there is no terminal", hint="add --yes")
    return click.confirm("Rent it?", default=True, err=True)
