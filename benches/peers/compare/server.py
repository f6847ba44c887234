"""nginx as an S3 service; see ../nginx."""

import contextlib
import os
import pathlib
import socket
import subprocess
import time
import urllib.request

from . import rows

BUCKET = "bench"
HERE = pathlib.Path(__file__).resolve().parent.parent
MODULES = pathlib.Path("/usr/lib/nginx/modules")


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def listed_keys():
    """In byte order; each hundredth has a space, which encoding-type=url changes."""
    return sorted(f"list/{index:08}{' b' if index % 100 == 0 else ''}.bin" for index in range(rows.LISTED))


def flat(sizes):
    return [size for count, size in sizes for _ in range(count)]


class Server:
    def __init__(self, prefix):
        self.prefix = prefix
        self.ports = {name: free_port() for name in ("plain", "tls", "slow", "status")}
        self.ca = prefix / "tls" / "ca.pem"
        # Of each object, by the name of the data.
        self.sizes = {}

    def endpoint(self, name):
        return f"{'https' if name == 'tls' else 'http'}://127.0.0.1:{self.ports[name]}"

    def objects(self, data):
        return self.prefix / "objects" / BUCKET / data

    def stored(self, prefix):
        return self.prefix / "stored" / BUCKET / prefix

    def requests(self):
        """How many there were so far, without those of this question."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.ports['status']}/") as answer:
            return int(answer.read().split(b"\n")[2].split()[2])

    def _make_data(self, tools, quick):
        """The objects, the keys that are listed, and the certificates."""
        (self.prefix / "keys").write_text("".join(f"{key}\n" for key in listed_keys()))
        with open(self.prefix / "objects.list", "w") as objects:
            for name in sorted(self.sizes):
                sizes = (rows.QUICK if quick else rows.DATA)[name]
                command = [f"{tools}/make-data", self.objects(name), *(f"{count}x{size}" for count, size in sizes)]
                made = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
                for line in made.splitlines():
                    objects.write(f"/{BUCKET}/{name}/{line}\n")
        self._make_certificates()

    def _make_certificates(self):
        directory = self.prefix / "tls"
        directory.mkdir()
        key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "30")

        def openssl(*arguments):
            subprocess.run(["openssl", *arguments], check=True, cwd=directory, capture_output=True)

        openssl("req", "-x509", *key, "-subj", "/CN=bench CA", "-keyout", "ca.key", "-out", "ca.pem",
                "-addext", "basicConstraints=critical,CA:TRUE", "-addext", "keyUsage=critical,keyCertSign")  # fmt: skip
        openssl("req", *key, "-subj", "/CN=localhost", "-keyout", "server.key", "-out", "server.csr")
        (directory / "names").write_text("subjectAltName=IP:127.0.0.1,DNS:localhost\nextendedKeyUsage=serverAuth\n")
        openssl("x509", "-req", "-in", "server.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial",
                "-days", "30", "-extfile", "names", "-out", "server.pem")  # fmt: skip

    @contextlib.contextmanager
    def running_with(self, chosen_rows, tools, quick):
        """With the data of these rows, until the end of the context."""
        wanted = {row.data for row in chosen_rows if row.data}
        self.sizes = {name: flat((rows.QUICK if quick else rows.DATA)[name]) for name in wanted}
        self._make_data(tools, quick)
        with self._nginx():
            yield self

    @contextlib.contextmanager
    def _nginx(self):
        names = ("ndk_http_module.so", "ngx_http_lua_module.so")
        values = {
            "PREFIX": str(self.prefix),
            "LUA": str(HERE / "nginx"),
            "PORT": self.ports["plain"],
            "TLS_PORT": self.ports["tls"],
            "SLOW_PORT": self.ports["slow"],
            "STATUS_PORT": self.ports["status"],
            "LOAD_MODULES": "\n".join(f"load_module {MODULES / name};" for name in names),
            # As root, its workers would be nobody.
            "USER": "user root;" if os.geteuid() == 0 else "",
        }
        for name in ("nginx.conf", "locations.conf"):
            text = (HERE / "nginx" / f"{name}.in").read_text()
            for key, value in values.items():
                text = text.replace(f"@{key}@", str(value))
            (self.prefix / name).write_text(text)
        (self.prefix / "tmp").mkdir()
        (self.prefix / "stored").mkdir()
        nginx = subprocess.Popen(
            ["nginx", "-p", self.prefix, "-c", self.prefix / "nginx.conf", "-e", self.prefix / "error.log"],
            stdin=subprocess.DEVNULL,
        )
        try:
            self._wait(nginx)
            yield
        finally:
            nginx.terminate()
            nginx.wait()

    def _wait(self, nginx):
        deadline = time.monotonic() + 20
        while True:
            try:
                self.requests()
                return
            except OSError as error:
                log = self.prefix / "error.log"
                if nginx.poll() is not None or time.monotonic() > deadline:
                    text = log.read_text() if log.exists() else ""
                    raise RuntimeError(f"nginx does not answer: {text}") from error
                time.sleep(0.02)
