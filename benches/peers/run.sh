#!/usr/bin/env bash
# s3flow beside its peers, in one run: wall time, CPU, memory and requests of each client, as tables in markdown, as JSON
# and as a picture.
#
#     benches/peers/run.sh                                          everything
#     benches/peers/run.sh --rows get-small,put-small --peers s3flow,curl,object_store --repeat 9
#     benches/peers/run.sh --list                                   the names of rows and peers
#     benches/peers/run.sh --serve --rows get-small --peers s3flow  only the server, for a profiler
#
# Needs Linux with 9 GiB in /dev/shm, Python 3.11 with venv, and Rust. Debian's packages of nginx are installed with apt-get
# when they are missing; clients of PyPI go into ${XDG_CACHE_HOME:-~/.cache}/s3flow. How it measures and what came out is
# in benches/README.md; how a client is added, in benches/peers/clients/README.md.
set -euo pipefail
PYTHONPATH=$(dirname "$(realpath "${BASH_SOURCE[0]}")") exec python3 -m compare "$@"
