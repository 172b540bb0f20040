# The service with its archive inside, for CPU; --build-arg DEVICE=gpu for NVIDIA GPUs.
#
#   docker build -t chest-xray .
#   docker run --rm -p 8080:8080 -p 7070:7070 --read-only --tmpfs /tmp chest-xray
#
# The log shows the key; management stays on the container's own loopback:
#   docker exec CONTAINER /opt/venv/bin/python scripts/manage.py list
ARG BASE=python:3.11-slim-bookworm
ARG DEVICE=cpu

FROM ${BASE} AS service
# A pip that must trust another certificate, and an index of torch builds without CUDA, which PyPI
# does not hold: they save 3 GB. Both may stay unset.
ARG PIP_CERT
ARG TORCH_INDEX
WORKDIR /opt/chest-xray
# TorchServe stops workers with the program `kill`, which slim images lack; nginx is the edge's.
RUN apt-get update \
 && apt-get install --yes --no-install-recommends procps nginx-light \
 && rm -rf /var/lib/apt/lists/* \
 && useradd --system --uid 10001 --no-create-home chest-xray \
 && install -d -o chest-xray -g chest-xray -m 0750 /var/lib/chest-xray
COPY requirements.txt ./
RUN python3 -m venv /opt/venv \
 && if [ -n "$TORCH_INDEX" ]; then \
      grep -E '^torch(vision)?==' requirements.txt > torch.txt \
      && /opt/venv/bin/pip install --no-cache-dir --index-url "$TORCH_INDEX" -r torch.txt \
      && sed -i -E '/^(nvidia|cuda|triton)/d' requirements.txt; \
    fi \
 && /opt/venv/bin/pip install --no-cache-dir -r requirements.txt
COPY config config
COPY handler handler
COPY model/chest_xray_*.py model/
COPY model/weights model/weights
COPY scripts scripts
RUN printf '%s\n' /opt/chest-xray/handler /opt/chest-xray/model > "$(/opt/venv/bin/python -c 'import site; print(site.getsitepackages()[0])')/chest-xray.pth" \
 && /opt/venv/bin/python scripts/archive.py
# Inference is reachable from outside the container, management and metrics are not.
ENV TS_INFERENCE_ADDRESS=http://0.0.0.0:8080 \
    TS_GRPC_INFERENCE_ADDRESS=0.0.0.0 \
    CHEST_XRAY_RUN_DIR=/tmp/chest-xray
EXPOSE 8080 7070
USER 10001
# The open port says nothing: healthy means that a worker is READY.
HEALTHCHECK --interval=30s --timeout=10s --start-period=60s \
    CMD ["/opt/venv/bin/python", "scripts/manage.py", "ready"]
ENTRYPOINT ["/opt/venv/bin/python", "scripts/serve.py"]

FROM service AS cpu
ENV TS_NUMBER_OF_GPU=0

FROM service AS gpu
# What NVIDIA's container runtime looks at; the CUDA libraries came with torch.
ENV NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility

FROM ${DEVICE}
