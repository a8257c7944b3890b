"""LitServe with Keras, as its guide to batching has it.

    python litserve_serving.py FOLDER --port PORT [--workers 1] [--api-servers 1] [--batch-size 32]
                               [--batch-timeout 0.005] [--fast-queue]

POST /predict takes {"image": pixels} or {"image": the file in base64}. FOLDER is that of `keras_serving.py`.
"""

from __future__ import annotations

import argparse
import base64
from pathlib import Path
from typing import Any

import litserve
from keras_serving import Classifier, add_options, share_cores


class KerasAPI(litserve.LitAPI):
    def __init__(self, folder: Path, **options: Any) -> None:
        super().__init__(**options)
        self.folder = folder

    def setup(self, device: str) -> None:
        self.classifier = Classifier(self.folder)

    def decode_request(self, request):  # no types: LitServe would take them for those of the request's fields
        image = request["image"]
        if isinstance(image, str):
            return self.classifier.take_file(base64.b64decode(image))
        return self.classifier.take_pixels(image)

    def predict(self, x: Any) -> Any:
        return self.classifier(x) if x.ndim == 4 else self.classifier(x[None])[0]

    def unbatch(self, output: Any) -> Any:
        return output

    def encode_response(self, output: Any) -> Any:
        return output


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_options(parser)
    parser.add_argument("--api-servers", type=int, default=1)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--batch-timeout", type=float, default=0.005)
    parser.add_argument("--fast-queue", action="store_true")
    options = parser.parse_args()
    share_cores(options.workers)
    api = KerasAPI(options.folder, max_batch_size=options.batch_size, batch_timeout=options.batch_timeout)
    how: dict[str, Any] = {"accelerator": "cpu", "devices": 1, "workers_per_device": options.workers}
    server = litserve.LitServer(api, fast_queue=options.fast_queue, timeout=60, **how)
    server.run(
        host="127.0.0.1",
        port=options.port,
        num_api_servers=options.api_servers,
        log_level="error",
        generate_client_file=False,
    )


if __name__ == "__main__":
    main()
