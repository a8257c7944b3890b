"""The recipe: every key with its default, its type and its meaning. Nodes are frozen and refuse unknown keys.

Owns the shape and the range of single keys. Rules across keys are in `checks.py`, reading and `--set` in `load.py`.
The docstrings of the fields are the reference: `docs/reference/recipe.md` and the JSON Schema are made from them
(by `reference.py`: pydantic's own reading of docstrings would delay every start).
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Count = Annotated[int, Field(ge=1)]
Fraction = Annotated[float, Field(gt=0, lt=1)]


class Node(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Last(Node):
    """The last examples of the training side, in the source's order."""

    last: Count
    """How many."""


class Part(Node):
    """The last examples of the training side, or one of several parts of it that share no example: `{last: 500}` or
    `{fold: 1, of: 5}`."""

    last: Count | None = None
    """How many, in the source's order."""
    fold: Count | None = None
    """Which part, from 1 on."""
    of: Annotated[int, Field(ge=2)] | None = None
    """How many parts there are, all of about the same size."""


Share = Fraction | Count | Last | Annotated[str, Field(description="the path of a source")]
TestShare = Fraction | Count | Part | Annotated[str, Field(description="the path of a source")]


class Augment(Node):
    """Random changes of training images, made anew each time an image is seen. All off by default."""

    flip: bool = False
    """Mirror left and right: each image in every second epoch."""
    shift: Annotated[float, Field(ge=0, le=0.5)] = 0.0
    """The largest move, as a share of height and width."""
    rotate: Annotated[float, Field(ge=0, le=0.5)] = 0.0
    """The largest turn either way, as a share of a whole turn."""
    zoom: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """The largest change of scale either way: 0.1 is 90% to 110%."""
    cutout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """The side of a square that is cut out at a random place, as a share of the shorter side."""


class Data(Node):
    """What to learn from, and who is on which side."""

    source: str = "mnist-sample"
    """A known set's name (`mnist`, `mnist-sample`), or the path of a folder, a CSV, an npz or a folder of IDX files."""
    kind: Literal["image", "text", "table"] | None = None
    """What the examples are; detected when absent."""
    task: Literal["classification", "regression"] | None = None
    """Whether classes are learnt, or a number (of tables); detected when absent."""
    label: str | None = None
    """The column of the labels, for CSV, JSONL, Parquet and Arrow; found when absent and plain to see. Of
    CIFAR-100 `fine` or `coarse`."""
    drop: tuple[str, ...] = ()
    """Columns of a table that are not learnt from."""
    columns: dict[str, Literal["number", "category", "boolean", "date", "text"]] = {}
    """What some columns are, where that should not be found out: `{age: number}`; `text` names the column of texts."""
    classes: Annotated[tuple[str, ...], Field(min_length=2)] | None = None
    """Learn these classes only, in this order; all when absent."""
    limit_per_class: Count | None = None
    """The most examples of a class that the training side has, before anything is held out of it."""
    group: str | None = None
    """A column whose equal values keep their rows on one side, as a patient's or an author's name. Not learnt from."""
    image_size: tuple[Count, Count] | None = None
    """Height and width in pixels that images are resized to; the source's own when they agree."""
    fit: Literal["stretch", "crop", "pad"] = "stretch"
    """How images of other proportions come to that size: `stretch` changes their proportions, `crop` keeps the middle
    part, `pad` puts black bars beside them. Part of the model, so that prediction takes raw images."""
    keep: Literal["auto", "pixels", "encoded"] = "auto"
    """What the prepared data holds of images: `pixels`, decoded and resized once, which is soonest to train on; or
    `encoded`, the files where they are, decoded while training, for sets that are larger than memory or disk. `auto`
    keeps pixels while they fit into a quarter of the memory and half of the free disk."""
    validation: Share | None = 0.1
    """Held out from the training side to watch the training: a fraction (by a seeded hash of each example, so nobody
    changes side when data is added), a count (exact, drawn once), `{last: 500}`, or the path of a source of its own;
    `null` for none."""
    test: TestShare | None = 0.1
    """The same for the final test, or `{fold: 1, of: 5}`, one of five parts that share no example. A source's own test
    side wins, but not over a fold."""
    shuffle: bool = True
    """A new order each epoch, drawn from the seed; `false` is the order of the file."""
    scale: Literal["auto", "none", "unit", "standard"] = "auto"
    """Pixels as the network sees them: `none` 0 to 255, `unit` 0 to 1, `standard` mean 0 and deviation 1 over the
    training split. Part of the model, so that prediction takes raw images."""
    augment: Augment = Augment()
    """Random changes of training images."""
    balance: Literal["none", "weights", "oversample"] = "none"
    """Let classes of different sizes count alike in training: by weights in the loss, or by showing examples of the
    smaller ones more often."""
    max_bad: Annotated[float, Field(ge=0, le=1)] = 0.01
    """The share of unreadable examples that is skipped and named; with more than that the data is refused."""
    duplicates: Literal["keep", "drop"] = "keep"
    """Equal examples on one side: all of them, or the first. With fractions and counts they never part."""
    allow_leakage: bool = False
    """Train although an image is on two sides, so that what is measured is too good. Of texts and rows, which may be
    alike by chance, it is told only."""


