"""Asking a lab: ``labgrid-client``, run for one question at a time, and what it prints taken with care.

Everything here is bounded in time and size. A lab knows no passwords: whoever reaches the coordinator may set a comment
or a tag, so what is printed *about* a place decides nothing; the coordinator's own answer to an order does.
"""

from __future__ import annotations

import getpass
import os
import re
import socket
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from harness.children import run_child
from harness.errors import BenchFault, FinalFault, UsageError
from harness.inventory.model import LabgridPlace
from harness.link.panics import printable

#: Names the program when the bench file does not.
CLIENT_VARIABLE = "HARNESS_LABGRID_CLIENT"
#: Where labgrid looks for a coordinator that nobody named (labgrid documentation, "Environment Variables").
DEFAULT_COORDINATOR = "127.0.0.1:20408"
#: Seconds for one question. Most of a second of it is Python starting.
PATIENCE = 30.0
#: Of a list of places, in bytes.
_LIST_LIMIT = 4_000_000
_PLACES_AT_MOST = 5_000
_RESOURCES_AT_MOST = 100
#: Variables of labgrid's that would make its client do something else than it is asked, and Python's, whose
#: environment here is not the one it lives in.
_NOT_FOR_IT = frozenset(
    ("LG_ENV", "LG_PLACE", "LG_STATE", "LG_INITIAL_STATE", "LG_TOKEN", "PLACE", "STATE", "PYTHONPATH", "PYTHONHOME")
)
_HOST = re.compile(r"[A-Za-z0-9_.-]{1,253}|[0-9A-Fa-f:.]{2,45}")
_SCHEMES = {"rfc2217": "rfc2217", "raw": "socket"}
#: What ``labgrid-client power`` can drive.
_POWER = (
    *("NetworkPowerPort", "PDUDaemonPort", "NetworkUSBPowerPort", "NetworkSiSPMPowerPort", "TasmotaPowerPort"),
    "NetworkYKUSHPowerPort",
)
_AWAY = ("Could not connect to coordinator", "coordinator is unavailable", "coordinator became unavailable")


class LabAway(FinalFault):
    """The coordinator does not answer."""


