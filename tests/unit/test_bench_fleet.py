"""The simulation of fleets: what it says in the documents is what was simulated, and it still runs."""

from __future__ import annotations

import json

from bench import fleet


def test_the_figures_in_the_document_are_those_of_the_record() -> None:
    record = json.loads(fleet.RECORD.read_text())
    document = (fleet.FOLDER.parent / "fleet.md").read_text()
    assert fleet.written(document, fleet.figures(record)) == document
    for name, text in fleet.pictures(record).items():
        assert (fleet.FOLDER / f"{name}.svg").read_text() == text
        assert f"fleet/{name}.svg" in document


def test_the_same_seed_gives_the_same_figures() -> None:
    found = [fleet.waits("two choices", 5, 20, 400) for _ in range(2)]
    assert found[0] == found[1] and found[0][0] > 1


def test_hints_and_subsets_lessen_failures() -> None:
    alone = fleet.failing(50, 60, 0, False, 6000)
    assert fleet.failing(50, 60, 0, True, 6000) < alone
    assert fleet.failing(50, 60, 10, True, 6000) < alone
