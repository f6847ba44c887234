"""What the comparison needs and is not there: packages of Debian and PyPI, and the clients in Rust."""

import os
import pathlib
import shutil
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent.parent
CLIENTS = HERE / "clients"
DEBIAN = {"nginx": "nginx-light", "curl": "curl", "openssl": "openssl"}
LUA = pathlib.Path("/usr/lib/nginx/modules/ngx_http_lua_module.so")


def what_is_missing(peers, debug, no_build):
    """The places that commands of clients are made of."""
    debian([*DEBIAN.values(), "libnginx-mod-http-lua"] if not LUA.exists() else
           [package for program, package in DEBIAN.items() if not shutil.which(program)])  # fmt: skip
    python = sys.executable
    if any(peer.python for peer in peers):
        python = environment()
    packages = ["tools", *dict.fromkeys(peer.package for peer in peers if peer.package)]
    if not no_build:
        build(packages, debug)
    target = os.environ.get("CARGO_TARGET_DIR")
    programs = (pathlib.Path(target).absolute() if target else CLIENTS / "target") / ("debug" if debug else "release")
    return {"bin": str(programs), "clients": str(CLIENTS), "python": str(python)}


def debian(packages):
    if not packages:
        return
    command = ["apt-get", "install", "--yes", "--no-install-recommends", *packages]
    if os.geteuid() != 0:
        command.insert(0, "sudo")
    print("installing", *packages, flush=True)
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def environment():
    """A virtual environment with the clients of PyPI, in versions that requirements.txt fixes."""
    cache = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    directory = pathlib.Path(cache, "s3flow", f"peers-py{sys.version_info.major}.{sys.version_info.minor}").absolute()
    python = directory / "bin" / "python"
    wanted = (CLIENTS / "requirements.txt").read_text()
    installed = directory / "requirements.txt"
    if not installed.exists() or installed.read_text() != wanted:
        print(f"installing {CLIENTS / 'requirements.txt'} into {directory}", flush=True)
        subprocess.run([sys.executable, "-m", "venv", "--clear", directory], check=True)
        install = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*install, "-r", CLIENTS / "requirements.txt"], check=True)
        installed.write_text(wanted)
    return python


def build(packages, debug):
    """Each alone, so that its dependencies have the features that it asked for and no others."""
    for package in packages:
        command = ["cargo", "build", "--locked", "--quiet", "--package", package]
        subprocess.run(command + ([] if debug else ["--release"]), check=True, cwd=CLIENTS)
