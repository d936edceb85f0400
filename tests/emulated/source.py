"""Upstream's source of several releases: Debian's source packages, got with apt and kept in the cache.

The mirror is the one that this machine's apt is set up with; only the suite differs. apt checks the suite's signature
against the archive's keyring, and each file's checksum against the signed index. The machine's own package lists stay
as they are.
"""

from __future__ import annotations

import re
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock

from .tools import Unavailable, cache_folder, require, run

PACKAGE = "micropython"
KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")


@dataclass(frozen=True)
class Source:
    """A source tree with its ``mpy-cross`` built. ``version`` is Debian's: ``1.25.0+ds-1``."""

    suite: str
    version: str
    tree: Path

    @property
    def release(self) -> str:
        """Upstream's version: ``1.25.0``."""
        return re.split(r"[+~-]", self.version)[0]

    @property
    def mpy_cross(self) -> Path:
        return self.tree / "mpy-cross" / "build" / "mpy-cross"


def source_of(suite: str) -> Source:
    """The source that ``suite`` of Debian has; downloaded once, then from the cache for good.

    Raises Unavailable when it cannot be had: no Debian mirror, a key that is missing, a suite without the package.
    """
    folder = cache_folder() / "sources"
    folder.mkdir(parents=True, exist_ok=True)
    kept = folder / suite
    with FileLock(folder / f"{suite}.lock"):
        if not (kept / "version").exists():
            require(("apt-get", "dpkg-source", "make", "gcc"))
            with tempfile.TemporaryDirectory(dir=folder, prefix=f".{suite}-") as name:
                making = Path(name) / "made"
                making.mkdir()
                version = unpack(PACKAGE, suite, making, Path(name))
                run(("make", "-C", making / "tree" / "mpy-cross", "-j2", "COPT=-O1"), "building mpy-cross", timeout=600)
                (making / "version").write_text(version)
                shutil.rmtree(kept, ignore_errors=True)
                making.rename(kept)
    return Source(suite, (kept / "version").read_text().strip(), kept / "tree")


def mirror() -> str:
    """The URI of the Debian archive in this machine's apt configuration. Raises Unavailable without one."""
    require(("apt-get",))
    form = "$(LABEL) $(REPO_URI)"
    said = run(
        ("apt-get", "indextargets", "--format", form, "Created-By: Packages"), "apt-get indextargets", timeout=60
    )
    for line in said.splitlines():
        label, _, uri = line.rpartition(" ")
        if label == "Debian":
            return uri
    raise Unavailable("this machine's apt knows no Debian archive (on Debian: run apt-get update first)")


def unpack(package: str, suite: str, into: Path, scratch: Path) -> str:
    """Download and unpack the source of Debian's ``package`` to ``into``/tree; its version.

    Raises Unavailable when it cannot be had.
    """
    lists, cache, files = (scratch / name for name in ("lists", "cache", "files"))
    for made in (lists / "partial", cache / "archives" / "partial", files):
        made.mkdir(parents=True)
    sources = scratch / "sources.list"
    signed = f"[signed-by={KEYRING}] " if KEYRING.exists() else ""
    sources.write_text(f"deb-src {signed}{mirror()} {suite} main\n")
    settings = {
        "Dir::Etc::SourceList": sources,
        "Dir::Etc::SourceParts": "/dev/null",
        "Dir::State::Lists": lists,
        "Dir::Cache": cache,
        "APT::Sandbox::User": "root",
        "APT::Update::Error-Mode": "any",
    }
    options = [part for key, value in settings.items() for part in ("-o", f"{key}={value}")]
    run(("apt-get", *options, "update"), f"apt-get update for {suite}", timeout=300)
    fetch = ("apt-get", *options, "source", "--download-only", package)
    run(fetch, f"apt-get source {package} from {suite}", timeout=300, cwd=files)
    described = sorted(files.glob("*.dsc"))
    if len(described) != 1:
        raise Unavailable(f"expected one .dsc file of {package} from {suite}; came {[file.name for file in described]}")
    found = re.search(r"^Version: ([A-Za-z0-9.+~-]+)$", described[0].read_text("utf-8"), re.MULTILINE)
    if found is None:
        raise Unavailable(f"{described[0].name} names no version")
    # --no-check: that the .dsc is the archive's, apt has checked; its maintainer's own key need not be here.
    run(("dpkg-source", "--no-check", "-x", described[0], into / "tree"), "dpkg-source", timeout=300)
    return found[1]
