"""What a run's file says of the records that were there."""

from __future__ import annotations

from idnode_bench.load.keys import KeyPlan
from idnode_bench.population.filling import Holding
from idnode_bench.results import PopulationFacts


def facts_of(holding: Holding, plan: KeyPlan | str) -> PopulationFacts:
    """Stored one by one and registered by ranges, never in one sum."""
    population = holding.population
    return PopulationFacts(
        records=holding.stored,
        kind=population.kind,
        seed=population.seed,
        distribution=str(plan),
        range_registered=holding.range_registered,
        miss_ratio=plan.miss_ratio if isinstance(plan, KeyPlan) else 0.0,
    )
