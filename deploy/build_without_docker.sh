#!/usr/bin/env bash
# Builds an image where there is no Docker engine and no registry to pull a base from: Debian's
# packages make the base, buildah builds on it. For root, with mmdebstrap, buildah and Python 3.11.
#
#   deploy/build_without_docker.sh                    the model service: text-recognizer:latest
#   deploy/build_without_docker.sh --app              the front end: text-recognizer-app:latest
#
# Everything lies in .lab/images (or $IMAGES), which may be removed; a second run uses what is there.
# To work with the images: source .lab/images/env.sh; buildah images
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

PYTHON=${PYTHON:-.venv/bin/python}
IMAGES=$(realpath -m "${IMAGES:-.lab/images}")
packages=(awslambdaric pillow torch) tag=text-recognizer:latest dockerfile=lambda.Dockerfile
if [ "${1-}" = --app ]; then
    packages=(gradio pillow torch typer) tag=text-recognizer-app:latest dockerfile=app.Dockerfile
fi

for command in mmdebstrap buildah "$PYTHON"; do
    command -v "$command" >/dev/null || { echo "install $command first" >&2; exit 2; }
done
"$PYTHON" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' || {
    echo "name a Python 3.11, as the base has it: PYTHON=..." >&2; exit 2; }
mkdir -p "$IMAGES/wheels"

# Storage of its own, and no help from the kernel: this works in a container as well.
cat >"$IMAGES/storage.conf" <<CONF
[storage]
driver = "vfs"
graphroot = "$IMAGES/storage"
runroot = "$IMAGES/run"
CONF
cat >"$IMAGES/env.sh" <<ENV
export CONTAINERS_STORAGE_CONF=$IMAGES/storage.conf STORAGE_DRIVER=vfs BUILDAH_ISOLATION=chroot
ENV
# shellcheck source=/dev/null
source "$IMAGES/env.sh"

if ! buildah inspect localhost/lab-builder >/dev/null 2>&1; then
    mmdebstrap --variant=minbase --include=python3,ca-certificates \
        --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*' \
        --dpkgopt='path-include=/usr/share/doc/*/copyright' \
        --dpkgopt='path-exclude=/usr/share/locale/*' bookworm "$IMAGES/base.tar"
    container=$(buildah from scratch)
    buildah add --quiet "$container" "$IMAGES/base.tar" /
    buildah commit --quiet "$container" localhost/lab-base
    buildah run "$container" -- sh -c 'apt-get update -q &&
        apt-get install -q -y --no-install-recommends python3-pip binutils'
    buildah commit --quiet --rm "$container" localhost/lab-builder
    rm "$IMAGES/base.tar"
fi

"$PYTHON" -m pip download --quiet --only-binary=:all: --constraint constraints.txt \
    --dest "$IMAGES/wheels" "${packages[@]}"
buildah build --format docker --platform linux/amd64 --file "deploy/$dockerfile" --tag "$tag" \
    --build-arg BASE=localhost/lab-base --build-arg BUILDER=localhost/lab-builder \
    --volume "$IMAGES/wheels:/wheels:ro" --build-arg PIP_FIND_LINKS=/wheels \
    --build-arg PIP_NO_INDEX=1 .
