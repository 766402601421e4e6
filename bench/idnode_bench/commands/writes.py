"""What the commands that write share: a node over a complete folder, and reading back what was acknowledged."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from idnode.adapters import Adapters
from idnode.client.errors import ClientError
from idnode.client.resolver import Resolver
from idnode_bench.lanes import Watch, run_async
from idnode_bench.load.health import judged
from idnode_bench.population.factory import Population
from idnode_bench.population.filling import Holding, fill, read_holding
from idnode_bench.results import Run
from idnode_bench.targets.addresses import Target
from idnode_bench.targets.writing import Book, same_but_for_time
from idnode_protocol.handle import to_text
from idnode_protocol.value import HandleValue

SAMPLE: Final = 200
"""Acknowledged registrations read back after each run."""


@dataclass(frozen=True, slots=True)
class Ground:
    """A filled folder to write into."""

    data: Path
    holding: Holding

    @property
    def population(self) -> Population:
        return self.holding.population


@contextmanager
def ground(adapters: Adapters, data: Path | None, wanted: Holding, watch: Watch) -> Iterator[Ground]:
    """The given folder, or one filled here with ``wanted`` that goes away afterwards. Raises :class:`BenchError`."""
    if data is not None:
        yield Ground(data, read_holding(adapters, data))
        return
    folder = adapters.disk.temporary_folder("idnode-bench-")
    try:
        watch(f"filling {wanted.stored:,} records")
        fill(adapters, folder, wanted, durable=False)
        yield Ground(folder, wanted)
    finally:
        adapters.disk.remove_tree(folder)


ReadBack = Callable[[list[int]], dict[int, tuple[HandleValue, ...] | None]]
"""What the server now holds under each number; None = nothing."""


def by_resolver(adapters: Adapters, target: Target, book: Book) -> ReadBack:
    """Reading by TCP, as any client does."""

    async def read(numbers: list[int]) -> dict[int, tuple[HandleValue, ...] | None]:
        found: dict[int, tuple[HandleValue, ...] | None] = {}
        async with Resolver(f"{target.host}:{target.port}", adapters=adapters, transports=("tcp",)) as resolver:
            for number in numbers:
                try:
                    found[number] = (await resolver.resolve(to_text(book.record(number).handle))).values
                except ClientError:
                    found[number] = None
        return found

    return lambda numbers: run_async(lambda: read(numbers))


def verified(run: Run, book: Book, read: ReadBack, seed: int) -> Run:
    """The run with what reading back a sample found; what was acknowledged and is not there is a fault."""
    sample = book.sample(SAMPLE, seed)
    found = read(sample)
    gone = sum(values is None or not same_but_for_time(values, book.values(number)) for number, values in found.items())
    made = judged(replace(run, details={**run.details, "read_back": {"sampled": len(found), "gone": gone}}))
    if gone:
        fault = f"{gone} of {len(found)} acknowledged registrations were not read back as they were written"
        made = replace(made, faults=(*made.faults, fault))
    return made
