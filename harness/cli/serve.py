"""``harness serve``: the lab's page."""

from __future__ import annotations

import os
from pathlib import Path

import click

from harness.cli.options import CONTEXT, bench_option, store_option
from harness.errors import BenchFault, UsageError

#: The token's name in the environment: an argument could be read by every user of the machine.
TOKEN = "HARNESS_SERVE_TOKEN"


@click.command(context_settings=CONTEXT)
@bench_option
@store_option
@click.option("--host", default="127.0.0.1", show_default=True, metavar="ADDRESS", help="Where to listen.")
@click.option("--port", type=click.IntRange(0, 65535), default=8321, show_default=True, help="0: a free one.")
@click.option("--certificates", default=".", metavar="FOLDER", help="Where 'harness qualify' wrote (default: here).")
def serve(bench: str, store: str, host: str, port: int, certificates: str) -> None:
    """Serve the bench, its runs, boards and figures as pages to read. Nothing can be changed by them.

    A page of a run that goes on is asked for again by itself. On an address beyond this machine everybody who asks must
    give the token of HARNESS_SERVE_TOKEN (as a password, of any user); encryption is a reverse proxy's matter.
    """
    from harness.inventory.load import load_bench
    from harness.inventory.selection import bench_file
    from harness.paths import state_dir
    from harness.results.database import ServerAway, location
    from harness.results.store import Store
    from harness.shown import say

    try:
        from waitress.server import create_server

        from harness.serving.app import Served, is_loopback, make_app
    except ImportError:
        raise UsageError(
            "the page needs two libraries that are not installed", hint="pip install 'vm-harness[serve]'"
        ) from None

    token = os.environ.get(TOKEN, "")
    near = is_loopback(host)
    if not near and not token:
        raise UsageError(
            f"{host} can be reached from other machines, and no token is set",
            hint=f"{TOKEN}=$(openssl rand -hex 16) harness serve --host {host}, or listen on 127.0.0.1",
        )
    file = bench_file(bench)
    load_bench(file, check_files=False)  # a file that is wrong is told here, and not to who reads the pages
    state = state_dir(file)
    where = location(store, state / "results.sqlite")
    if not isinstance(where, Path) or where.exists():
        try:
            Store(where).close()  # a store that is none is told here as well
        except ServerAway as problem:
            say(f"note: {problem.message}; the pages say so until it is back", stderr=True)
    served = Served(file, state, where, Path(certificates))
    hosts = frozenset({"localhost", "127.0.0.1", "::1", host}) if near else None
    app = make_app(served, token=token, hosts=hosts)
    try:
        server = create_server(app, host=host, port=port, ident="harness", threads=4)
    except (OSError, ValueError) as problem:
        raise BenchFault(
            f"nothing can listen on {host}, port {port}: {problem}", hint="choose another with --port"
        ) from None
    listening = int(getattr(server, "effective_port", port))
    say(f"http://{f'[{host}]' if ':' in host else host}:{listening}/  (Ctrl-C ends it)")
    try:
        server.run()
    finally:
        server.close()
