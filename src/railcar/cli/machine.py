"""`railcar machine ...`: parse and print. What is done is in `railcar.workflows.machines`."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from railcar.cli.console import Console
from railcar.cli.options import common_options
from railcar.cli.rental import make_rental, rental_options
from railcar.cli.text import format_table
from railcar.errors import UsageError

if TYPE_CHECKING:
    from railcar.workflows.machines import Listed
    from railcar.workflows.on_machine import Away

_machine = click.argument("machine", metavar="MACHINE")
_job = click.option("--job", metavar="JOB", help="Which, where several were begun there; the newest when absent.")
_with = click.option("--with", "extra", metavar="PATH", multiple=True, help="Copy this, too, which git ignores.")
_python = click.option("--python", metavar="PATH", help="A Python there that has TensorFlow.")
_wheelhouse = click.option(
    "--wheelhouse",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    metavar="DIR",
    help="Install from this folder of wheels, for machines without a network.",
)
_ssh_config = click.option(
    "--ssh-config",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE",
    help="For OpenSSH to read in place of ~/.ssh/config.",
)


@click.group("machine")
def command() -> None:
    """Use other machines: your own over ssh, or rented ones.

    MACHINE is a name of `railcar machine list`, or ssh:HOST for one of your own.
    """


@command.command("up")
@click.argument("provider")
@click.option("--name", metavar="NAME", default="machine", show_default=True, help="What to call it.")
@rental_options(with_on=False)
@common_options(json=True)
def up_command(provider: str, name: str, rental: dict[str, Any], console: Console) -> None:
    """Rent a machine from PROVIDER that stays, ready to train."""
    from railcar.recipe.schema import Recipe
    from railcar.workflows.machines import up

    lease = up(make_rental({**rental, "on": provider}, Recipe()), name, console.note)
    machine = lease.machine
    if console.json:
        console.json_result({"name": lease.name, "provider": lease.provider, "zone": machine.zone if machine else None})
        return
    console.result(
        f"{lease.name} is ready; it ends by itself after {lease.spec.max_hours:g} h, "
        f"or {lease.spec.idle_minutes:g} min without use\n"
        f"next  railcar train DATA --on {lease.name}  ·  railcar machine down {lease.name}"
    )


@command.command("list")
@click.option("--all", "everywhere", is_flag=True, help="Ask every provider for what is yours, and offer to end it.")
@click.option("--yes", is_flag=True, help="With --all: end, without asking, what this computer did not know of.")
@common_options(json=True)
def list_command(everywhere: bool, yes: bool, console: Console) -> None:
    """What is rented, since when, what it has cost, and what runs there."""
    from railcar.workflows.machines import destroy_found, list_machines

    listing = list_machines(everywhere=everywhere)
    found = listing.found
    if console.json:
        console.json_result([_plain(one) for one in found])
    elif found:
        console.result(_table(found))
    for line in listing.warnings:
        console.warn(line)
    if listing.unasked:
        console.note(f"whether there is more at {' and '.join(listing.unasked)} is not known")
    elif not found:
        console.note("nothing is rented" if everywhere else "no machine is known here; --all asks every provider")
    unknown = [one for one in found if one.lease is None]
    if not unknown or not everywhere:
        return
    if not yes and not sys.stdin.isatty():
        console.note(f"not known to this computer: {', '.join(one.name for one in unknown)}; end them with --yes")
        return
    for one in unknown:
        if yes or click.confirm(f"End {one.name}, which this computer did not know of?", default=False, err=True):
            destroy_found(one, console.note)


@command.command("ssh")
@_machine
@click.option(
    "--tunnel",
    metavar="PORT[:THERE]",
    help="No terminal: make a port of the machine's reachable here, on 127.0.0.1, until Ctrl-C.",
)
@_ssh_config
@common_options()
def ssh_command(machine: str, tunnel: str | None, ssh_config: Path | None, console: Console) -> int:
    """A terminal on the machine, or a tunnel to one of its ports."""
    from railcar.workflows.on_machine import find_machine

    shell = find_machine(machine, ssh_config).shell()
    if tunnel is None:
        return shell.open_terminal()
    here, _, there = tunnel.partition(":")
    ports = [int(one) if one.isdigit() and 0 < int(one) < 65536 else None for one in (here, there or here)]
    if ports[0] is None or ports[1] is None:
        raise UsageError(f"--tunnel: {tunnel!r} is no port", hint="write --tunnel 6006, or --tunnel 8080:6006")
    console.note(f"http://127.0.0.1:{ports[0]} is port {ports[1]} of {machine}; Ctrl-C ends it")
    with shell.forward(ports[0], ports[1]) as process:
        try:
            return process.wait()
        except KeyboardInterrupt:
            process.terminate()
            raise


@command.command("run", context_settings={"ignore_unknown_options": True})
@_machine
@click.argument("words", metavar="-- COMMAND...", nargs=-1, required=True, type=click.UNPROCESSED)
@_with
@click.option("--detach", is_flag=True, help="Begin it, and do not wait.")
@_python
@_wheelhouse
@_ssh_config
@common_options()
def run_command(
    machine: str,
    words: tuple[str, ...],
    extra: tuple[str, ...],
    detach: bool,
    python: str | None,
    wheelhouse: Path | None,
    ssh_config: Path | None,
    console: Console,
) -> int:
    """Run any command on a copy of this folder there: railcar machine run NAME -- python3 train.py

    What git would copy is copied; the command's status is passed on. It goes on when the connection is lost.
    """
    from railcar.machines.bootstrap import Wishes
    from railcar.workflows.machines import run_script
    from railcar.workflows.on_machine import find_machine

    lease = find_machine(machine, ssh_config)
    wishes = Wishes(python=python, wheelhouse=wheelhouse)
    status = run_script(lease, words, Path.cwd(), extra, wishes, console.note, _write_out, console.warn, detach=detach)
    if status is None:
        console.result(f"it goes on there\nnext  railcar machine logs {machine}  ·  railcar machine stop {machine}")
        return 0
    return status


@command.command("logs")
@_machine
@_job
@click.option("--from-start", is_flag=True, help="From the first line, not from where it was last seen.")
@_ssh_config
@common_options()
def logs_command(machine: str, job: str | None, from_start: bool, ssh_config: Path | None, console: Console) -> int:
    """Follow what runs there, from where it was last seen. A training comes home when it has ended."""
    from railcar.workflows.machines import logs
    from railcar.workflows.on_machine import find_machine

    lease = find_machine(machine, ssh_config)
    found = logs(lease, job, console.note, console.pass_on, from_start=from_start)
    return found if isinstance(found, int) else show_away(found, console)


@command.command("sync")
@_machine
@_with
@click.option("--yes", is_flag=True, help="Do not ask.")
@_python
@_wheelhouse
@_ssh_config
@common_options()
def sync_command(
    machine: str,
    extra: tuple[str, ...],
    yes: bool,
    python: str | None,
    wheelhouse: Path | None,
    ssh_config: Path | None,
    console: Console,
) -> None:
    """Copy this folder there, as git would: with a preview."""
    from railcar.machines.bootstrap import Wishes
    from railcar.workflows.machines import sync
    from railcar.workflows.on_machine import find_machine

    def agree(files: Any) -> bool:
        console.note(f"to copy: {files.describe()}")
        for name in files.secrets:
            console.warn(f"{name} stays here: it looks like a key or password")
        return yes or not sys.stdin.isatty() or click.confirm("Copy?", default=True, err=True)

    wishes = Wishes(python=python, wheelhouse=wheelhouse)
    lease = find_machine(machine, ssh_config)
    _, _, there, _ = sync(lease, Path.cwd(), extra, wishes, console.note, agree)
    console.result(f"copied to {there}")


@command.command("pull")
@_machine
@_job
@_ssh_config
@common_options()
def pull_command(machine: str, job: str | None, ssh_config: Path | None, console: Console) -> None:
    """Bring home what a training there has by now."""
    from railcar.workflows.machines import pull
    from railcar.workflows.on_machine import find_machine

    runs = pull(find_machine(machine, ssh_config), job, console.note)
    console.result("\n".join(str(run.path) for run in runs) if runs else "there is nothing yet")


@command.command("stop")
@_machine
@_job
@_ssh_config
@common_options()
def stop_command(machine: str, job: str | None, ssh_config: Path | None, console: Console) -> None:
    """End what runs there; a training saves what it has. The machine stays."""
    from railcar.workflows.machines import stop
    from railcar.workflows.on_machine import find_machine

    task = stop(find_machine(machine, ssh_config), job)
    console.result(f"{task.name} was told to end\nnext  railcar machine logs {machine}")


@command.command("down")
@_machine
@click.option("--force", is_flag=True, help="Even if something there has not come home: it is lost.")
@common_options()
def down_command(machine: str, force: bool, console: Console) -> None:
    """Give a machine back, and see that it is gone. What has ended there comes home before."""
    from railcar.workflows.machines import down
    from railcar.workflows.on_machine import find_machine

    down(find_machine(machine), console.note, force=force)


@command.command("prices")
@click.argument("provider", required=False)
@common_options(json=True)
def prices_command(provider: str | None, console: Console) -> None:
    """What machines cost, by GPU: a table with its date."""
    from railcar.machines.prices import list_prices, memory_gb, spot_share, table_date
    from railcar.machines.providers import PROVIDERS

    if provider is not None and provider not in PROVIDERS:
        raise UsageError(f"there is no provider {provider!r}", hint=f"providers are: {', '.join(PROVIDERS)}")
    found = [one for one in list_prices(provider) if one.provider in PROVIDERS]
    if console.json:
        console.json_result({"date": table_date(), "prices": [asdict(one) for one in found]})
        return
    rows = [["provider", "gpu", "memory", "machine type", "an hour", "spot, about"]]
    for one in found:
        gpu = f"{one.gpu}:{one.n_gpus}" if one.gpu else "none"
        memory = f"{memory_gb(one.gpu) * one.n_gpus} GB" if one.gpu else "-"
        spot = one.usd_per_hour * spot_share(one.provider)
        rows.append([one.provider, gpu, memory, one.machine_type, f"${one.usd_per_hour:.2f}", f"${spot:.2f}"])
    table = format_table(rows, right_from=4)
    console.result(
        f"{table}\n\non demand, in each provider's usual region, as of {table_date()}; what is billed is its word"
    )


@command.command("wheelhouse")
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
@click.option("--gpu", is_flag=True, help="For machines with NVIDIA GPUs: 3 GB more.")
@click.option("--python", metavar="VERSION", help="Of the machine, as in 3.12; that of this computer when absent.")
@common_options()
def wheelhouse_command(folder: Path, gpu: bool, python: str | None, console: Console) -> None:
    """Download all that a machine needs into FOLDER, for machines that have no network."""
    from railcar.cli.text import format_size
    from railcar.machines.wheelhouse import fill_wheelhouse

    wheels = fill_wheelhouse(folder, gpu=gpu, python=python)
    size = format_size(sum(one.stat().st_size for one in wheels))
    console.result(
        f"{len(wheels)} wheels, {size}, in {folder}\nnext  railcar train DATA --on ssh:HOST --wheelhouse {folder}"
    )


@command.command("doctor")
@_machine
@_ssh_config
@common_options(json=True)
def doctor_command(machine: str, ssh_config: Path | None, console: Console) -> int:
    """Look for what stands in the way between here and the machine, and mend who may reach it."""
    from railcar.workflows.machines import diagnose
    from railcar.workflows.on_machine import find_machine

    found = diagnose(find_machine(machine, ssh_config), console.note)
    if console.json:
        console.json_result([{"what": what, "is_well": well, "words": words} for what, well, words in found])
    else:
        width = max(len(what) for what, _, _ in found)
        console.result("\n".join(f"{'ok ' if well else '-- '} {what:<{width}}  {words}" for what, well, words in found))
    return 0 if all(well for _, well, _ in found) else 1


def show_away(away: Away, console: Console) -> int:
    """Print how a training on a machine ended, or how to follow it; returns the status."""
    if away.status is None:
        if console.json:
            console.json_result({"machine": away.machine, "job": away.task.name})
            return 0
        where = away.machine
        console.result(f"it goes on, on {where}\nnext  railcar machine logs {where}  ·  railcar machine stop {where}")
        return 0
    from railcar.cli.notice import give_notice

    state = "finished" if away.status == 0 else f"ended with status {away.status}"
    give_notice(f"railcar: {away.run.name if away.run else away.task.name}", f"{state} on {away.machine}")
    text = away.result
    if away.run is not None:
        text = text.replace(f"runs/{away.run.name}", str(away.run.path))
    if text:
        console.result(text)
    if away.status and away.run is not None:
        console.note(
            f"what it had is in {away.run.path}; to go on: railcar train --resume={away.run.name} --on MACHINE"
        )
    return away.status


def _write_out(block: bytes) -> None:
    sys.stdout.buffer.write(block)
    sys.stdout.buffer.flush()


def _table(found: list[Listed]) -> str:
    rows = [["name", "provider", "state", "type", "zone", "cost", "job"]]
    for one in found:
        kind, zone = (one.machine.machine_type, one.machine.zone) if one.machine else ("", "")
        cost = f"${one.cost_usd:.2f}" if one.cost_usd is not None else "-"
        rows.append([one.name, one.provider, one.state, kind or "-", zone or "-", cost, one.job or "-"])
    return format_table(rows, right_from=99)


def _plain(one: Listed) -> dict[str, Any]:
    machine = one.machine
    return {
        "name": one.name,
        "provider": one.provider,
        "state": one.state,
        "machine_type": machine.machine_type if machine else None,
        "zone": machine.zone if machine else None,
        "price_usd_per_hour": machine.price_usd_per_hour if machine else None,
        "cost_usd": round(one.cost_usd, 4) if one.cost_usd is not None else None,
        "is_known_here": one.lease is not None,
        "job": one.job,
    }
