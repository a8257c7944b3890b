"""`train --on MACHINE`: the same training on another machine, and its run home again.

Owns what a training takes along (its data, its code, its weights), when a machine is given back, and what is said when
somebody leaves early. Imports no TensorFlow. Renting, ssh and jobs are `railcar.machines`'.
"""

from __future__ import annotations

import json
import secrets
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from railcar.errors import Interrupted, MachineError, RailcarError, UsageError
from railcar.machines import tasks
from railcar.machines.base import MachineSpec, Provider
from railcar.machines.bootstrap import Ready, Wishes, prepare
from railcar.machines.guarding import is_guarded
from railcar.machines.lease import OWN, Lease, new_lease, own_machine, read_lease
from railcar.machines.providers import PROVIDERS, find_provider
from railcar.machines.renting import describe_offer, give_back, hours_of, most_usd, rent, wait_for
from railcar.machines.shell import Shell
from railcar.machines.sync import send_data
from railcar.machines.tasks import TRAIN, Task
from railcar.recipe.writing import recipe_to_yaml
from railcar.registry import is_own
from railcar.runs.run_dir import RunDir
from railcar.storage.address import is_remote
from railcar.storage.local import MOVED, expand_home
from railcar.workflows.inputs import Input

Tell = Callable[[str], None]
_GUARD_WITHIN_S = 90.0


@dataclass(frozen=True)
class Rental:
    """Where a training goes. `on` is a provider, `ssh:HOST` or the name of a machine that is there; `agree` is asked
    with what it costs and says whether to go on. `python` and `wheelhouse` as `Wishes` has them."""

    on: str
    agree: Callable[[str], bool]
    spec: MachineSpec = field(default_factory=MachineSpec)
    detach: bool = False
    keep: bool = False
    python: str | None = None
    wheelhouse: Path | None = None
    ssh_config: Path | None = None

    @property
    def wishes(self) -> Wishes:
        n_gpus = int((self.spec.gpu or ":0").partition(":")[2] or 1)
        return Wishes(n_gpus, (), self.python, self.wheelhouse)


@dataclass(frozen=True)
class Away:
    """A training on a machine that has ended, or goes on there. `status` is None as long as it does."""

    task: Task
    machine: str
    status: int | None = None
    run: RunDir | None = None
    result: str = ""


def train_on(
    rental: Rental, given: Input, words: list[str], runs_dir: Path, tell: Tell, show: Callable[[bytes], object]
) -> Away:
    """Train what is `given` there; `words` are what `railcar train` gets besides the data or recipe. `tell` is told
    what happens, `show` gets the training's own lines.

    Raises what stands in the way; a machine that was made for it is then given back. `Interrupted` when the user
    leaves while the training goes on.
    """
    load = _pack(given)
    lease, provider = open_machine(rental, given.recipe.name, tell)
    has_begun = False
    try:
        with _making(lease, provider):
            if provider is not None:
                lease = make(lease, provider, tell)
            shell = lease.shell()
            ready = make_ready(lease, shell, rental.wishes, provider, tell)
            task = _begin(load, words, lease, shell, ready, runs_dir, tell)
        has_begun = True
        if rental.detach:
            return Away(task, lease.name)
        return finish(task, lease, shell, tell, show)
    except (KeyboardInterrupt, Interrupted) as error:
        if has_begun:
            raise _left(lease, error) from error
        if provider is not None:
            tell("giving the machine back")
            give_back(lease, provider, tell)
        raise
    except BaseException:
        if provider is not None and not has_begun:
            give_back(lease, provider, tell)
        raise


