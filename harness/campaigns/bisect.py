"""What ``harness bisect`` does: a run of each image tried, until the first bad one is known."""

from __future__ import annotations

from dataclasses import asdict

from rich.text import Text

from harness.campaigns.image_bisect import Found, Tried, bisect, most_runs
from harness.campaigns.image_runs import ImageRuns
from harness.errors import UsageError
from harness.results.history_table import figure
from harness.results.report.json_report import write_json
from harness.shown import Terminal, plain


def bisect_images(
    images: tuple[str, ...],
    board: str,
    measurement: str,
    suite: str,
    repeats: int,
    bench: str,
    store: str,
    json_file: str,
) -> None:
    """The first of IMAGES at which a figure changed. The first image must be good, the last one bad.

    IMAGES are firmware files in their order; for a virtual board, names of variants ('healthy' for none). Each try
    is a run of its own and stays in the store.
    """
    console = Terminal(stderr=json_file == "-")
    runs = ImageRuns(bench, board, images, measurement, suite, store)
    console.print(Text(f"bench {runs.bench}: {board}"), soft_wrap=True)
    console.print(Text(f"{len(images)} images, {most_runs(len(images), repeats)} runs at most", style="dim"))

    def watch(tried: Tried) -> None:
        figures = ", ".join(figure(value) for value in tried.figures) or plain(tried.problem, 100)
        console.print(Text(f"{images[tried.index]}: {tried.state.value} ({figures})"), soft_wrap=True)

    if len(images) < 2:
        raise UsageError("a bisection needs two images at least", hint="give a good one first and a bad one last")
    culprit = bisect(len(images), runs.measure, runs.effect, repeats=repeats, watch=watch)
    console.print(Text(_found_words(culprit, images), style="bold"), soft_wrap=True)
    if json_file:
        tried = [{**asdict(t), "state": t.state.value, "image": images[t.index]} for t in culprit.tried]
        ends = {"last_good": images[culprit.last_good], "first_bad": images[culprit.first_bad]}
        write_json(json_file, {**ends, "good": culprit.good, "bad": culprit.bad, "tried": tried})


def _found_words(culprit: Found, images: tuple[str, ...]) -> str:
    words = f"first bad: {images[culprit.first_bad]} ({figure(culprit.good)} → {figure(culprit.bad)})"
    if culprit.between:
        names = ", ".join(images[i] for i in culprit.between)
        words += f", or one of these, which could not be judged: {names}"
    return f"{words}; last good: {images[culprit.last_good]}"
