"""F5: a redirect over HTTP, as CPU time of all processes of gunicorn by request."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.requests import drain_elsewhere
from benchmarks.rounds import Row, at_least, ratios, spread
from benchmarks.traffic import AGENTS, SECRET, link_paths

WORKERS, THREADS, CONNECTIONS = 2, 4, 8
_TICKS = os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else 100


def run(quick: bool) -> list[Row]:
    """Return the rows of F5."""
    requests, rounds = (2_000, 5) if quick else (5_000, 7)
    paths = link_paths(requests)
    with (
        TemporaryDirectory() as one,
        TemporaryDirectory() as two,
        drain_elsewhere(Path(one)),
        gunicorn("constant_redirect", Path(one)) as constant,
        gunicorn("clicks", Path(one)) as ours,
        gunicorn("clicks", Path(two)) as draining,
    ):
        servers = {"constant": constant, "ours": ours, "draining": draining}
        taken = {name: [server.cost_us(paths)][1:] for name, server in servers.items()}  # warm
        for _ in range(rounds):
            for name, server in servers.items():
                taken[name].append(server.cost_us(paths))
    base = f"constant 302, gunicorn gthread {WORKERS} × {THREADS}: {spread(taken['constant'])} µs"
    to_ours, to_draining = (ratios(taken["constant"], taken[name]) for name in ("ours", "draining"))
    what = "redirect over HTTP: share of the bare server's requests per CPU second"
    return [
        Row("F5", what, base, f"{to_ours} ×", "≥ 0.75 ×", at_least(to_ours, 0.75)),
        Row(
            "F5", f"{what}, its workers drain to the store too", base, f"{to_draining} ×", "–", "–"
        ),
    ]


class Server:
    """A running gunicorn."""

    def __init__(self, process: subprocess.Popen[bytes], port: int) -> None:
        self.process = process
        self.port = port

    def cost_us(self, paths: Sequence[str]) -> float:
        """Return the CPU time of all its processes by request, in microseconds."""
        before = self.cpu_s()
        answered = load(self.port, paths)
        time.sleep(0.3)  # what is left for a drain in the workers belongs to these requests
        assert len(answered) == len(paths), f"{len(answered)} of {len(paths)} answered"
        return (self.cpu_s() - before) * 1e6 / len(paths)

    def cpu_s(self) -> float:
        """Return the CPU time of all its processes."""
        return sum(map(cpu_s, [self.process.pid, *self.workers()]))

    def workers(self) -> list[int]:
        """Return the ids of its workers."""
        listed = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text()
        return [int(pid) for pid in listed.split()]

    def kill_workers(self) -> None:
        """End all workers as the kernel does when memory is short."""
        for pid in self.workers():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


@contextmanager
def gunicorn(app: str, folder: Path) -> Iterator[Server]:
    """Run *app* of :mod:`benchmarks.apps` under gunicorn, on the loopback."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "gunicorn", "--log-level", "critical"]
    command += ["--bind", f"127.0.0.1:{port}", "--worker-class", "gthread", "--keep-alive", "30"]
    command += ["--workers", str(WORKERS), "--threads", str(THREADS), f"benchmarks.apps:{app}()"]
    told = {"BENCHMARK_FOLDER": str(folder), "BENCHMARK_SECRET": SECRET}
    process = subprocess.Popen(
        command,
        cwd=Path(__file__).parents[1],
        env={**os.environ, **told},
        stdout=subprocess.DEVNULL,
    )
    try:
        _await(port)
        yield Server(process, port)
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _await(port: int) -> None:
    for _ in range(200):
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.05)
    raise RuntimeError("gunicorn did not start")


def cpu_s(pid: int) -> float:
    """Return the CPU time that process *pid* and all its threads have used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def load(
    port: int,
    paths: Sequence[str],
    stop: threading.Event | None = None,
    answered: list[str] | None = None,
) -> list[str]:
    """Ask for *paths* over a few keep-alive connections; return those that were answered 302 in full.

    They are added to *answered* as they come. A lost connection is opened anew and its path left
    out. With *stop* it ends early.
    """
    answered = [] if answered is None else answered
    waiting = iter(list(paths))
    threads = [
        threading.Thread(target=_ask, args=(port, waiting, answered, stop), daemon=True)
        for _ in range(CONNECTIONS)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return answered


def _ask(
    port: int, waiting: Iterator[str], answered: list[str], stop: threading.Event | None
) -> None:
    connection: socket.socket | None = None
    for path in waiting:
        if stop is not None and stop.is_set():
            break
        try:
            connection = connection or socket.create_connection(("127.0.0.1", port), 10)
            connection.sendall(_request(path))
            head = _head(connection)
        except OSError:
            head = b""
        if head.startswith(b"HTTP/1.1 302"):
            answered.append(path)
        if not head or b"connection: close" in head.lower():
            if connection is not None:
                connection.close()
            connection = None
            time.sleep(0 if head else 0.02)
    if connection is not None:
        connection.close()


def _request(path: str) -> bytes:
    return (
        f"GET {path} HTTP/1.1\r\nHost: search.example\r\nUser-Agent: {AGENTS[0]}\r\n"
        "Accept: text/html,application/xhtml+xml,*/*;q=0.8\r\nAccept-Language: en\r\n"
        "Accept-Encoding: gzip, deflate, br\r\nReferer: http://search.example/search?q=tax\r\n"
        "Sec-Fetch-Site: same-origin\r\nSec-Fetch-Mode: navigate\r\nSec-Fetch-User: ?1\r\n\r\n"
    ).encode()


def _head(connection: socket.socket) -> bytes:
    """Return the complete head of an answer without a body, empty when the connection ended."""
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        chunk = connection.recv(4096)
        if not chunk:
            return b""
        head += chunk
    return head