def open_machine(rental: Rental, name: str, tell: Tell) -> tuple[Lease, Provider | None]:
    """The machine that `on` names, and the provider that is to make it, where it must be made. What that costs is
    agreed on first."""
    on = rental.on
    if on.startswith("ssh:"):
        return own_machine(on.removeprefix("ssh:"), rental.ssh_config), None
    if on not in PROVIDERS:
        lease = read_lease(on)
        if lease.state != OWN and lease.machine is None:
            raise MachineError(f"{on}: was never made", hint=f"forget it with: railcar machine down {on}")
        return lease, None
    provider = find_provider(on)
    agree_on_price(provider, rental, tell)
    plain = "".join(letter if letter.isalnum() and letter.isascii() else "-" for letter in name.lower()).strip("-")
    plain = plain if plain[:1].isalpha() else f"m-{plain}"
    lease = new_lease(f"{plain[:28].rstrip('-')}-{secrets.token_hex(2)}", on, rental.spec)
    return lease.change(is_kept=rental.keep), provider


def agree_on_price(provider: Provider, rental: Rental, tell: Tell) -> None:
    """Say what it is and what it costs; raise `UsageError` unless that is agreed on."""
    offer = provider.offers(rental.spec)[0]
    hours, most = hours_of(offer, rental.spec), most_usd(offer, rental.spec)
    price = "price not known" if most is None else f"${offer.price_usd_per_hour:.2f} an hour, at most ${most:.2f}"
    text = f"{describe_offer(offer)}: {price}; ends by itself after {hours:g} h"
    if not rental.agree(text):
        raise UsageError("nothing was rented", hint="answer y, or add --yes")


@contextmanager
def _making(lease: Lease, provider: Provider | None) -> Iterator[None]:
    """No other railcar ends a machine that this one is making."""
    if provider is None:
        yield
        return
    with lease.hold():
        yield


def make(lease: Lease, provider: Provider, tell: Tell) -> Lease:
    """The machine of the lease, when it answers."""
    began = time.monotonic()
    lease = rent(lease, provider, tell)
    lease, _ = wait_for(lease, provider)
    machine = lease.machine
    where = f"{machine.machine_type} in {machine.zone}" if machine else ""
    tell(f"{lease.name}: {where}, ready after {time.monotonic() - began:.1f} s")
    return lease


def make_ready(lease: Lease, shell: Shell, wishes: Wishes, provider: Provider | None, tell: Tell) -> Ready:
    """What a training needs, on the machine; of one that was made, its guard is seen to run."""
    ready = prepare(shell, replace(wishes, is_rented=lease.state != OWN), tell)
    if provider is not None:
        until, inside = time.monotonic() + _GUARD_WITHIN_S, provider.inside(lease.name)
        while not is_guarded(shell, inside):
            if time.monotonic() > until:
                raise MachineError(
                    f"{lease.name}: its guard does not run, so it might be forgotten",
                    hint="try again; or another image, one with Python 3 and systemd",
                )
            time.sleep(0.2)
    return ready


def finish(task: Task, lease: Lease, shell: Shell, tell: Tell, show: Callable[[bytes], object]) -> Away:
    """Follow a training to its end, bring it home, and give the machine back if it was made for it."""
    status = tasks.follow(task, shell, show, tell=tell)
    runs = tasks.bring_home(task, shell)
    result = tasks.read_result(task, shell) if task.kind == TRAIN else ""
    for run in runs:
        note_cost(run, lease)
    if lease.state != OWN and not lease.is_kept:
        shell.close()
        give_back(lease, find_provider(lease.provider, lease), tell)
    return Away(task, lease.name, status, runs[-1] if runs else None, result)


def note_cost(run: RunDir, lease: Lease) -> None:
    """Write into the manifest where the run was trained, and what that has cost."""
    machine = lease.machine
    if machine is None or not run.is_run():
        return
    cost = lease.cost_usd()
    place = {"name": lease.name, "provider": lease.provider, "machine_type": machine.machine_type, "zone": machine.zone}
    known = {key: value for key, value in place.items() if value}
    costs = {"price_usd_per_hour": machine.price_usd_per_hour, "cost_usd": round(cost, 4)} if cost is not None else {}
    run.write_manifest({**run.read_manifest(), "machine": {**known, **costs}})


@dataclass(frozen=True)
class _Load:
    """What goes to the machine: the argument of `train` there, or the text of a recipe; files by their path here."""

    argument: str | None
    recipe: str | None
    name: str
    paths: tuple[Path, ...]
    code: Path | None = None


