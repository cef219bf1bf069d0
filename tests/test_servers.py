"""The same site under the servers that people use: each click of 2,000 is a row, whoever serves it."""

from __future__ import annotations

import contextlib
import http.client
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from clickmw.drain import Drain
from clickmw.health import difference, read_health
from clickmw.journal import Journal
from clickmw.stores.base import StoreOptions
from clickmw.stores.sqlite import SQLiteStore

pytestmark = [
    pytest.mark.wide,
    pytest.mark.skipif(os.name != "posix", reason="gunicorn and SIGTERM are POSIX"),
]

SECRET = "thirty-two characters or more are fine"
CLICKS = 2_000
VISITORS = 8

APPLICATION = """
from clickmw import ClickMW

def host(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "2")])
    return [b"up"]

application = ClickMW(host, secret={secret!r}, store="sqlite:///{folder}/clicks.db", redirect_rate=None)
"""
WSGIREF = """
from wsgiref.simple_server import WSGIRequestHandler, make_server
from served import application

class Quiet(WSGIRequestHandler):
    def log_message(self, *_):
        pass

make_server("127.0.0.1", {port}, application, handler_class=Quiet).serve_forever()
"""
CHEROOT = """
import signal
from cheroot.wsgi import Server
from served import application

server = Server(("127.0.0.1", {port}), application, numthreads=8)
signal.signal(signal.SIGTERM, lambda *_: (_ for _ in ()).throw(SystemExit))
try:
    server.start()
finally:
    server.stop()
"""
GUNICORN = "-m gunicorn served:application --bind 127.0.0.1:{port} --log-level critical --workers 2"
SERVERS = {
    "wsgiref": ["-c", WSGIREF],
    "cheroot": ["-c", CHEROOT],
    "waitress": [
        "-m",
        "waitress",
        "--listen",
        "127.0.0.1:{port}",
        "--threads",
        "8",
        "served:application",
    ],
}
for kind, options in {
    "sync": "--worker-class sync",
    "gthread": "--worker-class gthread --threads 4",
    "gevent": "--worker-class gevent",
}.items():
    SERVERS[f"gunicorn-{kind}"] = f"{GUNICORN} {options}".split()
    SERVERS[f"gunicorn-{kind}-preload"] = f"{GUNICORN} {options} --preload".split()


#: Servers that are no Python: their programs, and what they are told. A Debian package each.
UWSGI = (
    "--plugin python3 --http11-socket 127.0.0.1:{port} --virtualenv {environment} --pythonpath {folder}"
    " --wsgi served:application --master --processes 2 --die-on-term --disable-logging"
)
PROGRAMS = {
    "uwsgi": f"uwsgi {UWSGI} --enable-threads",
    "uwsgi-without-threads": f"uwsgi {UWSGI}",
    "nginx-gunicorn": "nginx -c {folder}/nginx.conf -e {folder}/nginx.log",
}
NGINX = """
daemon off;
{user}
pid {folder}/nginx.pid;
events {{}}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    server {{
        listen 127.0.0.1:{port};
        location / {{
            proxy_pass http://127.0.0.1:{inner};
            proxy_set_header Host $host;
            proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
            proxy_set_header X-Forwarded-Proto $scheme;
        }}
    }}
}}
"""


@pytest.fixture(params=[*SERVERS, *PROGRAMS])
def port(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[int]:
    """The port of a running server; it is ended as its owner would end it."""
    (tmp_path / "served.py").write_text(APPLICATION.format(secret=SECRET, folder=tmp_path))
    number, inner = free_ports(2)
    if request.param in SERVERS:
        commands = [[sys.executable, *filled(SERVERS[request.param], port=number)]]
    else:
        commands = [program(request.param, port=number, inner=inner, folder=tmp_path)]
    if request.param == "nginx-gunicorn":
        gunicorn = SERVERS["gunicorn-gthread"]
        commands.insert(0, [sys.executable, *filled(gunicorn, port=inner)])
    processes = [subprocess.Popen(command, cwd=tmp_path) for command in commands]
    try:
        if len(processes) > 1:
            wait_for(inner)
        wait_for(number)
        yield number
    finally:
        for process in reversed(processes):
            process.terminate()
            process.wait(60)


def program(name: str, **values: object) -> list[str]:
    """Return the command of a server that is no Python; write its configuration."""
    command = PROGRAMS[name].split()
    found = shutil.which(command[0], path=os.environ["PATH"] + ":/usr/sbin")
    if found is None:
        assert not os.environ.get("CI"), f"{command[0]} is missing: .ci/run installs it"
        pytest.skip(f"{command[0]} is not installed here")
    values["environment"] = sys.prefix
    user = "user root;" if os.geteuid() == 0 else ""
    Path(f"{values['folder']}/nginx.conf").write_text(NGINX.format(user=user, **values))
    return [found, *filled(command[1:], **values)]


def filled(parts: list[str], **values: object) -> list[str]:
    return [part.format(**values) for part in parts]


def free_ports(number: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        ports = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(number)]
        return [port.getsockname()[1] for port in ports]


def wait_for(port: int) -> None:
    end = time.monotonic() + 60
    while True:
        try:
            with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=20)) as connection:
                connection.request("GET", "/up")
                assert connection.getresponse().read() == b"up"
                return
        except OSError:
            assert time.monotonic() < end, "the server did not start"
            time.sleep(0.05)


def click_all(port: int, links: list[str]) -> Counter[int]:
    """Follow *links* as a few visitors at once would; return the statuses."""
    statuses: Counter[int] = Counter()

    def visit(own: list[str]) -> None:
        with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=20)) as connection:
            for link in own:
                connection.request("GET", link, headers={"User-Agent": "Mozilla/5.0"})
                answer = connection.getresponse()
                answer.read()
                statuses[answer.status] += 1

    visitors = [
        threading.Thread(target=visit, args=(links[number::VISITORS],))
        for number in range(VISITORS)
    ]
    for visitor in visitors:
        visitor.start()
    for visitor in visitors:
        visitor.join()
    return statuses


def test_every_click_is_a_row(port: int, link_to: Callable[..., str], tmp_path: Path) -> None:
    links = [link_to(f"https://example.org/{number}") for number in range(CLICKS)]
    assert click_all(port, links) == {302: CLICKS}
    # Whatever the server's own drain has left is moved here; it may still be at work.
    journal = Journal(tmp_path / "clicks.db.journal")
    with closing(SQLiteStore(tmp_path / "clicks.db", StoreOptions())) as store:
        open_store = lambda: SQLiteStore(tmp_path / "clicks.db", StoreOptions())  # noqa: E731
        with closing(Drain(journal.folder, open_store)) as drain:
            end = time.monotonic() + 60
            while store_size(store) < CLICKS and time.monotonic() < end:
                drain.run_once()
                time.sleep(0.05)
            ledger = read_health(store, journal, drain)
        assert store_size(store) == CLICKS
        assert store.check() == []
    assert difference(ledger) == 0


def store_size(store: SQLiteStore) -> int:
    """Return how many different results were clicked and counted."""
    with closing(store.reader()) as reader:
        rows = reader._rows("SELECT count(DISTINCT url) FROM clicks WHERE counted")
    return int(rows[0][0])
