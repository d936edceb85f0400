"""Take the pictures of docs/pictures/: ``python docs/make_screenshots.py [FOLDER]``; needs chromium on PATH.

Runs nightly rounds and a qualification on virtual boards in a folder of its own, the last round with a seeded defect,
and photographs the pages that come out of it; some minutes. A FOLDER is kept, and what is in it not made again.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from harness.errors import UsageError

HERE = Path(__file__).resolve().parent
PICTURES = HERE / "pictures"
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
#: Width and height in CSS pixels.
PHONE, DESKTOP, WIDE, NARROW = (390, 740), (1100, 800), (1400, 900), (400, 800)
LARGEST = 150_000
SUITES = ("calibration", "reload")
BENCH = """
boards:
  - {id: vesp32, chip: esp32, runtime: micropython, virtual: {}, firmware: {build: virtual}}
  - {id: vesp8266, chip: esp8266, runtime: micropython, virtual: {}, firmware: {build: virtual}}
"""
PLAN = "rounds: 2\nsuites: [calibration, reload]\nsoak_minutes: 0\n"
#: Frames as wide as asked for: chromium's own windows have a least width, which is more than a phone's.
HEAD = '<!doctype html><body style="margin:0;overflow:hidden;white-space:nowrap;background:#888">'
FRAME = '<iframe src="{page}" style="border:0;width:{width}px;height:{height}px;margin-right:{gap}px"></iframe>'
GAP = 20


def harness(folder: Path, *arguments: str) -> None:
    """A failed run is wanted here; only a command that makes no report is an error."""
    environment = {**os.environ, "PYTHONPATH": str(HERE.parent)}
    done = subprocess.run([sys.executable, "-m", "harness", *arguments], cwd=folder, env=environment, check=False)
    if done.returncode not in (0, 1):
        raise SystemExit(f"harness {' '.join(arguments)} ended with {done.returncode}")


def photograph(browser: str, picture: Path, size: tuple[int, int], *pages: Path, at: str = "") -> None:
    """``pages`` side by side, each in a window of ``size``, scrolled to the element ``at``."""
    width, height = size
    gap = GAP if len(pages) > 1 else 0
    frames = "".join(FRAME.format(page=f"{page.as_uri()}{at}", width=width, height=height, gap=gap) for page in pages)
    frame = pages[0].with_suffix(".frame.html")
    frame.write_text(f"{HEAD}{frames}</body>", "utf-8")
    command = [browser, "--headless", "--disable-gpu", "--hide-scrollbars"]
    command += ["--run-all-compositor-stages-before-draw", "--virtual-time-budget=5000"]  # else parts stay blank
    if os.geteuid() == 0:
        command.append("--no-sandbox")  # chromium refuses root otherwise; the pages are our own
    whole = len(pages) * (width + gap) - gap
    command += [f"--window-size={whole},{height}", f"--screenshot={picture}", frame.as_uri()]
    subprocess.run(command, check=True, capture_output=True, timeout=120)
    print(f"{picture.relative_to(HERE.parent)}: {picture.stat().st_size} bytes")
    if picture.stat().st_size > LARGEST:
        raise SystemExit(f"{picture} is larger than {LARGEST} bytes")


def opened(page: Path, fold: str, name: str) -> Path:
    """A copy of ``page`` with the first ``fold`` open, and named ``here``."""
    text = page.read_text("utf-8")
    if fold not in text:
        raise SystemExit(f"{page} has no {fold}")
    copy = page.with_name(name)
    copy.write_text(text.replace(fold, fold.replace("<details", "<details open id='here'", 1), 1), "utf-8")
    return copy


def main() -> None:
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        raise SystemExit(UsageError("no chromium on PATH", hint=f"install one of {', '.join(BROWSERS)}"))
    PICTURES.mkdir(exist_ok=True)
    if sys.argv[1:]:
        folder = Path(sys.argv[1]).resolve()
        folder.mkdir(parents=True, exist_ok=True)
        if not (folder / "nightly").exists():
            make_pages(folder)
        photograph_all(browser, folder)
        return
    with tempfile.TemporaryDirectory() as temporary:
        make_pages(Path(temporary))
        photograph_all(browser, Path(temporary))


def make_pages(folder: Path) -> None:
    (folder / "boards.yaml").write_text(BENCH)
    (folder / "plan.yaml").write_text(PLAN)
    for _ in range(3):
        harness(folder, "nightly", *SUITES)
    harness(folder, "qualify", "vesp32", "--plan", "plan.yaml")
    harness(folder, "nightly", *SUITES, "--variant", "leak64")


def photograph_all(browser: str, folder: Path) -> None:
    pages = (folder / "nightly").glob("run-*[0-9].html")
    failed = max(pages, key=lambda page: int(page.stem.removeprefix("run-")))
    index, certificate = folder / "nightly" / "index.html", folder / "vesp32.certificate.html"
    wire = opened(failed, "<details class='wire'>", "transcript.html")
    trends = opened(failed, "<details open>", "trends.html")
    lab(browser, folder)
    photograph(browser, PICTURES / "phone.png", PHONE, failed, index)
    photograph(browser, PICTURES / "run-transcript.png", DESKTOP, wire)
    photograph(browser, PICTURES / "run-trends.png", DESKTOP, trends, at="#here")
    photograph(browser, PICTURES / "index.png", DESKTOP, index)
    photograph(browser, PICTURES / "certificate.png", DESKTOP, certificate)


def lab(browser: str, folder: Path) -> None:
    """The pages of ``harness serve``, written to files: a frame of a file shows no page of a server's."""
    from harness.results.series import histories
    from harness.results.store import Store
    from harness.serving.app import Served
    from harness.serving.pages import bench_page, figure_page

    state = folder / ".harness"
    served = Served(folder / "boards.yaml", state, state / "results.sqlite", folder)
    store = Store(served.store)
    stepped = next(h for h in histories(store, "vesp32") if h.judge().steps)
    pages = {
        "bench": bench_page(served),
        "figure": figure_page(served, store, f"{stepped.suite}/{stepped.scenario}/{stepped.name}"),
    }
    store.close()
    for name, text in pages.items():
        page = folder / f"lab-{name}.html"
        page.write_text(text, "utf-8")
        photograph(browser, PICTURES / f"lab-{name}.png", WIDE, page)
    photograph(browser, PICTURES / "lab-phone.png", NARROW, *(folder / f"lab-{name}.html" for name in pages))


if __name__ == "__main__":
    main()
