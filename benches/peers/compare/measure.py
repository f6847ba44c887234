"""One run of one client."""

import json
import os
import pathlib
import shutil
import subprocess
import threading

from . import server as servers
from . import services

PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")
PAGE = os.sysconf("SC_PAGE_SIZE")


class Failed(Exception):
    """A client ended with an error, or did something else."""


class Runner:
    def __init__(self, server, places, seconds):
        self.server = server
        # {bin}, {clients} and {python} of commands, as paths.
        self.places = places
        # After which a client is ended.
        self.seconds = seconds
        self.out = server.prefix / "out"
        self.scratch = server.prefix / "scratch"
        # Those of services.py that run, by their names.
        self.services = {}

    def command(self, peer):
        return [word.format(**self.places) for word in peer.command]

    def environment(self, row, verify):
        """The contract; see clients/README.md."""
        names = {*PROXIES, *(name.lower() for name in PROXIES)}
        inherited = {k: v for k, v in os.environ.items() if k not in names and not k.startswith(("AWS_", "METAFLOW_"))}
        service = self.services.get(row.server) or services.Service(
            self.server.endpoint(row.server),
            servers.BUCKET,
            "AKIAIOSFODNN7EXAMPLE",
            "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
            "us-east-1",
        )
        environment = {
            **inherited,
            "BENCH_OP": row.op,
            "BENCH_ENDPOINT": service.endpoint,
            "BENCH_BUCKET": service.bucket,
            "BENCH_PREFIX": prefix_of(row),
            "BENCH_COUNT": str(row.count),
            "BENCH_SIZE": str(row.size),
            "BENCH_CONCURRENCY": str(row.concurrency),
            "BENCH_DIR": str(self.server.objects(row.data) if row.puts else self.out),
            "BENCH_SCRATCH": str(self.scratch),
            "BENCH_VERIFY": "1" if verify else "0",
            "BENCH_PYTHON": self.places["python"],
            "AWS_ACCESS_KEY_ID": service.access_key_id,
            "AWS_SECRET_ACCESS_KEY": service.secret_access_key,
            "AWS_REGION": service.region,
            "AWS_DEFAULT_REGION": service.region,
            "AWS_EC2_METADATA_DISABLED": "true",
            "TMPDIR": str(self.scratch),
            "HOME": str(self.scratch),
        }
        if row.server == "tls":
            environment["AWS_CA_BUNDLE"] = environment["SSL_CERT_FILE"] = str(self.server.ca)
        return environment

    def fresh(self, row):
        for directory in (self.out, self.scratch, self.server.stored(prefix_of(row))):
            shutil.rmtree(directory, ignore_errors=True)
        self.out.mkdir()
        self.scratch.mkdir()

    def run(self, peer, row, verify=False):
        """What it took; what it left is there until the next run."""
        self.fresh(row)
        environment = self.environment(row, verify)
        command = self.command(peer)
        if peer.prepares:
            subprocess.run([*command, "prepare"], env=environment, check=True, timeout=self.seconds)
            command.append("run")
        report, said, log = (self.server.prefix / name for name in ("report", "said", "log"))
        report.unlink(missing_ok=True)
        before = self.server.requests()
        with open(said, "wb") as output, open(log, "wb") as errors:
            launched = subprocess.Popen(
                [f"{self.places['bin']}/launch", report, *command],
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=errors,
                cwd=self.scratch,
                start_new_session=True,
            )
            try:
                with Memory(launched.pid if peer.processes else None) as memory:
                    launched.wait(self.seconds)
            except subprocess.TimeoutExpired:
                end_session(launched.pid)
                launched.wait()
                raise Failed(f"it took more than {self.seconds} s") from None
        requests = self.server.requests() - before - 1
        if launched.returncode != 0:
            text = log.read_text(errors="replace").strip() or said.read_text(errors="replace").strip()
            raise Failed("\n".join(text.splitlines()[-8:]) or f"status {launched.returncode}")
        measured = json.loads(report.read_text())
        # Services do not tell.
        measured["requests"] = None if row.service else requests
        measured["cpu"] = measured["user"] + measured["system"]
        measured["rss"] = max(measured["rss"], memory.peak)
        for line in said.read_text(errors="replace").splitlines():
            if line.startswith("{"):
                measured.update(json.loads(line))
        return measured


def prefix_of(row):
    if row.op == "list":
        return "list/"
    if row.puts or not row.data:
        return f"{row.name}/"
    return f"{row.data}/"


def session(leader):
    """The processes that a client consists of, without the launcher."""
    for stat in pathlib.Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[3]) == leader and int(stat.parent.name) != leader:
            yield int(stat.parent.name), int(fields[21]) * PAGE


def end_session(leader):
    for pid, _ in session(leader):
        try:
            os.kill(pid, 9)
        except ProcessLookupError:
            pass


class Memory(threading.Thread):
    """The peak of the resident memory of several processes, looked at every tenth of a second."""

    def __init__(self, leader):
        super().__init__(daemon=True)
        self.leader = leader
        self.peak = 0
        self.over = threading.Event()

    def run(self):
        while not self.over.wait(0.1):
            self.peak = max(self.peak, sum(rss for _, rss in session(self.leader)))

    def __enter__(self):
        if self.leader:
            self.start()
        return self

    def __exit__(self, *_):
        if self.leader:
            self.over.set()
            self.join()
