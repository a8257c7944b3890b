"""A run's model card in Markdown, after Mitchell et al., "Model Cards for Model Reporting" (2019), with what Hugging
Face's hub reads at its top: what the model does, what it learnt from, how good it is, and where it is not.

Pure functions of the run's plain JSON files; `workflows/card.py` reads those and writes the card. What the card says of
the model's limits is `card_limits.py`'s.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from pathlib import PurePath
from typing import Any

import yaml

from railcar.reporting.card_facts import CardFacts, code, escape, spell_number
from railcar.reporting.card_limits import list_limits
from railcar.reporting.card_results import render_results

KEPT = "<!-- railcar evaluate writes this card anew; what stands below this line is kept -->"
"""What follows in a card is its readers' own."""
_FEW_CLASSES, _MOST_CLASSES, _MOST_COLUMNS = 4, 20, 30
_TAGS = {
    ("image", "classification"): "image-classification",
    ("text", "classification"): "text-classification",
    ("table", "classification"): "tabular-classification",
    ("table", "regression"): "tabular-regression",
}
# How it was computed, not what was learnt.
_TECHNICAL = {"device", "training.compile", "training.steps_per_call", "training.kernels", "training.data_on"}


def render_card(facts: CardFacts) -> str:
    """The whole card."""
    parts = [
        _front_matter(facts),
        f"# {escape(facts.name)}",
        _summarize(facts),
        _section("What it does", _purpose(facts)),
        _section("Data", _data(facts)),
        _section("Training", _training(facts)),
        _section("Results", render_results(facts)),
        _section("Limits", "\n".join(f"- {line}" for line in list_limits(facts))),
        _section("How to use it", _usage(facts)),
        _section("How to repeat it", _repeat(facts)),
        f"## Intended use and notes\n\n{KEPT}\n{facts.notes or _ASKED}",
    ]
    return "\n\n".join(part.strip("\n") for part in parts if part) + "\n"


_ASKED = "\nWhat it is meant for and by whom, and what it must not be used for, is for those to say who trained it.\n"


def find_notes(card: str) -> str:
    """What stands below the line in an older card; empty where there is no such line, or nothing of anybody's."""
    _, line, notes = card.partition(f"{KEPT}\n")
    return notes if line and notes.strip() != _ASKED.strip() else ""


def _section(title: str, body: str) -> str:
    return f"## {title}\n\n{body}" if body.strip() else ""


# ---- what the hub reads


def _front_matter(facts: CardFacts) -> str:
    tag = _TAGS.get((facts.kind, str(facts.data.get("task", "classification"))), facts.kind)
    metrics = ["mae", "rmse", "r2"] if facts.is_regression else ["accuracy", "f1"]
    about: dict[str, Any] = {
        "library_name": "keras",
        "pipeline_tag": tag,
        "tags": [tag, "keras", "tensorflow", "railcar"],
        "metrics": metrics,
    }
    if facts.side:
        keys = {"mae": "mae", "rmse": "rmse", "r2": "r2", "accuracy": "accuracy", "f1": "macro_f1"}
        found = {name: facts.shown.get(keys[name]) for name in metrics}
        measured = [{"type": name, "value": round(value, 6)} for name, value in found.items() if value is not None]
        dataset = {"name": facts.source, "type": facts.source, "split": facts.side}
        result = {"task": {"type": tag}, "dataset": dataset, "metrics": measured}
        about["model-index"] = [{"name": facts.name, "results": [result]}]
    return f"---\n{yaml.safe_dump(about, sort_keys=False, allow_unicode=True, width=1000)}---"


# ---- what it is


def _summarize(facts: CardFacts) -> str:
    one, names = facts.one, [escape(name) for name in facts.class_names]
    article = "an" if one[0] in "aeiou" else "a"
    if facts.is_regression:
        what = f"Estimates {_label(facts)} of {article} {one}"
    elif 1 < len(names) <= _FEW_CLASSES:
        which = f"{_label(facts)} of {article} {one}" if facts.kind == "table" else f"{article} {one}"
        what = f"Says whether {which} is {', '.join(names[:-1])} or {names[-1]}"
    else:
        what = f"Says which of {len(names):,} classes {article} {one} belongs to"
    railcar = facts.manifest.get("railcar") or (facts.manifest.get("versions") or {}).get("railcar", "")
    text = f"{what}. Trained on {escape(facts.source)} with railcar {escape(str(railcar))}."
    return f"{text} {_headline(facts)}".strip()


