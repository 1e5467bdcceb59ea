"""Shared counts that are off, because a worker was killed between two writes, are corrected."""

from __future__ import annotations

from lbcore.health.audit import SURE, InFlightAudit
from lbcore.state.budget import MemoryBudget
from lbcore.state.region import Region


def test_memory_of_bodies_without_an_owner_is_given_back() -> None:
    region = Region.create(2, body_memory=1000)
    budget, audit = MemoryBudget(region, 0), InFlightAudit(region)
    assert budget.reserve(300)
    for drift, refused in ((600, 450), (-500, 100)):  # below 0, the count is a very great number
        region.correct_body_memory(-drift)
        assert not budget.reserve(refused)
        for _ in range(SURE):
            assert region.body_memory_drift() == drift
            audit._look()
        assert (region.body_memory_drift(), region.body_memory) == (0, 300)
        assert budget.reserve(refused)
        budget.release(refused)


def test_memory_that_comes_and_goes_is_no_drift() -> None:
    region = Region.create(1, body_memory=1000)
    budget, audit = MemoryBudget(region, 0), InFlightAudit(region)
    for _ in range(2 * SURE):
        assert budget.reserve(100)
        audit._look()
    assert region.body_memory == 600
