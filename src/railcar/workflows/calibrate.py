"""`evaluate --calibrate`: a model's probabilities made believable by the validation side, and its artifact anew."""

from __future__ import annotations

from railcar.errors import DataError
from railcar.evaluation.calibration import fit_temperature
from railcar.layers.raw import NETWORK, take_raw
from railcar.layers.temperature import divide_logits, read_temperature
from railcar.workflows.results import Finished


def calibrate(finished: Finished) -> Finished:
    """The same model with the temperature that gives the validation side the smallest log loss. Raises `DataError`
    where there is no validation side, or no mistake on it: any confidence would suit it then."""
    split = finished.dataset.splits.get("validation")
    if split is None:
        raise DataError(
            "there is no validation split to calibrate by", hint="train with one: --set data.validation=0.1"
        )
    logits, labels = finished.logits(split), split.label_array()
    if (logits.argmax(axis=-1) == labels).all():
        raise DataError(
            f"all {len(labels):,} answers to the validation split are right: it does not tell how sure is too sure",
            hint="leave --calibrate out, or train with a larger one: --set data.validation=0.2",
        )
    return set_temperature(finished, fit_temperature(logits, labels))


def set_temperature(finished: Finished, temperature: float) -> Finished:
    """With its logits divided by that, too."""
    features = finished.dataset.features
    if features.kind == "image":
        model = divide_logits(finished.model, temperature)
    else:
        network = divide_logits(finished.model.get_layer(NETWORK), temperature)
        model = take_raw(network, kind=features.kind, encoding=features.encoding or {}, target=features.target)
    return Finished(model, finished.dataset, finished.checkpoint_name)


def describe_temperature(finished: Finished) -> dict[str, float]:
    """What evaluation.json says of it: nothing where the logits are as they came."""
    is_image = finished.dataset.features.kind == "image"
    found = read_temperature(finished.model if is_image else finished.model.get_layer(NETWORK))
    return {} if found == 1.0 else {"temperature": found}