def _pack(given: Input) -> _Load:
    """Raises `UsageError` for what cannot be sent."""
    if given.arrays is not None:
        raise UsageError("arrays in memory cannot be sent to a machine", hint="write them to an .npz file first")
    recipe, paths, code = given.recipe, [], None
    data: dict[str, Any] = {}
    for key in ("source", "validation", "test"):
        value = getattr(recipe.data, key)
        if isinstance(value, str) and (path := _local(value)) is not None:
            paths.append(path)
            data[key] = str(path)
    model: dict[str, Any] = {}
    if is_own(recipe.model.name):
        place, _, function = recipe.model.name.rpartition(":")
        if place.endswith(".py") and (path := _local(place)) is not None:
            code = path.parent  # with what it imports from beside it
            model["name"] = f"{path}:{function}"
    if recipe.model.weights not in ("imagenet", "none") and (path := _local(recipe.model.weights)) is not None:
        paths.append(path)
        model["weights"] = str(path)
    recipe = recipe.model_copy(
        update={"data": recipe.data.model_copy(update=data), "model": recipe.model.model_copy(update=model)}
    )
    argument, text = (None, recipe_to_yaml(recipe)) if given.is_complete else (recipe.data.source, None)
    return _Load(argument, text, recipe.name, tuple(paths), code)


def _local(text: str) -> Path | None:
    """The absolute path of what is a file or folder here."""
    path = expand_home(text)
    return path.absolute() if not is_remote(text) and path.exists() else None


def _begin(load: _Load, words: list[str], lease: Lease, shell: Shell, ready: Ready, runs_dir: Path, tell: Tell) -> Task:
    moved = {}
    for path in dict.fromkeys(load.paths):
        tell(f"copying {path.name} to {lease.name}")
        moved[str(path)] = send_data(shell, ready, path)
    if load.code is not None:
        moved[str(load.code)] = send_data(shell, ready, load.code, suffix=".py")
    name = f"{load.name[:40]}-{secrets.token_hex(3)}"
    folder = f"{ready.root}/jobs/{name}"
    argument = load.argument
    if load.recipe is not None:
        argument = f"{ready.root}/recipes/{name}.yaml"
        shell.run(f"mkdir -p '{ready.root}/recipes' && cat > '{argument}'", stdin=load.recipe.encode())
    command = ready.command("train", argument or "", *words, "--runs-dir", "runs")
    task = Task(
        name, lease.name, TRAIN, ("train", load.argument or load.name, *words), ready.home, ready.package,
        time.time(), str(runs_dir.absolute()),
    )  # fmt: skip
    env = {MOVED: json.dumps(moved)} if moved else {}
    ends_s = lease.ends_s - 150 if lease.ends_s else None  # a checkpoint is saved and comes home before the end
    return tasks.begin(lease, shell, ready, task, command, env=env, cwd=folder, ends_s=ends_s)


def _left(lease: Lease, error: BaseException) -> RailcarError:
    status = 143 if type(error).__name__ == "Terminated" else getattr(error, "exit_status", 130)
    name = _reference(lease)
    return Interrupted(
        f"the training goes on, on {lease.name}",
        hint=f"follow it with: railcar machine logs {name}; end it with: railcar machine stop {name}",
        exit_status=status,
    )


def _reference(lease: Lease) -> str:
    """What a command takes for the machine."""
    return lease.machine.name if lease.state == OWN and lease.machine else lease.name


def find_machine(name: str, ssh_config: Path | None = None) -> Lease:
    """A machine by its name, or one of the user's own as ssh:HOST. Raises `NotFound`."""
    if not name.startswith("ssh:"):
        return read_lease(name)
    lease = own_machine(name.removeprefix("ssh:"), ssh_config)
    return read_lease(lease.name) if (lease.folder / "lease.json").exists() else lease


def is_terminal() -> bool:
    return sys.stdin.isatty() and sys.stderr.isatty()
