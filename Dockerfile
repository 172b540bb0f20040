# The service with its archive inside, for CPU; --build-arg DEVICE=gpu for NVIDIA GPUs.
#
#   docker build -t chest-xray .
#   docker run --rm -p 8080:8080 -p 7070:7070 --read-only --tmpfs /tmp chest-xray
#
# The log shows the key; management stays on the container's own loopback:
#   docker exec CONTAINER chest-xray list
ARG BASE=python:3.11-slim-bookworm
ARG DEVICE=cpu

FROM ${BASE} AS base
# TorchServe stops workers with the program `kill`, which slim images lack; nginx is the edge's.
RUN apt-get update \
 && apt-get install --yes --no-install-recommends procps nginx-light \
 && rm -rf /var/lib/apt/lists/* \
 && useradd --system --uid 10001 --no-create-home chest-xray \
 && install -d -o chest-xray -g chest-xray -m 0750 /var/lib/chest-xray

FROM base AS service
ARG DEVICE
# A certificate that pip must trust; it may stay unset.
ARG PIP_CERT
ENV PATH=/opt/venv/bin:$PATH \
    PIP_NO_CACHE_DIR=1 \
    TS_MODEL_STORE=/opt/chest-xray/model-store
WORKDIR /opt/chest-xray/source
# First what changes seldom: the packages that are installed, and the code that installs them.
COPY requirements.txt requirements-gpu.txt ./
COPY scripts scripts
RUN python3 scripts/environment.py /opt/venv --device "$DEVICE"
COPY pyproject.toml hatch_build.py LICENSE NOTICE ./
COPY config config
COPY handler handler
COPY model model
RUN pip install --no-deps . \
 && cd / \
 && rm -r /opt/chest-xray/source \
 && chest-xray archive
WORKDIR /opt/chest-xray
# Inference is reachable from outside the container, management and metrics are not.
ENV TS_INFERENCE_ADDRESS=http://0.0.0.0:8080 \
    TS_GRPC_INFERENCE_ADDRESS=0.0.0.0 \
    CHEST_XRAY_RUN_DIR=/tmp/chest-xray
EXPOSE 8080 7070
USER 10001
# The open port says nothing: healthy means that a worker is READY.
HEALTHCHECK --interval=30s --timeout=10s --start-period=60s \
    CMD ["chest-xray", "ready"]
ENTRYPOINT ["chest-xray", "serve"]

FROM service AS cpu
ENV TS_NUMBER_OF_GPU=0

FROM service AS gpu
# What NVIDIA's container runtime looks at; the CUDA libraries came with torch.
ENV NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility

FROM ${DEVICE}
