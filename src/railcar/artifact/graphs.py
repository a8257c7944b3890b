"""What a SavedModel does, found out without loading it: which operations it can reach, and which files it is made of.

Owns the reading of saved_model.pb. Which operations are harmless is in `operations.py`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from railcar.artifact.operations import PURE, SAVING
from railcar.errors import ForeignArtifact

_FILES = re.compile(r"saved_model\.pb|fingerprint\.pb|variables/variables\.(index|data-\d{5}-of-\d{5})")
_MOST_BYTES = 1 << 30
_OBJECTS = ("", "_generic_user_object", "signature_map", "trackable_list_wrapper", "trackable_dict_wrapper")
_REGISTERED = ("", "tf.TrackableConstant", "tf.StaticHashTable")
_KINDS = ("user_object", "function", "bare_concrete_function", "variable", "constant", "resource", "captured_tensor")


def check_saved_model(folder: Path) -> None:
    """Raise `ForeignArtifact` for a SavedModel that can do more than compute, with the name of what it would do. Needs
    TensorFlow."""
    from google.protobuf.message import DecodeError
    from tensorflow.core.protobuf import saved_model_pb2

    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_symlink() or not (path.is_dir() or _FILES.fullmatch(name)):
            raise ForeignArtifact(f"it holds {name}, which no model of railcar's has")
    document = saved_model_pb2.SavedModel()
    try:
        content = folder / "saved_model.pb"
        if content.stat().st_size > _MOST_BYTES:
            raise ForeignArtifact(f"saved_model.pb has more than {_MOST_BYTES >> 20} MB")
        document.ParseFromString(content.read_bytes())
    except (OSError, DecodeError) as error:
        raise ForeignArtifact(f"saved_model.pb is damaged: {error}") from error
    if len(document.meta_graphs) != 1 or not document.meta_graphs[0].HasField("object_graph_def"):
        raise ForeignArtifact("it is no SavedModel of one graph, as TensorFlow 2 writes it")
    check_graph(document.meta_graphs[0])


def check_graph(graph: Any) -> None:
    """The same for its MetaGraphDef. What loading or asking it can reach must be pure; the rest, which saves and
    restores its variables, may be that as well."""
    if graph.asset_file_def:
        raise ForeignArtifact(f"it would read the file {graph.asset_file_def[0].filename!r}")
    objects = graph.object_graph_def
    for node in objects.nodes:
        _check_object(node)
    library = graph.graph_def.library
    functions = {one.signature.name: one for one in library.function}
    if len(functions) != len(library.function):
        raise ForeignArtifact("two of its functions have one name")
    followers = _find_calls(library, functions)
    reached = _reach(_find_roots(objects), followers)
    for name, function in functions.items():
        _check_nodes(function.node_def, PURE if name in reached else PURE | SAVING, f"function {name!r}")
    _check_nodes(graph.graph_def.node, PURE | SAVING, "its graph")


def _check_object(node: Any) -> None:
    kind = node.WhichOneof("kind")
    if kind not in _KINDS:
        raise ForeignArtifact(f"it holds a {kind}, which no model of railcar's has")
    if node.registered_name not in _REGISTERED or node.registered_saver:
        raise ForeignArtifact(f"it wants to be made by {node.registered_name or 'a saver of its own'}")
    if kind == "user_object" and node.user_object.identifier not in _OBJECTS:
        raise ForeignArtifact(f"it wants to be made by {node.user_object.identifier}")


def _find_roots(objects: Any) -> set[str]:
    """The functions that loading it makes callable, or calls."""
    found = set(objects.concrete_functions)
    for node in objects.nodes:
        found.update(node.function.concrete_functions)
        found.add(node.bare_concrete_function.concrete_function_name)
    return found


def _find_calls(library: Any, functions: dict[str, Any]) -> dict[str, set[str]]:
    """Function -> those that it can call, its gradient among them."""
    found = {name: set(_list_called(function.node_def)) for name, function in functions.items()}
    for one in library.gradient:
        found.setdefault(one.function_name, set()).add(one.gradient_func)
    for one in library.registered_gradients:
        for called in found.values():  # by the type of an operation: anybody's
            called.add(one.gradient_func)
    return found


def _list_called(nodes: Iterable[Any]) -> Iterable[str]:
    for node in nodes:
        yield node.op  # a function's name may stand where an operation's does
        for value in node.attr.values():
            if value.HasField("func"):
                yield value.func.name
            yield from (one.name for one in value.list.func)


def _reach(roots: set[str], followers: dict[str, set[str]]) -> set[str]:
    reached, pending = set(), list(roots)
    while pending:
        if (name := pending.pop()) not in reached:
            reached.add(name)
            pending.extend(followers.get(name, ()))
    return reached


def _check_nodes(nodes: Iterable[Any], allowed: frozenset[str], where: str) -> None:
    for node in nodes:
        if node.op not in allowed:
            raise ForeignArtifact(
                f"{where} has the operation {node.op}, which is not on the list of what only computes"
            )
