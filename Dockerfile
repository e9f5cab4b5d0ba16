# docker build -t dreamerv3 .                              for a CPU
# docker build -t dreamerv3 --build-arg EXTRAS=gym,crafter,cuda .    for an NVIDIA GPU
#
# docker run --rm -v ~/logdir:/root/logdir dreamerv3 --configs quickstart
# docker run --rm --gpus all -v ~/logdir:/root/logdir dreamerv3 --configs crafter size12m
FROM python:3.11-slim

ARG EXTRAS=gym,crafter
ENV PYTHONUNBUFFERED=1 PIP_NO_CACHE_DIR=1

WORKDIR /app
COPY . .
RUN pip install -e ".[$EXTRAS]"

ENTRYPOINT ["dreamerv3"]
CMD ["--help"]
