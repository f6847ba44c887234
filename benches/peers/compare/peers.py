"""The clients, and what each cannot do. A new one is a program of clients/ and an entry here."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Peer:
    name: str
    # The program and its arguments; {bin} is where Rust's are, {clients} the directory of the others, and {python} has
    # PyPI's packages.
    command: tuple[str, ...]
    # The package of clients/ that makes it.
    package: str | None = None
    # Whether what it does needs packages of PyPI.
    python: bool = False
    # Asked first, outside of what is measured, to write what its program reads: `PROGRAM prepare`.
    prepares: bool = False
    # Whether it has processes of its own, whose memory has to be looked at while it runs.
    processes: bool = False
    # Whether files stay until its end, and the names of those that it has beside them.
    keeps: bool = True
    beside: str = ""
    # Whether it does only a few of the batches that a row counts singly.
    few: bool = False
    # Rows' operations that it has no way to do, and why; or by the name of a row.
    cannot: dict[str, str] = dataclasses.field(default_factory=dict)


# What the slowest leave out.
MINUTES = dict.fromkeys(
    ["ranges", "get-small-slow", "get-small-slow-256", "put-small-slow", "put-small-slow-256", "get-small-tls"],
    "left out, for it takes minutes",
)

PEERS = [
    # Its file with a dot is the lock of its directory.
    Peer("s3flow", ("{bin}/client-s3flow",), package="client-s3flow", beside=".*"),
    Peer(
        "s3flow-stream",
        ("{bin}/client-s3flow", "stream"),
        package="client-s3flow",
        keeps=False,
        cannot={op: "the same as s3flow" for op in ("put", "list", "head", "threes")},
    ),
    # Bodies out of the signature, where s3flow has them in it.
    Peer(
        "s3flow-unsigned",
        ("{bin}/client-s3flow", "unsigned"),
        package="client-s3flow",
        beside=".*",
        cannot=dict.fromkeys(
            ["get", "ranges", "list", "head", "threes", "put-medium-tls", "put-large-tls"], "the same as s3flow"
        ),
    ),
    Peer(
        "curl",
        ("{clients}/curl",),
        prepares=True,
        cannot={"list": "it reads no pages", "threes": "a process for each batch"},
    ),
    Peer("object_store", ("{bin}/client-object-store",), package="client-object-store"),
    Peer(
        "opendal",
        ("{bin}/client-opendal",),
        package="client-opendal",
        cannot={"list-moto": "moto, which checks signatures, answers 403 to its listing"},
    ),
    Peer("aws-sdk-s3", ("{bin}/client-aws-sdk",), package="client-aws-sdk"),
    Peer(
        "transfer-manager",
        ("{bin}/client-transfer-manager",),
        package="client-transfer-manager",
        cannot={"list": "only the SDK lists", "head": "only the SDK asks for infos"},
    ),
    Peer("obstore", ("{python}", "{clients}/obstore_client.py"), python=True),
    Peer("boto3", ("{python}", "{clients}/boto3_client.py"), python=True, cannot=MINUTES),
    Peer(
        "s5cmd",
        ("{clients}/s5cmd",),
        python=True,
        prepares=True,
        cannot={"ranges": "it has no ranges", "threes": "a process for each batch"},
    ),
    Peer(
        "rclone",
        ("{clients}/rclone",),
        python=True,
        prepares=True,
        cannot={
            "ranges": "it copies no ranges",
            "threes": "a process for each batch",
            "head": "it has no infos of named objects",
        },
    ),
    *(
        Peer(
            f"metaflow-{workers}",
            ("{python}", "{clients}/metaflow_client.py", str(workers)),
            python=True,
            processes=True,
            # An object's info.
            beside="*_meta",
            few=True,
            cannot=MINUTES,
        )
        for workers in (64, 4)
    ),
]
