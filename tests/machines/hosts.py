"""A machine of the fake's, made the way commands make one, for tests of what happens on it."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from railcar.machines.base import MachineSpec
from railcar.machines.bootstrap import Ready, Wishes, prepare
from railcar.machines.fake import FakeProvider
from railcar.machines.lease import Lease, new_lease
from railcar.machines.renting import rent, wait_for
from railcar.machines.shell import Shell

OUTSIDE = dict(os.environ)
"""The environment before a fixture closed the network to these tests."""

QUIET = MachineSpec(max_hours=0.5)


def say_nothing(text: str) -> None:
    pass


@contextmanager
def machine(provider: FakeProvider, name: str = "one", spec: MachineSpec = QUIET) -> Iterator[tuple[Lease, Shell]]:
    """One that answers and stays; its connection is closed afterwards."""
    lease = rent(new_lease(name, "fake", spec).change(is_kept=True), provider, say_nothing)
    lease, shell = wait_for(lease, provider)
    try:
        yield lease, shell
    finally:
        shell.close()


def make_ready(shell: Shell) -> Ready:
    """With the Python of these tests."""
    return prepare(shell, Wishes(python=sys.executable), say_nothing)
