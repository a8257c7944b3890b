"""KServe's server for Python models with Keras, as its guide to custom models has it; without the cluster around it.

    python kserve_serving.py FOLDER --port PORT [--workers 1] [--in-threads]

POST /v1/models/keras:predict takes {"instances": [pixels]} or {"instances": [{"image": {"b64": the file}}]}. FOLDER is
that of `keras_serving.py`. It makes no batches of requests: KServe has that done by an agent of its own beside the
server, which is no Python package. `--in-threads`: the model computes in a thread while the server reads on.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
from pathlib import Path
from typing import Any

import kserve
import numpy as np
from keras_serving import Classifier, add_options, share_cores


class KerasModel(kserve.Model):
    def __init__(self, folder: Path, *, in_threads: bool) -> None:
        super().__init__("keras")
        self.folder, self.in_threads = folder, in_threads
        self.classifier: Classifier | None = None
        self.ready = True  # each worker loads its own: the model is handed to them as a pickle

    def answer(self, instances: list[Any]) -> list[dict[str, Any]]:
        if self.classifier is None:
            self.classifier = Classifier(self.folder)
        return self.classifier(np.stack([self.take(one) for one in instances]))

    def take(self, instance: Any) -> np.ndarray:
        assert self.classifier is not None
        if isinstance(instance, dict):
            return self.classifier.take_file(base64.b64decode(instance["image"]["b64"]))
        return self.classifier.take_pixels(instance)

    async def predict(self, payload: Any, headers: Any = None, response_headers: Any = None) -> Any:
        instances = payload["instances"]
        found = await asyncio.to_thread(self.answer, instances) if self.in_threads else self.answer(instances)
        return {"predictions": found}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_options(parser)
    parser.add_argument("--in-threads", action="store_true")
    options = parser.parse_args()
    share_cores(options.workers)
    how: dict[str, Any] = {"enable_grpc": False, "enable_latency_logging": False, "workers": options.workers}
    server = kserve.ModelServer(http_port=options.port, **how)
    server.start([KerasModel(options.folder, in_threads=options.in_threads)])


if __name__ == "__main__":
    main()
