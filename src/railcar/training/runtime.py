"""Device, precision and compile mode: each an automatic choice with its reason.

Figures behind the choices: `docs/concepts/performance.md`. On a CPU, XLA's convolutions run at a fraction of oneDNN's,
so a CPU is given the graph mode; bfloat16 pays where the processor multiplies it faster, which is measured.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from railcar.errors import RecipeError
from railcar.training.hardware import compare_bfloat16, cpu_flags, gpu_memory_bytes

# Below that, float32's exactness is worth more than the time.
_WORTH_IT = 1.15
# On an H100, XLA took 26 to 33 s more to compile, and was 1.4 to 1.9 times as fast from then on.
_LONG_STEPS = 10_000


@dataclass(frozen=True)
class Choice:
    """An automatic choice, or the user's own: its value and why."""

    value: Any
    reason: str


@dataclass(frozen=True)
class Runtime:
    """`device` "cpu" or "gpu"; `precision` float32, bfloat16 or float16; `compile` eager, graph or xla;
    `steps_per_call` an int, or "auto" for as many as reach from one record to the next; `data_on` host or device."""

    device: Choice
    precision: Choice
    compile: Choice
    steps_per_call: Choice
    data_on: Choice

    def choices(self) -> dict[str, Choice]:
        choices = {
            "device": self.device,
            "training.precision": self.precision,
            "training.compile": self.compile,
            "training.steps_per_call": self.steps_per_call,
        }
        # A CPU has nothing to choose between.
        return choices | ({"training.data_on": self.data_on} if self.device.value == "gpu" else {})


def choose_runtime(
    *,
    precision: str,
    compile: str,
    steps_per_call: int | str,
    data_on: str = "auto",
    data_bytes: int | None = 0,
    deterministic: bool = False,
    n_steps: int = _LONG_STEPS,
) -> Runtime:
    """Settle what `auto` stands for on this machine, and make TensorFlow `deterministic` where that is asked for.
    `data_bytes` is the size of the training images, None where they stay encoded; `n_steps` how long it goes.
    TensorFlow is asked for its GPUs, so it is imported here."""
    import tensorflow as tf

    if deterministic:
        tf.config.experimental.enable_op_determinism()
    gpus = tf.config.list_physical_devices("GPU")
    capability = memory_bytes = None
    if gpus:
        capability = tf.config.experimental.get_device_details(gpus[0]).get("compute_capability")
        name = tf.config.experimental.get_device_details(gpus[0]).get("device_name", "GPU")
        memory_bytes = gpu_memory_bytes()
        device = Choice("gpu", f"TensorFlow sees {len(gpus)} GPU(s); the first is {name}")
    else:
        device = Choice("cpu", "TensorFlow sees no GPU")
    how = Choice(compile, "as the recipe says") if compile != "auto" else choose_compile(device.value, n_steps)
    return Runtime(
        device=device,
        precision=choose_precision(precision, device.value, cpu_flags(), capability, compare_bfloat16),
        compile=how,
        steps_per_call=choose_steps_per_call(steps_per_call, how.value),
        data_on=choose_data_on(data_on, device.value, data_bytes, memory_bytes),
    )


def choose_precision(
    precision: str,
    device: str,
    flags: frozenset[str],
    capability: tuple[int, int] | None,
    compare: Callable[[], float],
) -> Choice:
    """`flags` are the CPU's instruction sets, `capability` the first GPU's compute capability; `compare` measures how
    many times as fast as float32 this CPU computes with bfloat16, and is asked where it has instructions for it."""
    if precision != "auto":
        return Choice(precision, "as the recipe says")
    if device == "gpu":
        if capability and capability >= (8, 0):
            return Choice("bfloat16", f"compute capability {capability[0]}.{capability[1]} multiplies it natively")
        if capability and capability >= (7, 0):
            return Choice("float16", f"compute capability {capability[0]}.{capability[1]} has tensor cores for it")
        return Choice("float32", "this GPU has no faster matrix units for 16 bits")
    if not flags & {"amx_bf16", "avx512_bf16"}:
        return Choice("float32", "this processor has no native bfloat16 (no AMX, no AVX-512 BF16)")
    ratio = compare()
    measured = f"convolutions in bfloat16 are {ratio:.1f} times as fast here, measured just now"
    return Choice("bfloat16" if ratio >= _WORTH_IT else "float32", measured)


def choose_compile(device: str, n_steps: int) -> Choice:
    if device == "gpu" and n_steps >= _LONG_STEPS:
        return Choice("xla", "XLA fuses the passes over memory that bound a GPU")
    if device == "gpu":
        return Choice("graph", f"below {_LONG_STEPS:,} steps XLA takes longer to compile than it saves")
    return Choice("graph", "on a CPU oneDNN's kernels are faster than XLA's")


def choose_steps_per_call(steps_per_call: int | str, compile: str) -> Choice:
    if compile == "eager":
        if steps_per_call not in (1, "auto"):
            raise RecipeError(
                f"training.steps_per_call: {steps_per_call} steps in a call need a compiled step, but compile is eager",
                hint="set training.compile to graph, or training.steps_per_call to 1",
            )
        return Choice(1, "eager steps run one by one")
    if steps_per_call != "auto":
        return Choice(int(steps_per_call), "as the recipe says")
    return Choice("auto", "as many as take a quarter of a second, so that Python costs nothing")


def choose_data_on(data_on: str, device: str, data_bytes: int | None, memory_bytes: int | None) -> Choice:
    """`memory_bytes` is the first GPU's memory, None when it is not known; so is `data_bytes` of encoded images."""
    if data_on != "auto":
        return Choice(data_on, "as the recipe says")
    if device == "cpu":
        return Choice("host", "there is one memory")
    if data_bytes is None:
        return Choice("host", "the images are decoded on the host")
    size = f"{data_bytes / 1e9:.2g} GB of images"
    if memory_bytes is None:
        return Choice("host", f"{size}; the GPU's memory is not known")
    if data_bytes * 4 <= memory_bytes:
        return Choice("device", f"{size} fill less than a quarter of the GPU's {memory_bytes / 1e9:.0f} GB")
    return Choice("host", f"{size} fill more than a quarter of the GPU's {memory_bytes / 1e9:.0f} GB")