class FineTune(Node):
    """Train the top of a pre-trained backbone, too, once the new output has learnt."""

    share: Annotated[float, Field(gt=0, le=1)] = 0.3
    """The share of the backbone's layers that is trained, counted from its output. Its batch normalisation stays as it
    is."""
    rate: Annotated[float, Field(gt=0, le=1)] = 0.2
    """Their learning rate, as a share of that of the new output."""
    after: Annotated[float, Field(ge=0, lt=1)] = 0.3
    """The share of the steps in which the output learns alone."""


class Model(Node):
    """The network."""

    name: str = "cnn"
    """Which network: `railcar recipe list --models`; or FILE.py:FUNCTION, a function that returns a keras.Model."""
    options: dict[str, str | int | float | bool | tuple[int | float | str, ...]] = {}
    """What a function of your own is called with, beside what the data says."""
    filters: Annotated[tuple[Count, ...], Field(min_length=1)] = (32, 64)
    """Output channels of the convolutions, one number a block; of `resnet` one a stage, of `textcnn` one a number of
    words in a row."""
    kernel_size: Count = 3
    """Height and width of the convolutions' kernels, in pixels; of `textcnn` the fewest words in a row."""
    strides: Count = 1
    """Step of the convolutions, in pixels."""
    padding: Literal["same", "valid"] = "same"
    """`same` keeps height and width; `valid` uses no pixels beyond the edge."""
    pool: Literal["max", "average", "none"] = "max"
    """2x2 pooling after each convolution."""
    pool_first: bool = False
    """Pool before normalisation and activation, not after: a quarter of the work for them."""
    batch_norm: bool = False
    """Normalise over the batch after each convolution."""
    activation: Literal["relu", "gelu", "silu", "elu", "tanh"] = "relu"
    """After each convolution and hidden dense layer."""
    global_pool: Literal["none", "max", "average"] = "none"
    """Reduce the last feature map to one value a channel, in place of flattening it."""
    embedding: Count | None = None
    """For texts and tables: width of the vectors that stand for words (64 when absent) or categories (8)."""
    cell: Literal["simple", "gru", "lstm"] = "gru"
    """What `rnn` reads with: SimpleRNN, GRU or LSTM."""
    units: Count = 64
    """Width of the state of `rnn`."""
    bidirectional: bool = False
    """Let `rnn` read from the end, too."""
    heads: Count = 4
    """Attention heads of `transformer`, among which `embedding` is split evenly."""
    blocks: Count = 2
    """Blocks of `transformer`, or of each stage of `resnet`."""
    members: Count = 32
    """Networks that answer together in `tabm`."""
    dense: tuple[Count, ...] = ()
    """Widths of the hidden dense layers before the output; of `tabm` 128 and 128 when there are none."""
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Share of units dropped before the output, in training; in networks for texts and tables after each dense layer,
    and in `transformer` after each part of a block."""
    initializer: Literal["glorot_uniform", "he_normal", "truncated_normal"] = "glorot_uniform"
    """How weights start; `truncated_normal` has a standard deviation of `initializer_std`."""
    initializer_std: Annotated[float, Field(gt=0)] = 0.1
    """Standard deviation of `truncated_normal`."""
    bias: float = 0.0
    """What biases start with."""
    backbone: str = "MobileNetV2"
    """For `pretrained`: a network of keras.applications."""
    weights: str = "imagenet"
    """What its backbone begins with: `imagenet`, which is downloaded once; the path of a file of weights; or `none`:
    then all of it is trained."""
    input_size: Count | None = None
    """For `pretrained`: the side in pixels that images have inside the network, `data.image_size` when absent. Small
    images are better seen enlarged."""
    fine_tune: FineTune | None = None
    """For `pretrained`: what of the backbone is trained; nothing when absent."""
    mirror_average: bool = False
    """Outside training, average the logits of an image and of its mirror image (test-time augmentation)."""
    shift_average: bool = False
    """Outside training, average the logits of an image and of the image moved by a pixel up and left, and down and
    right; takes three times as long. With `mirror_average` six views."""


class Optimizer(Node):
    """`learning_rate` is the peak, per step, for the global batch."""

    name: Literal["adam", "adamw", "sgd", "muon"] = "adam"
    """`sgd` has Nesterov momentum of `momentum`; `muon` makes the updates of convolutions orthogonal."""
    learning_rate: Annotated[float, Field(gt=0)] = 1e-3
    """The peak, per step, for the global batch."""
    schedule: Literal["constant", "cosine", "linear"] = "constant"
    """What happens after the warm-up: stay, or fall to zero at the last step along half a cosine or a line."""
    warmup_steps: Annotated[int, Field(ge=0)] = 0
    """Steps over which the rate rises from zero to its peak."""
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    """Decoupled decay of weights (not of biases and normalisation); for `adamw` and `sgd`. For `muon`: what all but the
    convolutions lose a step at the peak."""
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9
    """For `sgd` and `muon`."""
    bias_learning_rate: Annotated[float, Field(gt=0)] | None = None
    """For `muon`: the peak for biases and normalisation, which get SGD."""
    head_learning_rate: Annotated[float, Field(gt=0)] | None = None
    """For `muon`: the peak for dense layers, which get SGD."""
    beta_1: Annotated[float, Field(ge=0, lt=1)] = 0.9
    """Decay of the first moment, for `adam` and `adamw`."""
    beta_2: Annotated[float, Field(ge=0, lt=1)] = 0.999
    """Decay of the second moment, for `adam` and `adamw`."""


class EarlyStop(Node):
    """End when validation has not become better for a while."""

    metric: Literal["val_loss", "val_accuracy"] = "val_loss"
    """What must become better: lower for val_loss, higher for val_accuracy."""
    patience: Count = 5
    """Validations without a better value, one after the other, that end the training."""


class StopAt(Node):
    """End as soon as a validation reaches a value."""

    metric: Literal["val_loss", "val_accuracy"] = "val_accuracy"
    """`val_loss` at or below the value, `val_accuracy` at or above it."""
    value: Annotated[float, Field(ge=0)]
    """The value; accuracies are from 0 to 1."""


class Average(Node):
    """A moving average of the weights over the last steps; it is what is validated, evaluated and kept."""

    decay: Annotated[float, Field(gt=0, lt=1)] = 0.99
    """What the average keeps of itself, a step: 0.99 averages over about the last 100 steps."""
    every: Count = 5
    """Steps between its moves, which cost a pass over the weights each."""
    lookahead: bool = False
    """Let the training, too, go on from the average; how far rises to `decay` with the cube of the steps done."""


class Training(Node):
    """How long, how fast, how carefully."""

    steps: Count | None = None
    """Optimizer steps in all. Either this or `epochs`."""
    epochs: Annotated[float, Field(gt=0)] | None = None
    """Passes over the training split, fractions allowed. With neither this nor `steps`: 5."""
    batch_size: Count = 128
    """Examples a step, over all devices together."""
    optimizer: Optimizer = Optimizer()
    """The optimizer and its learning-rate schedule."""
    validate_every: Count | Literal["epoch"] = "epoch"
    """Steps between validations."""
    checkpoint_every: Count | Literal["epoch"] = "epoch"
    """Steps between checkpoints; the last step always leaves one."""
    keep_checkpoints: Count = 3
    """How many of the newest stay; the best stays besides."""
    best: Literal["val_loss", "val_accuracy", "last"] = "val_loss"
    """Which checkpoint becomes the artifact: the lowest loss or highest accuracy in validation, or the last."""
    early_stop: EarlyStop | None = None
    """End when validation has not become better for a while; off when absent."""
    stop_at: StopAt | None = None
    """End as soon as a validation reaches a value; off when absent."""
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """The share of the target that is spread evenly over all classes. The training loss has it in it, others not."""
    average: Average | None = None
    """Average the weights over the last steps; off when absent."""
    log_every: Count | None = None
    """Steps between lines of `metrics.jsonl`; chosen so that there are about 100 when absent."""
    precision: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """Of the computation; variables stay float32. `auto` takes what this device multiplies fastest."""
    compile: Literal["auto", "eager", "graph", "xla"] = "auto"
    """How steps are run: one by one, as a graph, or compiled by XLA."""
    steps_per_call: Count | Literal["auto"] = "auto"
    """Steps in one compiled call. Results do not depend on it."""
    kernels: Literal["auto", "own"] = "auto"
    """On a CPU, what computes gradients: `own` are TensorFlow's kernels for them; `auto` tries others, too, once for
    each shape, and takes the faster ones. Results differ by rounding."""
    data_on: Literal["auto", "host", "device"] = "auto"
    """Where the training images lie: in the computer's memory, or all of them in the GPU's. `auto`: in the GPU's when
    they fill less than a quarter of it."""
    deterministic: bool = False
    """The same bits each time, at a price: on a GPU only kernels that give them, on a CPU `kernels: own`, so that
    nothing depends on what was measured here before."""
    distribution: Literal["auto", "none", "mirrored", "multi_worker"] = "auto"
    """One training on several devices: `mirrored` on all GPUs of this machine, `multi_worker` in the processes that
    `TF_CONFIG` or `--workers` names. Each takes its share of every batch; `auto` uses what there is."""
    tensorboard: bool = True
    """Write scalars, histograms, the graph, images, mistakes and the projector's examples for TensorBoard."""


