"""A run of one board with one firmware image after another, for ``harness bisect``."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

import yaml

from harness.campaigns.bench_run import RunRequest, run_bench, suite_paths
from harness.errors import BenchFault, UsageError
from harness.inventory.load import load_bench
from harness.inventory.selection import bench_file
from harness.judging.compare import Measurement
from harness.kinds import Effect, Value, stored
from harness.paths import state_dir
from harness.results.opening import where
from harness.results.run_record import RunRecord
from harness.results.store import Store
from harness.virtual.virtual_firmware import require_variant

#: The name of a virtual board's firmware without a defect.
HEALTHY = "healthy"


class ImageRuns:
    """Raises UsageError when the board, the suite, an image or a variant is not there."""

    def __init__(self, bench: str, board: str, images: Sequence[str], measurement: str, suite: str, store: str) -> None:
        self._file = bench_file(bench)
        entry = load_bench(self._file).board(board)
        if entry is None:
            raise UsageError(f"there is no board {board!r} in {self._file}", hint="harness boards lists them")
        self._board = entry
        #: The images are variants of the harness's own build, by name; otherwise they are files.
        self._by_name = entry.firmware is not None and entry.firmware.build is not None
        self._images = [image if self._by_name else str(Path(image).resolve()) for image in images]
        self._measurement = measurement
        self._suites = (suite,) if suite else ()
        suite_paths(self._suites)
        self._store = where(store) if store else state_dir(self._file) / "results.sqlite"
        for image in self._images:
            if self._by_name:
                require_variant("" if image == HEALTHY else image)
            elif not Path(image).is_file():
                raise UsageError(f"there is no firmware image {image!r}", hint="give the images in their order")
        #: The kind of the figure, once it has been measured.
        self.kind = "state"

    @property
    def bench(self) -> Path:
        return self._file

    def effect(self) -> Effect:
        """How large a change of the figure is one, once it has been measured."""
        return stored(self.kind).history or Effect()

    def measure(self, index: int) -> Value:
        """Flash the image, run the suites, give the figure. Raises BenchFault when the run did not measure it."""
        image = self._images[index]
        if self._by_name:
            return self._figure(self._run(self._file, "" if image == HEALTHY else image), image)
        with tempfile.NamedTemporaryFile(
            "w", dir=self._file.resolve().parent, prefix=".bisect-", suffix=".yaml"
        ) as own:
            # Beside the bench file, so that locks, state and relative paths are the bench's.
            yaml.safe_dump(self._with_image(image), own)
            own.flush()
            return self._figure(self._run(Path(own.name), ""), image)

    def _with_image(self, image: str) -> object:
        content = yaml.safe_load(self._file.read_text("utf-8"))
        for board in content["boards"]:
            if board["id"] == self._board.id:
                board["firmware"] = {"path": image}
        return content

    def _run(self, file: Path, variant: str) -> RunRecord:
        board = load_bench(file).board(self._board.id)
        assert board is not None
        request = RunRequest(
            bench_file=file,
            boards=[board],
            state=state_dir(self._file),
            store=self._store,
            suites=self._suites,
            variant=variant,
            jobs=1,
            command=f"harness bisect {self._board.id}",
        )
        number = run_bench(request, lambda _event: None)
        store = Store(self._store)
        record = store.load_run(number)
        store.close()
        return record

    def _figure(self, run: RunRecord, image: str) -> Value:
        (board,) = run.boards
        figures: list[Measurement] = [
            m
            for scenario in board.scenarios
            for m in scenario.measurements
            if self._measurement in (m.name, f"{scenario.suite}: {scenario.name}: {m.name}")
        ]
        if not figures:
            names = sorted({m.name for s in board.scenarios for m in s.measurements})
            why = board.problem or f"it measured {', '.join(names[:8]) or 'nothing'}"
            raise BenchFault(f"run {run.id} with {image} did not measure {self._measurement!r}: {why}")
        last = figures[-1]
        if last.measured is None:
            raise BenchFault(f"run {run.id} with {image} skipped {self._measurement!r}: {last.reason}")
        self.kind = last.kind
        return last.measured
