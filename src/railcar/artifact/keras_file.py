"""What a `.keras` file asks for, found out without Keras: nothing of it is built, run or unpacked to disk.

Owns what such a file may hold: the three members that Keras writes, classes from a list, and weights that are in the
file themselves. What is not on the list is refused with its name; a file that passes can only make layers that compute.
How much its network needs is seen when it is built, in `sandbox.py`.
"""

from __future__ import annotations

import io
import json
import stat
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from railcar.errors import ForeignArtifact

CONFIG, WEIGHTS = "config.json", "model.weights.h5"
_MEMBERS = ("metadata.json", CONFIG, WEIGHTS)
_MOST_CONFIG, _MOST_METADATA = 64 << 20, 1 << 20
# Keras stores weights as they are; what packs them gains little.
_MOST_GROWTH, _ALWAYS_ALLOWED = 8, 1 << 20
_MOST_OBJECTS = 200_000
# HDF5's own: deflate, shuffle, Fletcher's checksum. Others are libraries that HDF5 would look for and load.
_FILTERS = (1, 2, 3)

_INITIALIZERS = (
    "Constant GlorotNormal GlorotUniform HeNormal HeUniform Identity LecunNormal LecunUniform Ones Orthogonal "
    "RandomNormal RandomUniform TruncatedNormal VarianceScaling Zeros"
)
_LAYERS = (
    "Activation ActivityRegularization Add AdditiveAttention AlphaDropout Attention Average AveragePooling1D "
    "AveragePooling2D AveragePooling3D BatchNormalization Bidirectional CategoryEncoding CenterCrop Concatenate Conv1D "
    "Conv1DTranspose Conv2D Conv2DTranspose Conv3D Conv3DTranspose ConvLSTM1D ConvLSTM2D Cropping1D Cropping2D "
    "Cropping3D Dense DepthwiseConv1D DepthwiseConv2D Discretization Dot Dropout ELU EinsumDense Embedding Flatten GRU "
    "GRUCell GaussianDropout GaussianNoise GlobalAveragePooling1D GlobalAveragePooling2D GlobalAveragePooling3D "
    "GlobalMaxPooling1D GlobalMaxPooling2D GlobalMaxPooling3D GroupNormalization GroupQueryAttention HashedCrossing "
    "Hashing Identity InputLayer IntegerLookup LSTM LSTMCell LayerNormalization LeakyReLU Masking MaxPooling1D "
    "MaxPooling2D MaxPooling3D Maximum Minimum MultiHeadAttention Multiply Normalization PReLU Permute "
    "RMSNormalization RNN RandomBrightness RandomContrast RandomCrop RandomFlip RandomRotation RandomTranslation "
    "RandomZoom ReLU RepeatVector Rescaling Reshape Resizing SeparableConv1D SeparableConv2D SimpleRNN SimpleRNNCell "
    "Softmax SpatialDropout1D SpatialDropout2D SpatialDropout3D SpectralNormalization StackedRNNCells StringLookup "
    "Subtract TextVectorization TimeDistributed UnitNormalization UpSampling1D UpSampling2D UpSampling3D ZeroPadding1D "
    "ZeroPadding2D ZeroPadding3D"
)
_NUMPY = (
    "Abs Absolute Add All Any Clip Concatenate Cos Divide Equal Exp ExpandDims Greater GreaterEqual Less LessEqual Log "
    "LogicalAnd LogicalNot LogicalOr Matmul Max Maximum Mean Min Minimum Multiply Negative NotEqual Power Reshape Sin "
    "Sqrt Square Squeeze Stack Subtract Sum Tanh Transpose TrueDivide Where"
)
_BUILT_IN = {
    "keras": "DTypePolicy Functional Sequential",
    "keras.models": "Functional Sequential",
    "keras.layers": _LAYERS,
    "keras.initializers": _INITIALIZERS,
    "keras.regularizers": "L1 L1L2 L2 OrthogonalRegularizer",
    "keras.constraints": "MaxNorm MinMaxNorm NonNeg UnitNorm",
    "keras.src.models.functional": "Functional",
    "keras.src.models.sequential": "Sequential",
    "keras.src.ops.numpy": _NUMPY,
    "keras.src.ops.core": "Cast",
    "keras.src.applications.convnext": "LayerScale",
    "keras.src.applications.inception_resnet_v2": "CustomScaleLayer",
}
BUILT_IN = {(module, name) for module, names in _BUILT_IN.items() for name in names.split()}
"""(module, class) that Keras may make."""
_REGISTERED = (
    "AdaptChannels AddPositions AverageWords EncodeColumns EncodeNgrams FusedActivation FusedBatchNormalization "
    "FusedMaxPooling2D MemberAnswers MemberDense PartialIdentity ResizeImages ScaleImages SplitColumns ToLogits "
    "TunedConv2D TunedDense ViewAverage WeighNgrams WhitenPatches _Signs standardize_text"
)
OWN = frozenset(f"railcar>{name}" for name in _REGISTERED.split())
"""Names under which `railcar.layers` has registered what is ours."""
_PLAIN = ("__keras_tensor__", "__tensor__", "__numpy__", "__slice__", "__ellipsis__", "__bytes__")
# Keys that Keras takes a file's name in.
_FILES = ("vocabulary", "idf_weights")


