"""A folder of images through Keras' image_dataset_from_directory, with its defaults but for the order and the batch.

    python keras_folder.py FOLDER --size 224

Prints the images and the seconds from listing the folder to the last batch, as JSON.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
import time
from pathlib import Path

import keras


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--size", type=int, required=True)
    options = parser.parse_args()
    started = time.perf_counter()
    n = 0
    for side in sorted(options.folder.iterdir()):
        with contextlib.redirect_stdout(sys.stderr):
            data = keras.utils.image_dataset_from_directory(
                side, image_size=(options.size, options.size), batch_size=256, shuffle=False
            )
        for images, _ in data:
            n += len(images)
    print(json.dumps({"n": n, "seconds": time.perf_counter() - started}))


if __name__ == "__main__":
    main()
