#!/usr/bin/python3
"""The networks of examples/lenet in PyTorch, to compare speeds with.

Processes with one thread each train together by DistributedDataParallel over gloo, on
Fashion-MNIST as Debian's dataset-fashion-mnist has it, with the optimiser of lenet-bsp
without weight decay.  Prints samples/s of all of them, without start and tests.

    apt install python3-torch dataset-fashion-mnist
    bench/peers/lenet_torch.py 16,16,128 --processes 2 --batch 64

A network is lenet5, or FILTERS,FILTERS,HIDDEN.
"""
import argparse
import gzip
import os
import socket
import time

import numpy
import torch
from torch import nn

FOLDER = "/usr/share/datasets/fashion-mnist/"
WARM_UP = 20  # iterations that do not count


def convolution(channels, filters, padding):
    return [nn.Conv2d(channels, filters, 5, padding=padding), nn.ReLU(), nn.MaxPool2d(2)]


def network(name):
    if name == "lenet5":
        return nn.Sequential(
            *convolution(1, 6, 2), *convolution(6, 16, 0), nn.Flatten(),
            nn.Linear(400, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU(),
            nn.Linear(84, 10))
    first, second, hidden = (int(n) for n in name.split(","))
    return nn.Sequential(
        *convolution(1, first, 2), *convolution(first, second, 2), nn.Flatten(),
        nn.Linear(49 * second, hidden), nn.ReLU(), nn.Linear(hidden, 10))


def idx(name, header):
    with gzip.open(FOLDER + name) as file:
        return numpy.frombuffer(file.read()[header:], numpy.uint8)


def training_images():
    pixels = idx("train-images-idx3-ubyte.gz", 16).reshape(-1, 1, 28, 28).astype(numpy.float32)
    pixels = (pixels - pixels.mean()) / pixels.std()
    labels = idx("train-labels-idx1-ubyte.gz", 8).astype(numpy.int64)
    return torch.from_numpy(pixels), torch.from_numpy(labels)


def train(rank, port, options):
    torch.set_num_threads(1)
    torch.manual_seed(1)
    torch.distributed.init_process_group("gloo", f"tcp://127.0.0.1:{port}", rank=rank,
                                         world_size=options.processes)
    model = nn.parallel.DistributedDataParallel(network(options.network))
    optimiser = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9, nesterov=True)
    loss = nn.CrossEntropyLoss()
    images, labels = training_images()
    together = options.processes * options.batch
    order = torch.randperm(len(images))  # the same in all processes, which share the seed
    for step in range(WARM_UP + options.steps):
        if step == WARM_UP:
            began = time.monotonic()
        first = (step * together + rank * options.batch) % (len(images) - options.batch)
        batch = order[first:first + options.batch]
        optimiser.zero_grad()
        loss(model(images[batch]), labels[batch]).backward()
        optimiser.step()
    if rank == 0:
        rate = options.steps * together / (time.monotonic() - began)
        print(f"{options.network}, {options.processes} x {options.batch}: {rate:.0f} samples/s")


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("network")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--batch", type=int, default=64, help="of each process [64]")
    parser.add_argument("--steps", type=int, default=200, help="that count [200]")
    options = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"
    torch.multiprocessing.spawn(train, (free_port(), options), options.processes)


if __name__ == "__main__":
    main()