def check_keras_file(path: Path) -> tuple[dict[str, Any], int]:
    """The configuration, and how many numbers are stored as weights. Raises `ForeignArtifact` for what is not a plain
    `.keras` file of known layers."""
    if path.suffix == ".h5":
        raise _refused("a whole model as .h5 can hold code", "save it as .keras, or its weights as .weights.h5")
    content, weights = _read_members(path, CONFIG, WEIGHTS)
    try:
        config = json.loads(content)
        check_config(config)
    except (ValueError, RecursionError) as error:
        raise _refused(f"its configuration is no JSON: {error}") from error
    return config, check_weights(io.BytesIO(weights), len(weights))


def check_weights_file(path: Path) -> None:
    """Raise `ForeignArtifact` for weights (.h5, .weights.h5, or those in a .keras file) that are in other files, or
    promise more than is there."""
    if path.suffix == ".keras":
        (weights,) = _read_members(path, WEIGHTS)
        check_weights(io.BytesIO(weights), len(weights))
    else:
        check_weights(path, path.stat().st_size)


def check_config(config: Any) -> None:
    """Raise `ForeignArtifact` for a class or function that is not on the list, with its name and its layer's."""
    pending: list[tuple[Any, str]] = [(config, "")]
    while pending:
        node, layer = pending.pop()
        if isinstance(node, dict):
            if "class_name" in node:
                inner = node.get("config")
                name = inner.get("name") if isinstance(inner, dict) else None
                is_named = isinstance(name, str)
                layer = name if is_named else layer
                _check_class(node, f"layer {layer!r} {'is' if is_named else 'has'}")
            for key in _FILES:
                if isinstance(node.get(key), str):
                    raise _refused(f"layer {layer!r} would read the file {node[key]!r}")
            pending.extend((one, layer) for one in node.values())
        elif isinstance(node, list):
            pending.extend((one, layer) for one in node)


def check_weights(file: Any, n_bytes: int) -> int:
    """How many numbers an HDF5 file (its path, or a file that is open) of `n_bytes` holds. Raises `ForeignArtifact`
    where it leads to other files, or promises more than is in it."""
    import h5py

    n_numbers = n_stored = 0
    try:
        with h5py.File(file, "r") as opened:
            for name, dataset in _walk(opened):
                _check_dataset(name, dataset)
                n_stored += dataset.nbytes
                if n_stored > n_bytes:
                    raise _refused(f"its weights promise more than the {n_bytes:,} bytes that are there")
                n_numbers += dataset.size or 0
    except (OSError, ValueError, KeyError, RuntimeError, TypeError) as error:
        raise _refused(f"its weights cannot be read: {error}") from error
    return n_numbers


