"""Whether a client did what it was asked: bytes of what it has left."""

import fnmatch
import itertools
import os

from . import server as servers
from .measure import Failed, prefix_of

PIECE = 1 << 20


def pieces(paths):
    """The bytes of files, one after another."""
    for path in paths:
        with open(path, "rb") as file:
            yield from iter(lambda: file.read(PIECE), b"")


def same(expected, found):
    """Whether two iterators of bytes have the same, however they are cut."""
    ours, theirs = b"", b""
    while True:
        ours = ours or next(expected, b"")
        theirs = theirs or next(found, b"")
        length = min(len(ours), len(theirs))
        if length == 0:
            return ours == theirs
        if ours[:length] != theirs[:length]:
            return False
        ours, theirs = ours[length:], theirs[length:]


def unframed(chunks):
    """What is inside of `aws-chunked`, which nginx stores as it comes: sizes in hexadecimal, chunks, trailers."""
    rest = b"".join(chunks)
    while True:
        line, _, rest = rest.partition(b"\r\n")
        size = int(line.partition(b";")[0], 16)
        if size == 0:
            return
        yield rest[:size]
        if rest[size : size + 2] != b"\r\n":
            raise ValueError("a chunk does not end where it has to")
        rest = rest[size + 2 :]


def stored_as_sent(path, source):
    files = [path] if path.is_file() else sorted(path.iterdir())
    if same(pieces([source]), pieces(files)):
        return True
    try:
        return same(pieces([source]), itertools.chain.from_iterable(unframed(pieces([file])) for file in files))
    except ValueError:
        return False


def bytes_of(runner, row):
    """Every byte; raises what is wrong."""
    server = runner.server
    names = [f"{index:08}" for index in range(row.count)]
    if row.op == "get":
        for name in names:
            # Whoever cannot write parts into one file leaves several.
            files = [runner.out / name] if (runner.out / name).exists() else sorted(runner.out.glob(f"{name}.*"))
            if not same(pieces([server.objects(row.data) / name]), pieces(files)):
                raise Failed(f"{name} has other bytes")
    elif row.op == "ranges":
        with open(server.objects(row.data) / "00000000", "rb") as source:
            for index, name in enumerate(names):
                source.seek(index * 2_654_435_761 % ((1 << 30) // row.size) * row.size)
                if (runner.out / name).read_bytes() != source.read(row.size):
                    raise Failed(f"{name} has other bytes")
    elif row.op == "put":
        for name in names:
            path = server.stored(prefix_of(row)) / name
            if not path.exists():
                raise Failed(f"{name} was not stored")
            if not stored_as_sent(path, server.objects(row.data) / name):
                raise Failed(f"{name} was stored with other bytes")
    elif row.op == "list":
        # A key cannot have a line feed here.
        expected = [f"list/{name}" for name in names] if row.service else servers.listed_keys()
        if sorted((runner.out / "keys").read_text().split("\n")) != expected:
            raise Failed("other keys were listed")


def sizes_of(runner, peer, row, sizes):
    """What costs little, after every run: how many bytes there are."""
    if row.op == "put":
        directory, expected = runner.server.stored(prefix_of(row)), row.count
        if row.size < (1 << 24) and len(os.listdir(directory)) != expected:
            raise Failed(f"{len(os.listdir(directory))} objects in place of {expected}")
    elif row.op in ("get", "ranges") and peer.keeps:
        expected = row.count * row.size or sum(sizes)
        files = (
            os.path.join(at, name)
            for at, _, names in os.walk(runner.out)
            for name in names
            if not fnmatch.fnmatch(name, peer.beside)
        )
        found = sum(os.path.getsize(file) for file in files)
        if found != expected:
            raise Failed(f"{found} bytes in files in place of {expected}")