def _headline(facts: CardFacts) -> str:
    shown = facts.shown
    if not shown:
        return "It has not been measured."
    held = {"train": "that it was trained on", "validation": "that it was chosen by"}.get(
        facts.side, "that it had never seen"
    )
    of = f"Of {shown['n']:,} {facts.noun} {held}"
    if facts.is_regression and shown["mae"] is None:
        return f"{of}, what it said were no numbers."
    if facts.is_regression:
        return f"{of}, it was off by {spell_number(shown['mae'])} on average."
    low, high = shown["accuracy_95"]
    return f"{of}, it got {shown['accuracy']:.2%} right (95% interval: {low:.2%} to {high:.2%})."


def _label(facts: CardFacts) -> str:
    label = str(facts.data.get("label") or "")
    return f"the column {code(label)}" if label else "the label"


def _purpose(facts: CardFacts) -> str:
    lines = [f"- **Input:** {_describe_input(facts)}"]
    if facts.is_regression:
        lines.append(f"- **Output:** a number, an estimate of {_label(facts)}, in its own unit")
    else:
        names = facts.class_names
        more = f" and {len(names) - _MOST_CLASSES:,} more" if len(names) > _MOST_CLASSES else ""
        shown = ", ".join(escape(name) for name in names[:_MOST_CLASSES])
        lines.append(f"- **Output:** a probability for each of {len(names):,} classes: {shown}{more}")
    lines.append(f"- **Network:** {_describe_network(facts)}")
    return "\n".join(lines)


def _describe_input(facts: CardFacts) -> str:
    if facts.kind == "image":
        height, width, channels = facts.data.get("image_shape") or (0, 0, 0)
        colour = "gray" if channels == 1 else "colour"
        return (
            f"an image of any size; the model itself makes it {height}x{width} pixels, {colour}, and scales its values"
        )
    if facts.kind == "text":
        column = next((str(one["name"]) for one in facts.encoding.get("columns") or () if "name" in one), "text")
        return f"a text, as it is (in training the column {code(column)}); splitting it into words is part of the model"
    columns = list(facts.encoding.get("columns") or ())
    shown = ", ".join(f"{code(one['name'])} ({one['type']})" for one in columns[:_MOST_COLUMNS])
    more = f" and {len(columns) - _MOST_COLUMNS} more" if len(columns) > _MOST_COLUMNS else ""
    return f"a row of a table with the columns {shown}{more}; gaps are allowed and filled in by the model"


def _describe_network(facts: CardFacts) -> str:
    node, model = facts.recipe.get("model") or {}, facts.manifest.get("model") or {}
    text = code(node.get("name", "unknown"))
    if node.get("backbone") and node.get("name") == "pretrained":
        weights = PurePath(str(node.get("weights") or "imagenet")).name
        text += f", with the backbone {escape(str(node['backbone']))} (weights: {code(weights)})"
    if model.get("parameters"):
        text += f", {model['parameters']:,} parameters"
    origin = facts.manifest.get("origin") or {}
    return text + (f"; begun with the weights of {code(origin['run'])}" if origin.get("run") else "")


# ---- what it learnt from


def _data(facts: CardFacts) -> str:
    data, node = facts.data, facts.recipe.get("data") or {}
    counts = [(side, data.get(f"n_{side}")) for side in ("train", "validation", "test")]
    uses = {"train": "to train on", "validation": "to choose a checkpoint by", "test": "to test on"}
    lines = [f"- **Source:** {escape(facts.source)} ({escape(str(data.get('form', '')))})"]
    sizes = [f"{n:,} {uses[side]}" for side, n in counts if n]
    lines.append(f"- **{facts.noun.capitalize()}:** {', '.join(sizes)}")
    if data.get("label"):
        lines.append(f"- **Label:** {_label(facts)}")
    lines += [f"- **{title}:** {value}" for title, value in _list_choices(node) if value]
    fingerprint = data.get("fingerprint")
    if fingerprint:
        lines.append(f"- **Fingerprint:** {code(fingerprint)}, a hash of the examples and their labels")
    return "\n".join(lines)


