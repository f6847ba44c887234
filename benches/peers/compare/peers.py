"""The clients, and what each cannot do. A new one is a program of clients/ and an entry here."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Peer:
    name: str
    # The program and its arguments; {bin} is where Rust's are, {clients} the directory of the others, {python} has PyPI's.
    command: tuple[str, ...]
    # The package of clients/ that makes it.
    package: str | None = None
    # Whether what it does needs packages of PyPI.
    python: bool = False
    # Asked first, outside of what is measured, to write what its program reads: `PROGRAM prepare`.
    prepares: bool = False
    # Whether it has processes of its own, whose memory has to be looked at while it runs.
    processes: bool = False
    # Whether files stay until its end.
    keeps: bool = True
    # Rows' operations that it has no way to do, and why; or by the name of a row.
    cannot: dict[str, str] = dataclasses.field(default_factory=dict)


PEERS = [
    Peer("s3flow", ("{bin}/client-s3flow",), package="client-s3flow"),
    Peer(
        "s3flow-stream",
        ("{bin}/client-s3flow", "stream"),
        package="client-s3flow",
        keeps=False,
        cannot={op: "the same as s3flow" for op in ("put", "list", "head", "threes")},
    ),
    Peer(
        "curl",
        ("{clients}/curl",),
        prepares=True,
        cannot={
            "list": "it reads no pages",
            "threes": "a process for each batch",
        },
    ),
]
