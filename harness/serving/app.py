"""The pages' addresses, and who may read them. Nothing here changes anything."""

from __future__ import annotations

import base64
import binascii
import hmac
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from flask import Flask, Response, abort, request

from harness.errors import HarnessError, UsageError
from harness.results.database import Location
from harness.results.report.html import html_page, safe_text
from harness.results.store import Store

#: A shorter token is guessed.
LEAST_TOKEN = 16
_HEADERS = {
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    # Repeats what the pages say of themselves; a certificate's page is a file that anybody may have made.
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; sandbox allow-same-origin",
}


@dataclass(frozen=True)
class Served:
    """What is served: the bench file, its state folder, the store, and a folder of certificates."""

    bench_file: Path
    state: Path
    store: Location
    certificates: Path


def is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def make_app(served: Served, *, token: str = "", hosts: frozenset[str] | None = None) -> Flask:
    """``token``: who asks must give it, as a Bearer token or as the password of any user. ``hosts``: the names under
    which the pages may be asked for (a page elsewhere can point a name of its own at this machine); None: any.

    Raises UsageError for a token that is too short.
    """
    if token and len(token) < LEAST_TOKEN:
        raise UsageError(f"a token has at least {LEAST_TOKEN} characters", hint="openssl rand -hex 16 makes one")
    app = Flask("harness", static_folder=None)

    @app.before_request
    def allowed() -> Response | None:
        if hosts is not None and _host_of(request.host) not in hosts:
            abort(421)
        if token and not _holds(token, request.headers.get("Authorization", "")):
            return Response("a token is needed\n", 401, {"WWW-Authenticate": 'Basic realm="harness"'})
        return None

    @app.after_request
    def guarded(response: Response) -> Response:
        response.headers.update(_HEADERS)
        return response

    @app.errorhandler(HarnessError)
    def told(problem: HarnessError) -> tuple[str, int]:
        status = 404 if isinstance(problem, UsageError) else 503
        words = f"<h1>Not there</h1><p class='reason'>{safe_text(str(problem))}</p>"
        return html_page("not there", [words, _BACK]), status

    @app.errorhandler(404)
    def unknown(_problem: Exception) -> tuple[str, int]:
        return html_page("no such page", ["<h1>There is no such page</h1>", _BACK]), 404

    _add_pages(app, served)
    return app


_BACK = "<p><a href='/'>the bench</a></p>"


def _add_pages(app: Flask, served: Served) -> None:
    from harness.serving import pages

    def with_store(page: Callable[..., str]) -> Callable[..., str]:
        def view(**arguments: Any) -> str:
            if isinstance(served.store, Path) and not served.store.exists():
                raise UsageError(f"there are no results yet in {served.store}", hint="harness run")
            store = Store(served.store)
            try:
                return page(served, store, **arguments)
            finally:
                store.close()

        return view

    routes: Mapping[str, Callable[..., str]] = {
        "/run-<int:number>.html": pages.run_page,
        "/board/<board>": pages.board_page,
        "/figure/<path:name>": pages.figure_page,
    }
    for rule, page in routes.items():
        app.add_url_rule(rule, page.__name__, with_store(page), methods=["GET"])

    @app.get("/")
    def bench() -> str:
        return pages.bench_page(served)

    @app.get("/certificate/<name>")
    def certificate(name: str) -> str:
        return pages.certificate(served, name)


def _host_of(host: str) -> str:
    name, colon, port = host.rpartition(":")
    return (name if colon and port.isdigit() else host).strip("[]").lower()


def _holds(token: str, given: str) -> bool:
    kind, _, given = given.partition(" ")
    if kind.lower() == "basic":
        try:
            given = base64.b64decode(given, validate=True).decode("utf-8", "replace").partition(":")[2]
        except binascii.Error:
            return False
    elif kind.lower() != "bearer":
        return False
    return hmac.compare_digest(given.strip().encode(), token.encode())
