"""Proves that TensorFlow computes on this machine's GPUs before the money runs: one convolution on each.

    gpu_proof.py N     N: how many there must be

Writes one line of JSON: `is_proved`, `gpus` (name and memory), `driver`, `cuda` (that TensorFlow was built for), and
where it is not proved, `what` (what is missing) and `hint`. Run with the Python that has TensorFlow.
"""

import ctypes
import glob
import json
import os
import subprocess
import sys
import sysconfig

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
# Below it CUDA 12 does not start: docs.nvidia.com, "CUDA Compatibility", minor version compatibility of CUDA 12.x.
_LEAST_DRIVER = {"12": 525, "13": 580}


def prove(n_wanted):
    found = {"is_proved": False, "gpus": [], "driver": None, "cuda": None}
    asked = "--query-gpu=name,memory.total,driver_version"
    try:
        told = subprocess.run(
            ["nvidia-smi", asked, "--format=csv,noheader"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=60
        )
    except FileNotFoundError:
        return dict(found, what="there is no NVIDIA driver (nvidia-smi is missing)", hint=_image_hint())
    except subprocess.TimeoutExpired:
        return dict(found, what="nvidia-smi does not answer", hint="reboot the machine, or take another one")
    if told.returncode:
        line = (told.stdout or told.stderr).decode(errors="replace").strip().splitlines()
        return dict(
            found, what="the driver does not work: " + (line[0] if line else "no reason given"), hint=_image_hint()
        )
    rows = [line.split(", ") for line in told.stdout.decode().strip().splitlines()]
    found["gpus"] = [{"name": row[0], "memory": row[1]} for row in rows]
    found["driver"] = rows[0][2] if rows else None
    if len(rows) < n_wanted:
        what = "%d GPUs were asked for, and the driver sees %d" % (n_wanted, len(rows))
        return dict(found, what=what, hint="take another machine type")
    return compute(found, n_wanted)


def compute(found, n_wanted):
    import tensorflow as tf

    built = tf.sysconfig.get_build_info()
    found["cuda"] = built.get("cuda_version")
    if not found["cuda"]:
        what = "TensorFlow %s was built without CUDA" % tf.__version__
        return dict(found, what=what, hint="install tensorflow[and-cuda] in its place")
    least = _LEAST_DRIVER.get(str(found["cuda"]).split(".")[0])
    if least and int(found["driver"].split(".")[0]) < least:
        what = "driver %s is too old for CUDA %s, which needs %d" % (found["driver"], found["cuda"], least)
        return dict(found, what=what, hint=_image_hint())
    gpus = tf.config.list_physical_devices("GPU")
    if len(gpus) < n_wanted:
        missing = find_missing(built)
        what = "TensorFlow sees %d of %d GPUs" % (len(gpus), n_wanted)
        return dict(found, what=what + (": %s is missing" % ", ".join(missing) if missing else ""), hint=_image_hint())
    for number in range(n_wanted):
        with tf.device("/GPU:%d" % number):
            images = tf.random.stateless_normal([8, 32, 32, 3], seed=(0, number))
            tf.nn.conv2d(images, tf.ones([3, 3, 3, 8]), 1, "SAME").numpy()
    return dict(found, is_proved=True)


def find_missing(built):
    """Libraries of CUDA that cannot be loaded."""
    major, cudnn = str(built["cuda_version"]).split(".")[0], str(built.get("cudnn_version", "9"))
    names = ["libcudart.so." + major, "libcublas.so." + major, "libcufft.so.11", "libcudnn.so." + cudnn]
    return [name for name in ["libcuda.so.1"] + names if not can_load(name)]


def can_load(name):
    """Whether the system has a library, or one of NVIDIA's own packages beside TensorFlow."""
    beside = os.path.join(sysconfig.get_paths()["purelib"], "nvidia", "*", "lib", name)
    for path in [name] + glob.glob(beside):
        try:
            ctypes.CDLL(path)
            return True
        except OSError:
            continue
    return False


def _image_hint():
    return "take an image that has a driver of NVIDIA's, as the Deep Learning images of the clouds do"


if __name__ == "__main__":
    try:
        document = prove(int(sys.argv[1]))
    except Exception as error:
        what = "a convolution on the GPU failed: %s: %s" % (type(error).__name__, str(error).splitlines()[0])
        document = {"is_proved": False, "gpus": [], "what": what, "hint": _image_hint()}
    print(json.dumps(document))
