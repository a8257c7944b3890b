"""SavedModels that do harm, and what must be said of each."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.artifact.workshop import Bench, Hostile, Make, Outside


def with_node(op: str, attributes: Callable[[Any, Outside], object] = lambda node, outside: None) -> Make:
    """An operation more in a function that `serve` calls."""

    def write(bench: Bench, folder: Path) -> None:
        with edited(folder) as graph:
            names = set(graph.object_graph_def.concrete_functions)
            function = next(one for one in graph.graph_def.library.function if one.signature.name in names)
            node = function.node_def.add(name="innocent", op=op)
            attributes(node, bench.outside)

    return write


class edited:
    """The graph of the artifact in `folder`, written back when it is left."""

    def __init__(self, folder: Path) -> None:
        from tensorflow.core.protobuf import saved_model_pb2

        self.path = folder / "saved_model" / "saved_model.pb"
        self.document = saved_model_pb2.SavedModel()
        self.document.ParseFromString(self.path.read_bytes())

    def __enter__(self) -> Any:
        return self.document.meta_graphs[0]

    def __exit__(self, *error: object) -> None:
        self.path.write_bytes(self.document.SerializeToString())


def write_real(bench: Bench, folder: Path, does: Callable[[Any, Any, Outside], Any]) -> None:
    """A SavedModel that TensorFlow itself has made of a function that does harm when it is asked."""
    import tensorflow as tf

    class Model(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec([None, 4, 4, 1], tf.uint8)])
        def serve(self, images: Any) -> Any:
            done = does(tf, images, bench.outside)
            read = 0.0 * tf.reduce_sum(tf.cast(tf.strings.length(done), tf.float32)) if tf.is_tensor(done) else 0.0
            with tf.control_dependencies([done]):
                return read + tf.reduce_mean(tf.cast(images, tf.float32), (1, 2)) * [[1.0, 2.0]]

    shutil.rmtree(folder / "saved_model")
    module: Any = Model()
    module.network = module.serve
    tf.saved_model.save(module, str(folder / "saved_model"), signatures=module.serve)
    shutil.rmtree(folder / "saved_model" / "assets", ignore_errors=True)


def reads(tf: Any, images: Any, outside: Outside) -> Any:
    return tf.io.read_file(str(outside.secret))


def writes(tf: Any, images: Any, outside: Outside) -> Any:
    return tf.io.write_file(str(outside.planted), "planted")


def prints(tf: Any, images: Any, outside: Outside) -> Any:
    return tf.print("planted", output_stream=f"file://{outside.planted}")


def saves(tf: Any, images: Any, outside: Outside) -> Any:
    return tf.raw_ops.SaveV2(prefix=str(outside.planted), tensor_names=["a"], shape_and_slices=[""], tensors=[images])


def lists(tf: Any, images: Any, outside: Outside) -> Any:
    return tf.io.matching_files(f"{outside.secret.parent}/*")


def real(does: Callable[[Any, Any, Outside], Any]) -> Make:
    return lambda bench, folder: write_real(bench, folder, does)


def only_in_graph(bench: Bench, folder: Path) -> None:
    with edited(folder) as graph:
        graph.graph_def.node.add(name="innocent", op="ReadFile")


def with_asset(bench: Bench, folder: Path) -> None:
    with edited(folder) as graph:
        graph.asset_file_def.add(filename=f"../../..{bench.outside.secret}").tensor_info.name = "innocent"


def with_saver(bench: Bench, folder: Path) -> None:
    with edited(folder) as graph:
        graph.object_graph_def.nodes[0].registered_saver = "evil"


GRAPHS = (
    Hostile("serve reads a file", "operation ReadFile", real(reads), True),
    Hostile("serve writes a file", "operation WriteFile", real(writes), True),
    Hostile("serve prints into a file", "operation PrintV2", real(prints), True),
    Hostile("serve saves a checkpoint", "operation SaveV2", real(saves), True),
    Hostile("serve lists a folder", "operation MatchingFiles", real(lists), True),
    Hostile("a function of it runs Python", "operation EagerPyFunc", with_node("EagerPyFunc"), True),
    Hostile("a function of it restores a checkpoint", "operation RestoreV2", with_node("RestoreV2"), True),
    Hostile("a function of it maps a file", "operation ImmutableConst", with_node("ImmutableConst"), True),
    Hostile("a function of it sends", "operation RpcClient", with_node("RpcClient"), True),
    Hostile("a function of it watches", "operation DebugIdentityV3", with_node("DebugIdentityV3"), True),
    Hostile("its graph reads a file", "its graph has the operation ReadFile", only_in_graph, True),
    Hostile("an asset that leads out", "would read the file", with_asset, True),
    Hostile("a saver of its own", "wants to be made by", with_saver, True),
    Hostile(
        "a file more",
        "it holds saved_model.cpb",
        lambda bench, folder: (folder / "saved_model" / "saved_model.cpb").write_bytes(b"") and None,
        True,
    ),
)
