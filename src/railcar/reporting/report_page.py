"""report.html: a run on one page, the summary first. Owns the order of its parts, the summary, the choices, the
environment and how to repeat it; figures and charts are `report_results.py`'s, examples `report_examples.py`'s."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from html import escape
from pathlib import PurePath
from typing import Any

from railcar.reporting.advice import Advice, advise
from railcar.reporting.page import cut, render_page, render_section, render_table
from railcar.reporting.report_examples import render_data, render_doubtful, render_importance, render_mistakes
from railcar.reporting.report_facts import Facts
from railcar.reporting.report_results import (
    render_classes,
    render_confusion,
    render_curves,
    render_groups,
    render_probabilities,
    render_regression,
)
from railcar.training.live import format_seconds

_PARTS = (
    ("Data", render_data),
    ("Training", render_curves),
    ("Errors", render_regression),
    ("Confusions", render_confusion),
    ("Classes", render_classes),
    ("Groups", render_groups),
    ("Mistakes", render_mistakes),
    ("Labels in doubt", render_doubtful),
    ("Columns", render_importance),
    ("Probabilities", render_probabilities),
)


def render_report(facts: Facts) -> str:
    """The whole page."""
    parts = [(name, body) for name, render in _PARTS if (body := render(facts))]
    parts += [("Choices", _choices(facts)), ("Environment", _environment(facts)), ("Repeat it", _repeat(facts))]
    return render_page(
        f"{facts.name}: report",
        [_head(facts), _summary(facts), _contents(parts), *(body for _, body in parts)],
        command="railcar report",
    )


def _contents(parts: Sequence[tuple[str, str]]) -> str:
    """Links to the parts that are there."""
    links = []
    for name, body in parts:
        anchor = body.partition('id="')[2].partition('"')[0]
        links.append(f'<a href="#{anchor}">{escape(name)}</a>' if anchor else "")
    return f'<nav aria-label="Parts of this page">{"".join(links)}</nav>\n'


# ---- what it is, and how good


def _head(facts: Facts) -> str:
    return f"<header><h1>{escape(facts.name)}</h1><p>{escape(_say_what(facts))}</p></header>\n"


def _say_what(facts: Facts) -> str:
    """Which network learnt what from how many examples of what, in how long."""
    model = (facts.recipe.get("model") or {}).get("name", "a model")
    n_parameters = (facts.manifest.get("model") or {}).get("parameters")
    size = f" with {n_parameters:,} parameters" if n_parameters else ""
    n, names = facts.data.get("n_train"), facts.class_names
    goal = f"to tell {len(names)} classes apart" if names else f"to say {facts.data.get('label') or 'a number'}"
    source = str(facts.data.get("source") or "")
    origin = f" of {PurePath(source).name if source.startswith('/') else source}" if source else ""
    article = "An" if str(model)[:1] in "aeio" else "A"
    told = f"{article} {model}{size}" + (f", trained {goal} on {n:,} {facts.noun}{origin}" if n else "")
    step = facts.manifest.get("step")
    steps = f"; {step:,} steps" if step else ""
    seconds = facts.manifest.get("seconds_training")
    took = f" in {format_seconds(seconds)}" if seconds is not None else ""
    state = facts.manifest.get("state")
    return f"{told}{steps}{took}." + (f" It is {state}." if state not in (None, "finished") else "")


def _summary(facts: Facts) -> str:
    tiles = "".join(
        f'<div class="tile"><p class="value">{escape(value)}</p><p>{escape(what)}</p></div>'
        for value, what in _figures(facts)
    )
    found = advise(facts.result)
    cards = "".join(map(_advice, found))
    if not found and facts.result.shown:
        cards = '<p class="verdict"><strong>Nothing to complain of</strong></p>'
    next_ = f"<h2>What to do next</h2>{cards}" if cards else ""
    missing = "" if facts.shown else "<p>It was not evaluated: that is done at the end of a training.</p>"
    return f'<section class="summary"><div class="tiles">{tiles}</div>{missing}{next_}</section>\n'


def _figures(facts: Facts) -> list[tuple[str, str]]:
    shown = facts.shown
    if not shown:
        return []
    of = f"of {shown['n']:,} {facts.side} {facts.noun}"
    if facts.is_regression:
        told = {
            "mae": ("{:.4g}", f"off on average, {of}"),
            "r2": ("{:.3f}", "R2: share of the spread that it explains"),
            "rmse": ("{:.4g}", "root of the mean squared error"),
            "bias": ("{:+.3g}", "too high or too low on average"),
        }
        return [("-" if shown[key] is None else form.format(shown[key]), what) for key, (form, what) in told.items()]
    low, high = shown["accuracy_95"]
    rows = [(f"{shown['accuracy']:.2%}", f"right {of}"), (f"{100 * low:.1f} to {high:.1%}", "95% interval of that")]
    if shown.get("roc_auc") is not None:
        rows.append((f"{shown['roc_auc']:.4f}", "ROC area: how well classes are told apart"))
    if shown.get("macro_f1") is not None:
        rows.append((f"{shown['macro_f1']:.3f}", "F1, mean of the classes"))
    if shown.get("calibration"):
        rows.append((f"{shown['calibration']['ece']:.2%}", "its probabilities are off by (calibration error)"))
    return rows


def _advice(one: Advice) -> str:
    mend = f'<p class="mend">{escape(one.mend)}</p>' if one.mend else ""
    return (
        f'<article class="finding {one.level}"><p class="level">{one.level}</p>'
        f"<div><p>{escape(one.what)}</p>{mend}</div></article>"
    )


# ---- how it was made


def _choices(facts: Facts) -> str:
    """What railcar chose, and why; and the whole recipe."""
    rows = []
    for key, one in facts.decisions.items():
        if isinstance(one, dict):
            rows.append([escape(key), escape(_value(one.get("value"))), escape(str(one.get("reason") or ""))])
    table = render_table(["what", "choice", "because"], rows, kind="texts choices") if rows else ""
    recipe = f"<details><summary>The whole recipe</summary><pre>{escape(facts.recipe_text)}</pre></details>"
    network = f"<details><summary>The network</summary><pre>{escape(facts.architecture)}</pre></details>"
    body = table + (recipe if facts.recipe_text else "") + (network if facts.architecture else "")
    return render_section("Choices, and their reasons", body, anchor="choices")


def _value(value: Any) -> str:
    if isinstance(value, dict):
        return cut(", ".join(f"{key}: {_value(one)}" for key, one in value.items()), 120)
    if isinstance(value, list | tuple):
        return cut(", ".join(map(_value, value)), 120)
    return f"{value:g}" if isinstance(value, float) else str(value)


def _environment(facts: Facts) -> str:
    """Where it ran, with what, how long and for how much."""
    manifest = facts.manifest
    machine, versions = manifest.get("machine") or {}, manifest.get("versions") or {}
    devices = manifest.get("devices") or []
    rows: list[tuple[str, Any]] = [
        ("began", _spell_time(manifest.get("started"))),
        ("ended", _spell_time(manifest.get("ended"))),
        ("training", None if (s := manifest.get("seconds_training")) is None else format_seconds(s)),
        ("rate", f"{rate:,.0f} {facts.noun} a second" if (rate := manifest.get("examples_per_s")) else None),
        ("computer", manifest.get("host")),
        ("device", ", ".join(map(str, devices)) if isinstance(devices, list) else devices),
        ("machine", ", ".join(f"{key} {_value(one)}" for key, one in machine.items() if one is not None)),
        ("cost", f"${machine['cost_usd']:.2f}" if machine.get("cost_usd") is not None else None),
        ("versions", ", ".join(f"{name} {number}" for name, number in versions.items())),
        ("git commit", manifest.get("git_commit")),
        ("data", f"fingerprint {facts.data['fingerprint']}" if facts.data.get("fingerprint") else None),
        ("seed", manifest.get("seed")),
        ("ended early", manifest.get("ended_early") or manifest.get("reason")),
    ]
    cells = [[escape(name), escape(str(value))] for name, value in rows if value not in (None, "")]
    lines = "".join(f"<dt>{name}</dt><dd>{value}</dd>" for name, value in cells)
    return render_section("Environment, time and cost", f'<dl class="facts">{lines}</dl>', anchor="environment")


def _repeat(facts: Facts) -> str:
    run = shlex.quote(facts.reference)
    argv = facts.manifest.get("argv") or []
    first = shlex.join(["railcar", *map(str, argv[1:])]) if argv and str(argv[0]).endswith("railcar") else ""
    example = {"image": "photo.jpg", "text": "--text '...'", "table": "rows.csv"}.get(facts.kind, "rows.csv")
    if facts.manifest.get("state") != "finished":
        what = f"<dt><code>railcar train --resume={run}</code></dt><dd>go on with it</dd>"
        return render_section("Go on", f'<dl class="commands">{what}</dl>', anchor="repeat")
    commands = [
        (f"railcar train {shlex.quote(f'{facts.reference}/recipe.yaml')}", "the same once more, from its recipe"),
        (f"railcar evaluate {run}", "measure it again"),
        (f"railcar predict {example} --run {run}", "ask it"),
        (f"railcar serve {run}", "a page and an API to ask it"),
        (f"railcar export {run}", "for other runtimes"),
    ]
    rows = "".join(f"<dt><code>{escape(command)}</code></dt><dd>{escape(what)}</dd>" for command, what in commands)
    began = f"<p>It was begun with <code>{escape(first)}</code></p>" if first else ""
    return render_section("Repeat it, use it", f'{began}<dl class="commands">{rows}</dl>', anchor="repeat")


def _spell_time(text: Any) -> str:
    return str(text)[:19].replace("T", " ") + " UTC" if text else ""
