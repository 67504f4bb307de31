# The model service for AWS Lambda: PyTorch for CPUs, Pillow, Lambda's runtime client, the code that
# reads pages, and the model. No training code, no compiler, no pip. From the project's folder:
#   lab compile          (or `lab fetch production`: the model file is part of the image)
#   docker build --provenance=false --platform linux/amd64 \
#       --file deploy/lambda.Dockerfile --tag text-recognizer:latest .
# `lab deploy lambda --apply` does the second step.

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
        --target /opt/python awslambdaric pillow torch
# The CUDA build would make the image four times as large, for a device that Lambda lacks.
RUN PYTHONPATH=/opt/python python3 -c 'import sys, torch; sys.exit(torch.version.cuda and \
        "This is the CUDA build of PyTorch: set PIP_EXTRA_INDEX_URL to its index of CPU wheels.")'
# The check at the end of this stage proves that pages are read without what this removes.
COPY deploy/trim_torch.sh /build/
RUN command -v strip >/dev/null || { apt-get update && apt-get install -y --no-install-recommends binutils; }
RUN sh /build/trim_torch.sh /opt/python

# Each file by name: what the handler does not import stays out.
COPY LICENSE NOTICE /var/task/
COPY text_recognizer/__init__.py text_recognizer/decoding.py text_recognizer/documents.py \
     text_recognizer/errors.py text_recognizer/fetching.py text_recognizer/files.py \
     text_recognizer/images.py text_recognizer/limits.py text_recognizer/model_code.json text_recognizer/model_file.py \
     text_recognizer/places.py text_recognizer/side_by_side.py text_recognizer/threads.py \
     text_recognizer/paragraph_text_recognizer.py /var/task/text_recognizer/
COPY text_recognizer/views/ /var/task/text_recognizer/views/
COPY text_recognizer/models/__init__.py text_recognizer/models/normalization.py \
     /var/task/text_recognizer/models/
COPY text_recognizer/language_model/__init__.py text_recognizer/language_model/beam_search.py \
     text_recognizer/language_model/character_model.py text_recognizer/language_model/decoding.py \
     text_recognizer/language_model/words.py \
     /var/task/text_recognizer/language_model/
COPY data/weights/english.ngrams data/weights/words.txt data/weights/digests.json /var/task/data/weights/
COPY lab_utils/__init__.py /var/task/lab_utils/
COPY lab_utils/service/__init__.py lab_utils/service/schema.py lab_utils/service/lambda_handler.py \
     lab_utils/service/lambda_entry.py /var/task/lab_utils/service/
ARG MODEL=.lab/models/paragraph_reader.pt
COPY ${MODEL} /var/task/model.pt
# Lambda runs as a user of its own and cannot write: all may read, and bytecode is made now.
RUN python3 -m compileall -q /var/task && chmod -R a+rX /var/task /opt/python
# Reads a page as Lambda will, and loads the runtime client's C++ part, which is silent when it fails.
RUN cd /var/task && LAB_MODEL=/var/task/model.pt PYTHONPATH=/opt/python:/var/task python3 -c '\
from PIL import Image; \
import base64, io, runtime_client; \
from lab_utils.service.lambda_entry import handler; \
page = io.BytesIO(); \
Image.effect_noise((640, 480), 64).save(page, "PNG"); \
answer = handler({"image": base64.b64encode(page.getvalue()).decode(), "lines": True}); \
assert "pred" in answer, answer'

FROM ${BASE}
# Dependencies first: an image with newer code or another model shares their layer.
COPY --from=build /opt/python /opt/python
COPY --from=build /var/task /var/task
# PyTorch warns at each start that it does not find NumPy, which nothing here uses.
ENV PYTHONPATH=/opt/python \
    LAB_MODEL=/var/task/model.pt \
    PYTHONWARNINGS="ignore:Failed to initialize NumPy:UserWarning"
WORKDIR /var/task
USER 65534:65534
ENTRYPOINT ["python3", "-m", "awslambdaric"]
CMD ["lab_utils.service.lambda_entry.handler"]