class Machine(Node):
    """The machine that `--on` rents. It only describes: nothing is rented without `--on`."""

    provider: Literal["aws", "gcp", "fake"] | None = None
    """Who rents it; `--on` says so, too."""
    gpu: Annotated[str, Field(pattern=r"^[A-Za-z0-9-]+(:[1-9][0-9]*)?$")] | None = None
    """A GPU and how many: `T4:1`; none when absent."""
    machine_type: str | None = None
    """The provider's own name of a machine type, in place of what would be chosen."""
    nodes: Count = 1
    """Machines that train together, each with its share of every batch."""
    image: str = "auto"
    """The provider's own name of an image; `auto`: one with Python and, for GPUs, the driver."""
    region: str | tuple[str, ...] | None = None
    """Where; of several, the first that has one. The provider's usual one when absent."""
    spot: bool = False
    """Cheaper, and taken away when somebody pays more."""
    or_on_demand: bool = False
    """With `spot`: where no spot machine can be had, one on demand, at its price."""
    disk_gb: Count = 100
    """Size of its disk."""
    idle_minutes: Annotated[float, Field(gt=0)] = 15.0
    """After so long without use it powers itself off."""
    max_hours: Annotated[float, Field(gt=0, le=168)] = 4.0
    """The provider itself ends it after so long, whatever happens."""
    budget_usd: Annotated[float, Field(gt=0)] | None = None
    """It ends when it has cost so much; no limit but `max_hours` when absent."""
    python: str | None = None
    """The path of a Python there that has all that is needed, in place of an environment that railcar makes."""
    ssh_config: str | None = None
    """A file for OpenSSH to read in place of `~/.ssh/config`."""


class Recipe(Node):
    """Everything that decides a run's result, apart from the data's content and the machine."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=64)] = "train"
    """Starts the name of the run's folder."""
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0
    """Of the weights, the order of the data, dropout and the splits."""
    data: Data = Data()
    """What to learn from."""
    model: Model = Model()
    """The network."""
    training: Training = Training()
    """How to train it."""
    machine: Machine = Machine()
    """The machine that `--on` rents."""
