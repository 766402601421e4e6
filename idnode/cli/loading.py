"""``load``: a file of records into a store that no node is using."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Final

import typer

from idnode.adapters import Adapters, real_adapters
from idnode.adapters.clock import Clock
from idnode.cli.exits import Exit, errors_as_lines, fail, show
from idnode.json_lines import RowReader, read_lines
from idnode_registry.bulk.loading import MEMORY_OCTETS, BulkLoad, Progress
from idnode_registry.bulk.work import WorkFolder
from idnode_registry.engines.opening import ENGINES, engine_of, open_folder
from idnode_registry.registry import Registry

WORK_NAME: Final = "idnode-load"
MIB: Final = 1024 * 1024
SHOWN_EVERY_S: Final = 0.2


class Meter:
    """One line on a terminal, kept up to date; nothing in a pipe."""

    def __init__(self, clock: Clock, octets: int) -> None:
        self._clock = clock
        self._octets = octets
        self._passed = 0
        self._step = ""
        self._began = self._shown = clock.monotonic()
        self._first = 0
        self._is_terminal = sys.stderr.isatty()

    def passed(self, octets: int) -> None:
        """How much of the file is read."""
        self._passed = octets

    def report(self, progress: Progress) -> None:
        """Show how far a step is, how fast, and how long it will take."""
        now = self._clock.monotonic()
        if not self._is_terminal:
            return
        if progress.step != self._step:
            self._step, self._began, self._first = progress.step, now, progress.done
        elif now - self._shown < SHOWN_EVERY_S:
            return
        self._shown = now
        rate = (progress.done - self._first) / max(now - self._began, 1e-9)
        share = self._passed / self._octets if progress.total is None else progress.done / max(progress.total, 1)
        left = f", {(now - self._began) * (1 - share) / share:,.0f} s left" if share > 0 else ""
        print(f"\r{progress.step}: {progress.done:,} records, {rate:,.0f}/s{left}\033[K", end="", file=sys.stderr)

    def end(self) -> None:
        """Leave the line."""
        if self._is_terminal and self._step:
            print(file=sys.stderr)


def store_folder(adapters: Adapters, data: Path) -> Path:
    """The folder of the store under a ``--data`` folder, or the folder itself when it is one of a store."""
    return data if engine_of(adapters.disk, str(data)) is not None else data / "store"


def load(
    file: Annotated[Path, typer.Argument(help="One JSON object per line: handle and values.")],
    data: Annotated[Path, typer.Option(help="The folder of --data, or a store.folder; made if it does not exist.")],
    work: Annotated[Path | None, typer.Option(help="Folder for work files; inside the store's by default.")] = None,
    memory: Annotated[int, typer.Option(min=1, help="Memory for sorting, in MiB.")] = MEMORY_OCTETS // MIB,
    engine: Annotated[str | None, typer.Option(help=f"The engine of a new store: {', '.join(ENGINES)}.")] = None,
    home: Annotated[bool, typer.Option("--home", help="Home prefixes the store does not answer for yet.")] = False,
    skip_existing: Annotated[
        bool, typer.Option("--skip-existing", help="Leave out what is stored, and all but the first of equal handles.")
    ] = False,
    restart: Annotated[bool, typer.Option("--restart", help="Forget an unfinished load first.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Load records in bulk into a store that no node is using; the same command goes on after it was cut off.

    Records may come in any order. They are sorted first; nothing is stored if a handle stands twice or is stored.
    """
    with errors_as_lines():
        adapters = real_adapters()
        if engine is not None and engine not in ENGINES:
            fail(f"there is no engine {engine}: take {' or '.join(ENGINES)}", Exit.USAGE)
        facts = file.stat()
        folder = store_folder(adapters, data)
        store = open_folder(str(folder), "fold-all", disk=adapters.disk, engine=engine)
        meter = Meter(adapters.clock, facts.st_size)
        began = adapters.clock.monotonic()
        try:
            place = str((work or folder) / WORK_NAME)
            if restart:
                WorkFolder(adapters.disk, place).discard()
            label = f"{file.resolve()} of {facts.st_size} octets, changed at {facts.st_mtime_ns} ns"
            job = BulkLoad(
                store,
                adapters.disk,
                place,
                label,
                now=adapters.clock.now(),
                memory_octets=memory * MIB,
                skip_existing=skip_existing,
                report=meter.report,
            )
            reader = RowReader(Registry(store, rng=adapters.rng.octets), file, job.now, homes=home)
            came_to = job.run(reader.rows(read_lines(adapters.disk, file, meter.passed)))
        except KeyboardInterrupt:
            fail("stopped; the same command goes on from here", Exit.REFUSED)
        finally:
            meter.end()
            store.close()
        seconds = adapters.clock.monotonic() - began
        counts = {"loaded": came_to.rows, "left_out": came_to.left_out, "entries": came_to.entries}
        result = {**counts, "seconds": round(seconds, 3), "resumed": job.is_resumed}
        rest = f", {came_to.left_out} left out" if came_to.left_out else ""
        show(result, f"loaded {came_to.rows} records{rest} in {seconds:.1f} s", as_json=as_json)
        adapters.close()
