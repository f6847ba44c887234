"""Runs every client on every row, in turns, and writes what they took."""

import argparse
import contextlib
import dataclasses
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile

from . import install, report, rows, services, verify
from .measure import Failed, Runner
from .peers import PEERS
from .server import Server


def arguments():
    parser = argparse.ArgumentParser(prog="benches/peers/run.sh", description=__doc__)
    parser.add_argument("--rows", default="all", help="names with commas, or all; --list shows them")
    parser.add_argument("--servers", default="", metavar="NAMES",
                        help=f"real servers that are listed too: {', '.join(services.NAMES)}, with commas")  # fmt: skip
    parser.add_argument("--peers", default="all", help="names with commas, or all")
    parser.add_argument("--repeat", type=int, default=3, help="runs of each that count; %(default)s")
    parser.add_argument("--quick", action="store_true", help="few and small objects, to see whether it works")
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path("peers-results"), metavar="DIR",
                        help="of the results; those of rows that are not run stay; %(default)s")  # fmt: skip
    parser.add_argument("--seconds", type=int, default=120, help="after which a client is ended; %(default)s")
    parser.add_argument("--debug", action="store_true", help="clients in Rust without optimisations, which are built sooner")
    parser.add_argument("--no-build", action="store_true", help="the clients in Rust as they are")
    parser.add_argument("--list", action="store_true", help="only list the rows and the peers")
    parser.add_argument("--serve", action="store_true",
                        help="only start the server, and tell how to run a client on a row")  # fmt: skip
    chosen = parser.parse_args()
    chosen.servers = [name for name in chosen.servers.split(",") if name]
    if set(chosen.servers) - set(services.NAMES):
        parser.error(f"there are the servers {', '.join(services.NAMES)}")
    known = [row for row in rows.ROWS if not row.service or row.server in chosen.servers]
    chosen.rows = pick(parser, "row", chosen.rows, known)
    chosen.peers = pick(parser, "peer", chosen.peers, PEERS)
    if chosen.repeat < 1:
        parser.error("--repeat has to be 1 at least")
    return chosen


def pick(parser, kind, text, known):
    names = {one.name: one for one in known}
    if text == "all":
        return list(known)
    for name in text.split(","):
        if name not in names:
            parser.error(f"there is no {kind} {name}; there are {', '.join(names)}")
    return [names[name] for name in text.split(",")]


def main():
    chosen = arguments()
    if chosen.list:
        for row in rows.ROWS:
            print(f"{row.name:20} {row.title}")
        print("peers:", ", ".join(peer.name for peer in PEERS))
        return
    # Every way to end is one that tidies up.
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: sys.exit(1))
    places = install.what_is_missing(chosen.peers, chosen.debug, chosen.no_build)
    with workspace() as prefix, Server(prefix).running_with(chosen.rows, places["bin"], chosen.quick) as server:
        runner = Runner(server, places, chosen.seconds)
        if chosen.serve:
            serve(runner, chosen)
        else:
            compare(runner, chosen)


@contextlib.contextmanager
def workspace():
    """A directory in memory."""
    shared = pathlib.Path("/dev/shm")
    prefix = pathlib.Path(tempfile.mkdtemp(prefix="s3flow-peers.", dir=shared if shared.is_dir() else None))
    try:
        yield prefix
    finally:
        shutil.rmtree(prefix, ignore_errors=True)


def compare(runner, chosen):
    results = report.Results(chosen.out, chosen.quick)
    chosen_rows = list(chosen.rows)
    idle = results.all["rows"].get("idle", {"runs": {}})["runs"]
    if chosen_rows[0].op != "idle" and not {peer.name for peer in chosen.peers} <= idle.keys():
        # What every peak of memory is compared with; one of an earlier run will do.
        chosen_rows.insert(0, rows.ROWS[0])
    failed = False
    for row in chosen_rows:
        print(f"{row.name}: {row.title}", flush=True)
        with at_service(runner, row, chosen):
            failed |= not run_row(runner, row, chosen, results)
    print(f"\n{results.markdown(chosen_rows)}")
    if failed:
        sys.exit("something failed; see above")


@contextlib.contextmanager
def at_service(runner, row, chosen):
    """With the real server of a row, if it has one, and the keys that are listed there."""
    if not row.service:
        yield
        return
    with services.running(row.server) as service:
        runner.services[row.server] = service
        sizes = runner.server.sizes[row.data]
        fill = dataclasses.replace(row.with_data(sizes, chosen.quick), name="list", op="put", concurrency=16)
        runner.run(PEERS[0], fill)
        yield
    del runner.services[row.server]


def run_row(runner, row, chosen, results):
    """Whether all went well. The clients take turns: A B C A B C."""
    sizes = runner.server.sizes.get(row.data, [])
    row = row.with_data(sizes, chosen.quick)
    runs = {}
    left = {}
    reasons = {}
    well = True
    for peer in chosen.peers:
        reason = peer.cannot.get(row.name) or peer.cannot.get(row.op)
        if reason:
            reasons[peer.name] = reason
            continue
        try:
            first = runner.run(peer, row.of(peer), verify=True)
            verify.bytes_of(runner, row.of(peer))
            left[peer.name] = repetitions(first["wall"], chosen.repeat)
            runs[peer.name] = [] if left[peer.name] else [first]
        except Failed as error:
            well = False
            reasons[peer.name] = f"failed: {error}"
            print(f"  {peer.name}: {error}", flush=True)
    for turn in range(chosen.repeat):
        for peer in chosen.peers:
            if turn >= left.get(peer.name, 0):
                continue
            try:
                runs[peer.name].append(runner.run(peer, row.of(peer)))
                verify.sizes_of(runner, peer, row, sizes)
            except Failed as error:
                well = False
                left[peer.name] = 0
                runs.pop(peer.name)
                reasons[peer.name] = f"failed: {error}"
                print(f"  {peer.name}: {error}", flush=True)
    for name, measured in runs.items():
        print(f"  {name:18} {report.line(measured)}", flush=True)
    results.add(row, runs, reasons)
    return well


def repetitions(seconds, repeat):
    """Slow clients run less often: their noise is small beside what they take. Of the slowest, the checked run counts."""
    if seconds > 6:
        return 0
    return min(repeat, 2) if seconds > 2.5 else repeat


def serve(runner, chosen):
    """For profilers: the server, and the environment of one client in a file."""
    row, peer = chosen.rows[0], chosen.peers[0]
    sizes = runner.server.sizes.get(row.data, [])
    row = row.with_data(sizes, chosen.quick)
    runner.fresh(row)
    environment = runner.environment(row, verify=False)
    command = runner.command(peer)
    if peer.prepares:
        subprocess.run([*command, "prepare"], env=environment, check=True)
        command.append("run")
    path = runner.server.prefix / "environment"
    names = [name for name in environment if name.startswith(("BENCH_", "AWS_", "TMPDIR"))]
    path.write_text("".join(f"export {name}='{environment[name]}'\n" for name in names))
    print(f"{row.name}: {row.title}")
    print(f"  (. {path}; rm -rf $BENCH_SCRATCH/../out/*; {' '.join(command)})\nuntil Ctrl-C", flush=True)
    with contextlib.suppress(KeyboardInterrupt):
        signal.pause()


if __name__ == "__main__":
    main()
