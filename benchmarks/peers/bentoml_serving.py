"""BentoML with Keras, as its guide to adaptive batching has it.

    python bentoml_serving.py FOLDER --port PORT [--workers 1] [--max-latency-ms 60000] [--one-by-one]

POST /pixels takes {"images": [pixels]}, POST /files a form with image files as `images`: one each, which BentoML makes
batches of. FOLDER is that of `keras_serving.py`. `--one-by-one`: without batches.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import Any

os.environ["BENTOML_DO_NOT_TRACK"] = "True"

import bentoml
import numpy as np
from keras_serving import Classifier, add_options, share_cores
from PIL.Image import Image

# The workers import this file again: what they need to know is in the environment.
FOLDER = Path(os.environ.get("SERVING_FOLDER", "."))
HOW: dict[str, Any] = {
    "batchable": not os.environ.get("SERVING_ONE_BY_ONE"),
    "max_batch_size": 32,
    "max_latency_ms": int(os.environ.get("SERVING_MAX_LATENCY_MS", "60000")),
}


@bentoml.service(workers=int(os.environ.get("SERVING_WORKERS", "1")), traffic={"timeout": 60})
class Classify:
    def __init__(self) -> None:
        self.classifier = Classifier(FOLDER)

    @bentoml.api(**HOW)
    def pixels(self, images: np.ndarray) -> list[dict[str, Any]]:
        return self.classifier(np.asarray(images).astype(np.uint8).reshape(-1, *self.classifier.shape))

    @bentoml.api(**HOW)
    def files(self, images: list[Image]) -> list[dict[str, Any]]:
        mode = "L" if self.classifier.shape[2] == 1 else "RGB"
        return self.classifier(np.stack([self.classifier.take_image(one.convert(mode)) for one in images]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_options(parser)
    parser.add_argument("--max-latency-ms", type=int, default=60_000)
    parser.add_argument("--one-by-one", action="store_true")
    options = parser.parse_args()
    share_cores(options.workers)
    os.environ["SERVING_FOLDER"] = str(options.folder.resolve())
    os.environ["SERVING_WORKERS"] = str(options.workers)
    os.environ["SERVING_MAX_LATENCY_MS"] = str(options.max_latency_ms)
    if options.one_by_one:
        os.environ["SERVING_ONE_BY_ONE"] = "1"
    os.environ["BENTOML_HOME"] = str(options.folder.resolve() / "bentoml")
    os.chdir(Path(__file__).parent)
    where = ["--host", "127.0.0.1", "--port", str(options.port)]
    os.execv(sys.executable, [sys.executable, "-m", "bentoml", "serve", "bentoml_serving:Classify", *where])


if __name__ == "__main__":
    main()
