"""What a client in Python is asked to do, from its environment, and what it tells; the contract is in README.md."""

import json
import os
import sys
import time

OP = os.environ["BENCH_OP"]
ENDPOINT = os.environ["BENCH_ENDPOINT"]
BUCKET = os.environ["BENCH_BUCKET"]
PREFIX = os.environ["BENCH_PREFIX"]
COUNT = int(os.environ["BENCH_COUNT"])
SIZE = int(os.environ["BENCH_SIZE"])
CONCURRENCY = int(os.environ["BENCH_CONCURRENCY"])
DIRECTORY = os.environ["BENCH_DIR"]
VERIFY = os.environ["BENCH_VERIFY"] == "1"
PART = 16 << 20


def name(index):
    return f"{index:08}"


def key(index):
    return f"{PREFIX}{index:08}"


def file(index):
    return f"{DIRECTORY}/{index:08}"


def offset(index):
    return index * 2_654_435_761 % ((1 << 30) // SIZE) * SIZE


def three(batch):
    return [(batch * 3 + index) % 10_000 for index in range(3)]


def write(index, data):
    """One piece into a new file, without buffers."""
    with open(file(index), "wb", buffering=0) as out:
        out.write(data)


def check_size(size):
    if SIZE not in (0, size):
        raise RuntimeError(f"{size} bytes in place of {SIZE}")


def check_count(count):
    if count != COUNT:
        raise RuntimeError(f"{count} items in place of {COUNT}")


def listed(keys):
    check_count(len(keys))
    if VERIFY:
        with open(f"{DIRECTORY}/keys", "w") as out:
            out.write("\n".join(keys))


class First:
    """The time until the first item of a batch, which is asked for now."""

    def __init__(self):
        self.start = time.perf_counter()
        self.first = None

    def item(self):
        if self.first is None:
            self.first = time.perf_counter() - self.start

    def print(self):
        if OP in ("get", "ranges"):
            print(json.dumps({"first": self.first}))


def batches(run):
    """How long each batch of three took."""
    seconds = []
    for batch in range(COUNT):
        start = time.perf_counter()
        run(three(batch))
        seconds.append(time.perf_counter() - start)
    print_batches(seconds)


def print_batches(seconds):
    print(json.dumps({"batches": seconds}))


def end():
    """Nothing is tidied up: what was downloaded stays."""
    sys.stdout.flush()
    os._exit(0)
