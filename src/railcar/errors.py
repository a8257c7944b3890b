"""The errors that railcar raises for its users.

    RailcarError              what went wrong, and a hint that mends it       exit status 1
    ├── UsageError            the words on the command line are wrong                     2
    │   └── RecipeError       one or more faults in a recipe, all reported together       2
    ├── DataError             the data cannot be used: file or line named                 1
    │   ├── NotFound          a path, a set or a run that is not there                    1
    │   ├── AccessDenied      a bucket or an object that may not be read or written        1
    │   └── Unreachable       a network or a server that did not answer, or not wholly     1
    ├── RunError              a run directory that is damaged or in use                   1
    │   └── CheckpointError   no checkpoint, or none that is whole                        1
    ├── ArtifactError         an artifact that is damaged or too new                      1
    │   ├── ForeignArtifact   one that this user has not made, or that does harm          1
    │   └── ExportError       a format that cannot hold a model, or that answers otherwise   1
    ├── WeightsMissing        pre-trained weights cannot be downloaded                    1
    ├── MissingExtra          an optional dependency is not installed                     1
    ├── OutputError           results cannot be written there                             1
    ├── MachineError          a machine that cannot be had, reached or used               1
    │   ├── NoCapacity        the provider has none left there: sold out                  1
    │   ├── NoQuota           this account may not have so many                           1
    │   ├── NoPermission      this account may not do that at all                         1
    │   ├── HostKeyWrong      who answers is not the machine that is meant                1
    │   ├── MachineGone       taken away, or ended by somebody, while it was used         1
    │   └── MachineUnreachable  no answer, or the connection broke                        1
    ├── TrainingError         training cannot go on (loss is not a number, ...)           1
    └── Interrupted           Ctrl-C (130) or SIGTERM (143), with the work saved    130, 143
        └── WorkerLost        another worker of the same training died                    1

Every one carries `what` (one line that names the file, line or key) and `hint` (one line that mends it).
"""

from __future__ import annotations

from dataclasses import dataclass


class RailcarError(Exception):
    """Something the user can mend. `what` and `hint` are one line each, without a final full stop."""

    exit_status = 1

    def __init__(self, what: str, *, hint: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.hint = hint


class UsageError(RailcarError):
    exit_status = 2


@dataclass(frozen=True)
class Fault:
    """One fault of a recipe: where it stands (`file.yaml:7`, `--set`), the dotted key, what is wrong, the mend."""

    where: str
    key: str
    what: str
    hint: str = ""

    def __str__(self) -> str:
        place = f"{self.where}: " if self.where else ""
        return f"{place}{self.key}: {self.what}" if self.key else f"{place}{self.what}"


class RecipeError(UsageError):
    """All faults of one recipe. With a single fault, `what` and `hint` are its own."""

    def __init__(self, what: str = "", *, hint: str = "", faults: tuple[Fault, ...] = ()) -> None:
        if len(faults) == 1:
            what, hint = str(faults[0]), faults[0].hint or hint
        super().__init__(what, hint=hint)
        self.faults = faults


class DataError(RailcarError):
    pass


class NotFound(DataError):
    pass


class AccessDenied(DataError):
    pass


class Unreachable(DataError):
    pass


class RunError(RailcarError):
    pass


class CheckpointError(RunError):
    pass


class ArtifactError(RailcarError):
    pass


class ForeignArtifact(ArtifactError):
    pass


class ExportError(ArtifactError):
    pass


class WeightsMissing(RailcarError):
    pass


class OutputError(RailcarError):
    pass


class TrainingError(RailcarError):
    pass


class MachineError(RailcarError):
    pass


class NoCapacity(MachineError):
    """Sold out. `zones` are others that the provider itself named."""

    def __init__(self, what: str, *, hint: str = "", zones: tuple[str, ...] = ()) -> None:
        super().__init__(what, hint=hint)
        self.zones = zones


class NoQuota(MachineError):
    pass


class NoPermission(MachineError):
    pass


class HostKeyWrong(MachineError):
    pass


class MachineGone(MachineError):
    pass


class MachineUnreachable(MachineError):
    pass


class MissingExtra(RailcarError):
    """`package` is not installed; the extra `extra` brings it."""

    def __init__(self, package: str, extra: str, *, needed_for: str = "this command") -> None:
        super().__init__(
            f"{needed_for} needs {package}, which is not installed",
            hint=f'install it with: pip install "railcar[{extra}]"',
        )
        self.package = package
        self.extra = extra


class Interrupted(RailcarError):
    """Training was stopped by a signal after its work was saved. `exit_status` is 130 or 143."""

    def __init__(self, what: str, *, hint: str = "", exit_status: int = 130) -> None:
        super().__init__(what, hint=hint)
        self.exit_status = exit_status


class WorkerLost(Interrupted):
    """Another worker of the same training died; what was trained until the last checkpoint is kept."""

    def __init__(self, what: str, *, hint: str = "") -> None:
        super().__init__(what, hint=hint, exit_status=1)
