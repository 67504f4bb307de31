# The front end: the web page and its API, with the model in it, or before a model service when
# LAB_MODEL_URL names one. From the project's folder, after `lab compile`:
#   docker build --file deploy/app.Dockerfile --tag text-recognizer-app:latest .
#   docker run --rm --init --publish 127.0.0.1:7860:7860 text-recognizer-app:latest

# BASE is any Linux with Python 3.11 and the C++ library; BUILDER is the same with pip.
ARG BASE=python:3.11-slim-bookworm
ARG BUILDER=${BASE}

FROM ${BUILDER} AS build
# pip's own variables: where it finds PyTorch's CPU wheels besides its usual index.
ARG PIP_EXTRA_INDEX_URL=
ARG PIP_FIND_LINKS=
ARG PIP_NO_INDEX=
COPY constraints.txt /build/
RUN python3 -m pip install --no-cache-dir --constraint /build/constraints.txt \
        --target /opt/python gradio pillow torch typer
RUN PYTHONPATH=/opt/python python3 -c 'import sys, torch; sys.exit(torch.version.cuda and \
        "This is the CUDA build of PyTorch: set PIP_EXTRA_INDEX_URL to its index of CPU wheels.")'
COPY deploy/trim_torch.sh /build/
RUN command -v strip >/dev/null || { apt-get update && apt-get install -y --no-install-recommends binutils; }
RUN sh /build/trim_torch.sh /opt/python

COPY LICENSE NOTICE /app/
COPY text_recognizer/ /app/text_recognizer/
COPY lab_tracker/ /app/lab_tracker/
COPY lab_utils/ /app/lab_utils/
COPY data/pages/show_* /app/data/pages/
COPY data/weights/english.ngrams data/weights/words.txt data/weights/digests.json /app/data/weights/
ARG MODEL=.lab/models/paragraph_reader.pt
COPY ${MODEL} /app/model.pt
# All that the app writes goes into /data: feedback, and uploads until they are an hour old.
RUN python3 -m compileall -q /app && chmod -R a+rX /app /opt/python && mkdir -m 0777 /data
# The page comes up and reads, without what was removed.
RUN cd /app && LAB_MODEL=/app/model.pt LAB_HOME=/tmp/home PYTHONPATH=/opt/python:/app python3 -c '\
from lab_utils.app import make_frontend; \
from lab_utils.predictors import LocalPredictor; \
predictor = LocalPredictor(); \
make_frontend(predictor); \
assert predictor.predict("data/pages/show_font_000.jpg")'

FROM ${BASE}
COPY --from=build /opt/python /opt/python
COPY --from=build /app /app
COPY --from=build --chown=65534:65534 /data /data
ENV PYTHONPATH=/opt/python \
    PYTHONUNBUFFERED=1 \
    LAB_HOME=/data \
    LAB_MODEL=/app/model.pt \
    TMPDIR=/data \
    MPLCONFIGDIR=/data/matplotlib \
    GRADIO_ANALYTICS_ENABLED=False
WORKDIR /app
USER 65534:65534
VOLUME /data
EXPOSE 7860
HEALTHCHECK --interval=30s --timeout=10s --start-period=60s --retries=3 \
    CMD ["python3", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:7860/', timeout=8).close()"]
# Inside the container the app listens on all addresses; `docker run --publish` says who reaches it.
# LAB_APP_AUTH=NAME:PASSWORD asks for these; LAB_APP_ALLOW_HOST is the name of a proxy or a tunnel.
ENTRYPOINT ["sh", "-c", "exec python3 -m lab_utils.cli app --host 0.0.0.0 ${LAB_MODEL_URL:+--model-url \"$LAB_MODEL_URL\"} ${LAB_APP_ALLOW_HOST:+--allow-host \"$LAB_APP_ALLOW_HOST\"} \"$@\"", "app"]