class LabRefused(FinalFault):
    """The coordinator, or the client on its behalf, said no. ``said`` is what it said."""

    def __init__(self, message: str, said: str, *, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.said = said


@dataclass(frozen=True)
class Place:
    """One place as a list shows it. ``acquired`` is ``host/user``; empty for one that nobody has."""

    name: str
    tags: Mapping[str, str]
    acquired: str = ""
    reserved: bool = False
    changed: str = ""

    def fits(self, tags: Mapping[str, str]) -> bool:
        return all(self.tags.get(key) == value for key, value in tags.items())

    @property
    def held(self) -> str:
        """Who has it, in words; empty when nobody does."""
        if self.acquired:
            return holder(self.acquired)
        return "a reservation" if self.reserved else ""


def holder(acquired: str) -> str:
    """``host/user`` in words."""
    host, _, user = acquired.partition("/")
    mine = ", which is you" if acquired == own_name() else ""
    return f"{user} on {host}{mine}" if user else acquired


def own_name() -> str:
    """What an acquired place of ours is acquired by: ``host/user``, made as labgrid makes it."""
    try:
        user = os.environ.get("LG_USERNAME") or getpass.getuser()
    except (KeyError, OSError, ImportError):
        user = f"uid{os.getuid()}"
    return f"{os.environ.get('LG_HOSTNAME') or socket.gethostname()}/{user}"


@dataclass(frozen=True)
class Resource:
    """Something that a place has: ``kind`` is labgrid's class, ``name`` what the place calls it."""

    kind: str
    name: str
    arguments: Mapping[str, Any]


@dataclass(frozen=True)
class Lab:
    """A coordinator, and the program that speaks to it; empty: labgrid's own variable or default, and ours."""

    coordinator: str = ""
    client: str = ""

    @classmethod
    def of(cls, wanted: LabgridPlace) -> Lab:
        return cls(wanted.coordinator or "", wanted.client or "")

    @property
    def program(self) -> str:
        return self.client or os.environ.get(CLIENT_VARIABLE) or "labgrid-client"

    @property
    def address(self) -> str:
        """Where the coordinator is, for messages."""
        return self.coordinator or os.environ.get("LG_COORDINATOR") or DEFAULT_COORDINATOR

    def command(self, *arguments: str) -> list[str]:
        at = ["-x", self.coordinator] if self.coordinator else []
        return [self.program, *at, *arguments]

    @staticmethod
    def environment() -> dict[str, str]:
        """What the client is started with."""
        kept = {name: value for name, value in os.environ.items() if name not in _NOT_FOR_IT}
        return {**kept, "PYTHONUNBUFFERED": "1"}

    def ask(self, *arguments: str, timeout: float = PATIENCE, limit: int = 100_000) -> str:
        """What ``labgrid-client`` prints for ``arguments``.

        Raises UsageError when it is not installed, LabAway when the coordinator does not answer within ``timeout``
        seconds, LabRefused when the answer is no.
        """
        try:
            done = run_child(self.command(*arguments), timeout=timeout, env=self.environment(), limit=limit)
        except subprocess.TimeoutExpired:
            raise self.away(f"no answer within {timeout:g} s") from None
        except OSError as problem:
            raise self.not_there(problem) from None
        if done.code == 0:
            return done.output.decode("utf-8", "replace")
        errors = done.errors.decode("utf-8", "replace")
        if any(sign in errors for sign in _AWAY):
            raise self.away(_why_away(errors))
        said = _last_words(done.errors or done.output)
        raise LabRefused(f"the lab at {self.address} said: {said}", said)

    def not_there(self, problem: OSError) -> UsageError:
        return UsageError(
            f"{self.program!r} cannot be run: {problem.strerror}",
            hint="pipx install labgrid; or name the program: 'labgrid: {client: PATH}' in the bench file, or "
            f"{CLIENT_VARIABLE}",
        )

    def away(self, why: str) -> LabAway:
        return LabAway(
            f"the lab's coordinator at {self.address} does not answer: {why}",
            hint="does labgrid-coordinator run there? Its address is 'labgrid: {coordinator: HOST:PORT}' in the bench "
            "file, or LG_COORDINATOR",
        )

    # -- questions -------------------------------------------------------------------------------

    def places(self, timeout: float = PATIENCE) -> list[Place]:
        """All places of the lab. Raises as :meth:`ask`."""
        return read_places(self.ask("-v", "places", timeout=timeout, limit=_LIST_LIMIT))

    def resources(self, place: str) -> list[Resource]:
        """What ``place`` has, which is ours. Raises as :meth:`ask`, and BenchFault for what cannot be read."""
        return read_resources(self.ask("-p", place, "env"), place)


def _why_away(errors: str) -> str:
    if "Connection refused" in errors:
        return "nothing listens there"
    return printable(errors.encode(), 200)


def _last_words(output: bytes) -> str:
    """The end of what the client said, without its own name in front: that is where the reason is."""
    lines = [line for line in output.decode("utf-8", "replace").strip().split("\n") if line.strip()]
    text = printable(lines[-1].encode() if lines else b"", 300) or "nothing"
    return re.sub(r"^(labgrid-client: |Server error: )?(Error: )?", "", text)


def read_places(text: str) -> list[Place]:
    """The places in what ``labgrid-client -v places`` printed; lines that are not known are passed over."""
    places: list[Place] = []
    name: str | None = None
    fields: dict[str, str] = {}

    def end() -> None:
        if name is not None and len(places) < _PLACES_AT_MOST:
            acquired = fields.get("acquired", "None")
            places.append(
                Place(
                    name,
                    _tags(fields.get("tags", "")),
                    "" if acquired == "None" else acquired,
                    "reservation" in fields,
                    fields.get("changed", "").partition(".")[0],
                )
            )

    for line in text.split("\n"):
        if heading := re.fullmatch(r"Place '(.{1,200})':", line):
            end()
            name, fields = printable(heading[1].encode(), 200), {}
        elif field := re.fullmatch(r"  ([a-z]{1,20}): (.{1,2000})", line):
            fields[field[1]] = printable(field[2].encode(), 400)
    end()
    return places


def _tags(text: str) -> dict[str, str]:
    pairs = (part.partition("=") for part in text.split(", ") if part)
    return {key: value for key, _, value in pairs}


def read_resources(text: str, place: str) -> list[Resource]:
    """The resources in what ``labgrid-client env`` printed of ``place``. Raises BenchFault when it cannot be read."""
    try:
        said = yaml.safe_load(text)
        listed = said["targets"][place]["resources"]
        if not isinstance(listed, list):
            raise TypeError
        found = []
        for entry in listed[:_RESOURCES_AT_MOST]:
            ((kind, arguments),) = entry.items()
            arguments = dict(arguments or {})
            found.append(Resource(str(kind)[:60], str(arguments.get("name", kind))[:100], arguments))
    except (yaml.YAMLError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise BenchFault(
            f"what labgrid says of place {place!r} cannot be read: {printable(text.encode(), 200)}",
            hint=f"try 'labgrid-client -p {place} env'; labgrid 26 is known to work",
        ) from None
    return found


def serial_url(resources: Sequence[Resource], place: str, name: str = "") -> str:
    """The pyserial URL of the place's serial port. Raises BenchFault when it has none, several, or none that is one.

    ``name`` is what the place calls it, where it has several.
    """
    ports = [r for r in resources if r.kind == "NetworkSerialPort" and name in ("", r.name)]
    if len(ports) != 1:
        has = ", ".join(printable(f"{r.kind} {r.name}".encode(), 60) for r in resources) or "nothing"
        called = f" called {name!r}" if name else ""
        count = f"{len(ports)} serial ports" if ports else "no serial port"
        raise FinalFault(
            f"place {place!r} has {count}{called}; it has: {has}",
            hint="say which one: 'labgrid: {serial: NAME}'"
            if len(ports) > 1
            else f"does its exporter see the adapter? 'labgrid-client -p {place} show'",
        )
    told = ports[0].arguments
    host, port, protocol = told.get("host"), told.get("port"), told.get("protocol", "rfc2217")
    good = isinstance(host, str) and _HOST.fullmatch(host) and type(port) is int and 0 < port < 65536
    if not good or protocol not in _SCHEMES:
        said = printable(f"host {host!r}, port {port!r}, protocol {protocol!r}".encode(), 200)
        raise FinalFault(
            f"place {place!r}: its serial port cannot be opened from here: {said}",
            hint="expected a host name, a TCP port and the protocol rfc2217 or raw; does ser2net run on the exporter?",
        )
    return f"{_SCHEMES[protocol]}://{f'[{host}]' if ':' in str(host) else host}:{port}"


def power_names(resources: Sequence[Resource]) -> list[str]:
    """What the place calls each of its resources that switch power."""
    return [resource.name for resource in resources if resource.kind in _POWER]