def _read_members(path: Path, *names: str) -> list[bytes]:
    try:
        with zipfile.ZipFile(path) as archive:
            _check_members(archive, path.stat().st_size)
            return [archive.read(name) for name in names]
    except (OSError, ValueError, KeyError, EOFError, RuntimeError, zlib.error, zipfile.BadZipFile) as error:
        raise _refused(f"it is no whole .keras file: {error}") from error


def _check_members(archive: zipfile.ZipFile, n_bytes: int) -> None:
    members = archive.infolist()
    names = [one.filename for one in members]
    if strange := next((name for name in names if name not in _MEMBERS), None):
        raise _refused(f"it holds {strange!r}, which no model of railcar's has")
    if len(set(names)) != len(names):
        raise _refused("it holds a member twice")
    limits = {CONFIG: _MOST_CONFIG, "metadata.json": _MOST_METADATA, WEIGHTS: _MOST_GROWTH * n_bytes + _ALWAYS_ALLOWED}
    for one in members:
        if stat.S_ISLNK(one.external_attr >> 16):
            raise _refused(f"{one.filename} in it is a link")
        if one.file_size > limits[one.filename]:
            what = f"{one.filename} would unpack to {one.file_size:,} bytes, of {one.compress_size:,}"
            raise _refused(f"{what}; the limit is {limits[one.filename]:,}")


def _check_class(node: dict[str, Any], where: str) -> None:
    name, module, registered = node["class_name"], node.get("module"), node.get("registered_name")
    if not all(one is None or isinstance(one, str) for one in (name, module, registered)):
        raise _refused(f"{where} of no class: {name!r}")
    if name == "function":
        # Keras looks a function up by its name, which is in `config`.
        if not (isinstance(node.get("config"), str) and node["config"] in OWN and module == "builtins"):
            raise _refused(f"{where} a function: {str(node.get('config'))[:80]!r}")
        return
    if name in _PLAIN and module is None and registered is None:
        return
    if registered in OWN and f"railcar>{name}" == registered:
        return
    if (module, name) in BUILT_IN and registered in (None, name):
        return
    known = f"{module}.{name}" if module else str(name)
    known += f" registered as {registered}" if registered not in (None, name) else ""
    raise _refused(f"{where} a {known}, which is not on the list of what only computes")


def _walk(group: Any) -> Iterator[tuple[str, Any]]:
    """All datasets below, each with its name. Follows nothing that leads out of the file, and nothing twice."""
    import h5py
    from h5py import h5o  # pyright: ignore[reportAttributeAccessIssue]

    pending, seen = [("", group)], {h5o.get_info(group.id).addr}
    while pending:
        prefix, one = pending.pop()
        for key in one:
            name = f"{prefix}/{key}"
            link = one.get(key, getlink=True)
            if not isinstance(link, h5py.HardLink):
                place = getattr(link, "filename", None) or getattr(link, "path", "")
                raise _refused(f"its weights lead elsewhere: {name} to {place}")
            found = one[key]
            address = h5o.get_info(found.id).addr
            if address in seen or len(seen) > _MOST_OBJECTS:
                raise _refused(f"its weights hold {name} twice, or too many parts")
            seen.add(address)
            if isinstance(found, h5py.Group):
                pending.append((name, found))
            elif isinstance(found, h5py.Dataset):
                yield name, found
            else:
                raise _refused(f"its weights hold {name}, which is no array")


def _check_dataset(name: str, dataset: Any) -> None:
    properties = dataset.id.get_create_plist()
    if dataset.is_virtual or dataset.external is not None or properties.get_external_count():
        raise _refused(f"its weights lead to another file: {name}")
    if dataset.dtype.kind not in "fiub":
        raise _refused(f"its weights hold {name} of {dataset.dtype}, which are no numbers")
    for index in range(properties.get_nfilters()):
        if properties.get_filter(index)[0] not in _FILTERS:
            raise _refused(f"its weights hold {name}, packed in a way that needs another library")
    if properties.get_nfilters() == 0 and dataset.id.get_storage_size() < dataset.nbytes:
        raise _refused(f"its weights promise {dataset.nbytes:,} bytes at {name}, and fewer are there")


def _refused(what: str, hint: str = "") -> ForeignArtifact:
    return ForeignArtifact(what, hint=hint)
