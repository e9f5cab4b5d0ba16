# docker build -t dreamerv3 .                              for a CPU
# docker build -t dreamerv3 --build-arg EXTRAS=envs,cuda .    for an NVIDIA GPU
#
# docker run --rm -v ~/logdir:/root/logdir dreamerv3 --configs quickstart
# docker run --rm --gpus all -v ~/logdir:/root/logdir dreamerv3 --configs crafter size12m
FROM python:3.11-slim

# EGL with the graphics card or without one, and OSMesa.
RUN apt-get update && \
    apt-get install -y --no-install-recommends \
        libegl1 libegl-mesa0 libgl1 libgl1-mesa-dri libgles2 libosmesa6 libglib2.0-0 && \
    rm -rf /var/lib/apt/lists/*

# All suites that fit into one environment. The pins of procgen2 on old versions do not matter.
ARG EXTRAS=envs
ENV PYTHONUNBUFFERED=1 PIP_NO_CACHE_DIR=1 NVIDIA_DRIVER_CAPABILITIES=all

WORKDIR /app
COPY . .
RUN pip install -e ".[$EXTRAS]" cffi && pip install --no-deps procgen2==0.10.7 gym3==0.3.3

ENTRYPOINT ["dreamerv3"]
CMD ["--help"]
