"""The rows of the table: what every client is asked to do."""

import dataclasses
import math
import random

from . import services

KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30
LISTED = 50_000


def mixed_sizes(count):
    """Log-normal, median 256 KiB, from 1 KiB to 64 MiB, the same each time."""
    seeded = random.Random(7)
    sizes = (int(seeded.lognormvariate(math.log(256 * KIB), 1.8)) for _ in range(count))
    return [min(max(size, KIB), 64 * MIB) for size in sizes]


# The objects, by the directory of the bucket that they are in; uploads are of these files too.
DATA = {
    "small": [(10_000, KIB)],
    "medium": [(500, MIB)],
    "large": [(1, 2 * GIB)],
    "gigabyte": [(1, GIB)],
    "mixed": [(1, size) for size in mixed_sizes(400)],
}
# What --quick makes of them.
QUICK = {
    "small": [(300, KIB)],
    "medium": [(20, MIB)],
    "large": [(1, 40 * MIB)],
    # Ranges are spread over a gigabyte.
    "gigabyte": [(1, GIB)],
    "mixed": [(1, size) for size in mixed_sizes(20)],
}


@dataclasses.dataclass(frozen=True)
class Row:
    name: str
    title: str
    # What the client does: BENCH_OP.
    op: str
    concurrency: int = 64
    # Of DATA: what is got, or the files that are put.
    data: str | None = None
    # How many; None for all of the data.
    count: int | None = None
    # Bytes of each, of each range; 0 where they differ.
    size: int = 0
    # "plain", "tls", "slow" are nginx's ports; else one of services.py.
    server: str = "plain"
    # With --quick, and of clients that do only a few.
    few: int | None = None

    @property
    def puts(self):
        return self.op == "put"

    @property
    def service(self):
        return self.server in services.NAMES

    def of(self, peer):
        return dataclasses.replace(self, count=self.few) if peer.few and self.few else self

    def with_data(self, sizes, quick):
        """The row with numbers that fit its data."""
        count = len(sizes) if self.count is None else self.count
        if self.service:
            count = min(count, len(sizes))
        elif quick and self.op != "list":
            count = min(count, len(sizes) if self.puts else self.few or 200)
        size = sizes[0] if self.op in ("get", "put") and self.size else self.size
        return dataclasses.replace(self, count=count, size=size)


RANGES = "GET 20,000 ranges of 4 KiB of 1 GiB into files"
SLOW_GETS, SLOW_PUTS = "GET 10,000 × 1 KiB, 20 ms later", "PUT 5,000 × 1 KiB, 20 ms later"

ROWS = [
    Row("idle", "started, client made, nothing sent", "idle", count=0),
    Row("get-small", "GET 10,000 × 1 KiB into files", "get", 64, "small", size=KIB),
    Row("get-medium", "GET 500 × 1 MiB into files", "get", 16, "medium", size=MIB),
    Row("get-large", "GET 1 × 2 GiB into a file", "get", 8, "large", size=2 * GIB),
    Row("put-small", "PUT 5,000 × 1 KiB from files", "put", 64, "small", count=5_000, size=KIB),
    Row("put-medium", "PUT 200 × 1 MiB from files", "put", 16, "medium", count=200, size=MIB),
    Row("put-large", "PUT 1 × 1 GiB from a file", "put", 8, "gigabyte", size=GIB),
    Row("list", "LIST 50,000 keys, pages of 1,000", "list", 1, count=LISTED),
    Row("threes", "batches of 3 GETs of 1 KiB, one after another", "threes", 3, "small", count=1_000, size=KIB, few=10),
    Row("head", "HEAD 10,000 objects", "head", 64, "small", size=KIB),
    Row("ranges", RANGES, "ranges", 64, "gigabyte", count=20_000, size=4 * KIB),
    Row("get-mixed", "GET 400 × 1 KiB to 64 MiB into files", "get", 16, "mixed"),
    Row("get-small-slow", SLOW_GETS, "get", 64, "small", size=KIB, server="slow"),
    Row("get-small-slow-256", f"{SLOW_GETS}, 256 at a time", "get", 256, "small", size=KIB, server="slow"),
    Row("put-small-slow", SLOW_PUTS, "put", 64, "small", count=5_000, size=KIB, server="slow"),
    Row("put-small-slow-256", f"{SLOW_PUTS}, 256 at a time", "put", 256, "small", count=5_000, size=KIB, server="slow"),
    Row("get-small-tls", "GET 10,000 × 1 KiB over TLS", "get", 64, "small", size=KIB, server="tls"),
    Row("get-medium-tls", "GET 500 × 1 MiB over TLS", "get", 16, "medium", size=MIB, server="tls"),
    # Bodies of uploads need no digest in the signature over TLS.
    Row("put-medium-tls", "PUT 200 × 1 MiB over TLS", "put", 16, "medium", count=200, size=MIB, server="tls"),
    Row("put-large-tls", "PUT 1 × 1 GiB over TLS", "put", 8, "gigabyte", size=GIB, server="tls"),
    *(
        Row(f"list-{service}", f"LIST 5,000 keys on {service}", "list", 1, "small", count=5_000, server=service)
        for service in services.NAMES
    ),
]
