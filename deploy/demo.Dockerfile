# The front end's image with what a demo needs that stays: Lambda's runtime for the model service,
# and what drives ngrok's agent. docker compose builds it (deploy/compose.yaml) once the image of
# the front end is there: see app.Dockerfile
ARG APP=text-recognizer-app:latest
FROM ${APP}
USER 0
# pip's own variables: where it finds wheels besides its usual index.
ARG PIP_EXTRA_INDEX_URL=
ARG PIP_NO_INDEX=
COPY constraints.txt /build/
# --no-deps: pip would put newer copies of what is there already beside it.
RUN python3 -m pip install --no-cache-dir --no-deps --constraint /build/constraints.txt \
        --target /opt/python awslambdaric pyngrok segno simplejson snapshot-restore-py
# All of it imports, the compiled part as well, which is silent when it fails.
RUN PYTHONPATH=/opt/python python3 -c 'import awslambdaric, pyngrok.ngrok, runtime_client, segno'
USER 65534:65534
