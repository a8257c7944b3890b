# A server of models, without TensorFlow: docs/guides/serving-elsewhere.md.
#
#   docker build -t railcar-serve .
#   docker run -p 8501:8501 -e RAILCAR_TOKEN -v "$PWD/models:/models:ro" railcar-serve
#
# It serves every model in /models (models/NAME/litert/1, as `railcar export --format litert --output models/NAME` writes
# them). As others can reach it, it wants a secret in RAILCAR_TOKEN, and does not start without one.

FROM python:3.12-slim AS build
WORKDIR /railcar
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY src src
# `docker build --build-arg MORE=onnxruntime`: what exports of --format onnx need besides.
ARG MORE=
RUN python -m venv /opt/railcar \
    && /opt/railcar/bin/pip install --no-cache-dir --disable-pip-version-check -c constraints.txt ".[serve]" $MORE

FROM python:3.12-slim
COPY --from=build /opt/railcar /opt/railcar
RUN useradd --create-home --uid 10001 railcar && mkdir /models
ENV PATH=/opt/railcar/bin:$PATH PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
USER 10001:10001
WORKDIR /home/railcar
EXPOSE 8501
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 \
    CMD ["python", "-c", "import os, urllib.request as u; u.urlopen('http://127.0.0.1:%s/readyz' % (os.environ.get('PORT') or 8501), timeout=4)"]
# `exec`: SIGTERM reaches the server itself, which then answers what was asked, and ends. What is named after the image
# takes the place of /models, options of `railcar serve` among it.
ENTRYPOINT ["sh", "-c", "exec railcar serve --host 0.0.0.0 --port \"${PORT:-8501}\" \"$@\"", "railcar-serve"]
CMD ["/models"]
