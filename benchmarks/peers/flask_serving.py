"""Flask with Keras behind gunicorn, as Flask's guide to deployment has it.

    python flask_serving.py FOLDER --port PORT [--workers 1] [--threads 4] [--server gunicorn|flask]

POST /predict takes {"image": pixels} or an image file as the body. FOLDER is that of `keras_serving.py`. Each worker
holds a model of its own. `--server flask` is Flask's own server, a thread a connection.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import flask
from keras_serving import Classifier, add_options, share_cores


def build_app(folder: Path) -> flask.Flask:
    app, classifier = flask.Flask(__name__), Classifier(folder)

    @app.post("/predict")
    def predict() -> Any:
        request = flask.request
        image = classifier.take_pixels(request.json["image"]) if request.is_json else classifier.take_file(request.data)
        return classifier(image[None])[0]

    return app


def serve_by_gunicorn(options: argparse.Namespace) -> None:
    from gunicorn.app.base import BaseApplication

    class Application(BaseApplication):
        def load_config(self) -> None:
            assert self.cfg is not None
            self.cfg.set("bind", f"127.0.0.1:{options.port}")
            self.cfg.set("workers", options.workers)
            self.cfg.set("threads", options.threads)
            self.cfg.set("worker_class", "gthread")

        def load(self) -> flask.Flask:
            return build_app(options.folder)

    Application().run()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_options(parser)
    parser.add_argument("--threads", type=int, default=4)
    parser.add_argument("--server", choices=("gunicorn", "flask"), default="gunicorn")
    options = parser.parse_args()
    share_cores(options.workers)
    if options.server == "gunicorn":
        serve_by_gunicorn(options)
    else:
        import logging

        logging.getLogger("werkzeug").setLevel(logging.ERROR)
        build_app(options.folder).run(port=options.port, threaded=True)


if __name__ == "__main__":
    main()