def _list_choices(node: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What was done to the data on purpose."""
    augment = node.get("augment") or {}
    used = [key for key, value in augment.items() if value] if isinstance(augment, Mapping) else []
    limit, group = node.get("limit_per_class"), node.get("group")
    dropped = ", ".join(code(name) for name in node.get("drop") or ())
    balance = {"weights": "rare classes weigh more", "oversample": "rare classes are shown more often"}
    return [
        ("Left out", dropped),
        ("Only these classes", ", ".join(escape(str(name)) for name in node.get("classes") or ())),
        ("At most", f"{limit:,} of each class to train on" if limit else ""),
        ("Kept on one side", f"what has the same {code(group)}" if group else ""),
        ("Balance", balance.get(str(node.get("balance")), "")),
        ("Changed at random in training", ", ".join(used)),
    ]


def _training(facts: CardFacts) -> str:
    node = facts.recipe.get("training") or {}
    optimizer = node.get("optimizer") or {}
    manifest = facts.manifest
    steps, n_train = manifest.get("step") or manifest.get("steps") or 0, facts.data.get("n_train") or 0
    batch = node.get("batch_size") or 0
    epochs = f" ({steps * batch / n_train:.3g} epochs)" if n_train and batch and isinstance(batch, int) else ""
    lines = [f"- **Length:** {steps:,} steps of {batch} {facts.noun}{epochs}{_describe_time(manifest)}"]
    if manifest.get("ended_early"):
        lines.append(f"- **Ended early:** {escape(str(manifest['ended_early']))}")
    if isinstance(optimizer, Mapping) and optimizer.get("name"):
        rate, schedule = optimizer.get("learning_rate"), optimizer.get("schedule", "constant")
        decay = f", weight decay {optimizer['weight_decay']:g}" if optimizer.get("weight_decay") else ""
        lines.append(f"- **Optimizer:** {optimizer['name']}, learning rate {rate:g}, {schedule}{decay}")
    kept = facts.evaluation.get("checkpoint")
    if kept:
        best = node.get("best", "val_loss")
        why = "the last one" if best == "last" else f"the one with the best {code(best)}"
        lines.append(f"- **Kept:** {code(kept)}, {why}")
    chosen = [
        f"  - {code(key)}: {_spell(one.get('value'))} - {escape(str(one['reason']))}"
        for key, one in facts.decisions.items()
        if key not in _TECHNICAL and isinstance(one, Mapping) and one.get("reason")
    ]
    if chosen:
        lines += ["- **Chosen by railcar**, with its reasons:", *chosen]
    return "\n".join(lines)


def _describe_time(manifest: Mapping[str, Any]) -> str:
    seconds = manifest.get("seconds_training")
    if not seconds:
        return ""
    devices = manifest.get("devices") or []
    where = f" on {str(devices[0]).partition(':')[0]}" if devices else ""
    return f", {seconds / 60:.1f} minutes{where}" if seconds >= 100 else f", {seconds:.3g} seconds{where}"


def _spell(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:g}"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else escape(str(value))


# ---- how it is used, and made again


def _usage(facts: CardFacts) -> str:
    run = shlex.quote(facts.reference)
    given = {"image": "photo.jpg", "text": '--text "a text"', "table": "rows.csv"}.get(facts.kind, "INPUT")
    commands = [
        f"railcar predict {given} --run {run}",
        f"railcar serve {run}",
        f"railcar export {run} --format litert",
        f"railcar evaluate {run} --data MORE",
    ]
    name = json.dumps(facts.reference, ensure_ascii=False)
    call = f'predict(["{given}"], run={name})'
    if facts.kind == "text":
        call = f'load({name}).predict(["a text", "another one"])'
    shown = "prediction.value" if facts.is_regression else "prediction.label, prediction.probability"
    python = f"import railcar\n\nfor prediction in railcar.{call}:\n    print({shown})"
    above = facts.reference.rpartition("/")[0]
    where = "" if facts.is_remote or not above else f"In the folder that holds {code(above + '/')}:\n\n"
    return f"{where}```sh\n{chr(10).join(commands)}\n```\n\n```python\n{python}\n```"


def _repeat(facts: CardFacts) -> str:
    source = facts.data.get("source")
    lines = []
    if source != "arrays":
        recipe = "recipe.yaml" if facts.is_remote else shlex.quote(f"{facts.reference}/recipe.yaml")
        here = " and the run's recipe.yaml here" if facts.is_remote else ""
        lines += [f"With the data where the recipe says that it is{here}:", ""]
        lines += ["```sh", f"railcar train {recipe}", "```"]
    else:
        lines.append("It was trained on arrays in memory: hand them over again, with its `recipe.yaml`.")
    versions = ", ".join(f"{name} {number}" for name, number in (facts.manifest.get("versions") or {}).items())
    commit = facts.manifest.get("git_commit")
    began = str(facts.manifest.get("started") or "")[:10]
    lines += ["", f"- **Seed:** {escape(str(facts.manifest.get('seed', 0)))}"]
    lines += [f"- **Versions:** {escape(versions)}"] if versions else []
    lines += [f"- **Commit of the working folder:** {code(commit)}"] if commit else []
    lines += [f"- **Trained:** {escape(began)}"] if began else []
    return "\n".join(lines)
