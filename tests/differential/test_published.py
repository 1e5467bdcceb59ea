"""Whole set-ups as people publish them, in real Traefik and in lbcore: the same objects run, with the same answers."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.differential.compared import ask, objects, shown, split
from tests.support.command import Command
from tests.support.published import Place, SetUp, start_of
from tests.support.surroundings import World, cluster, containers, swarm
from tests.support.traefik import NAMES, TRAEFIK, Process

SET_UPS = sorted((Path(__file__).parent / "published").glob("*.txt"))
LONGEST_S, STEADY_S = 60.0, 2.0  # of a start; what does not change for so long is all that there is


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    found = World(tmp_path_factory.mktemp("world"))
    with found.stack:
        yield found


def begin(name: str, set_up: SetUp, place: Place) -> Process:
    how = start_of(set_up, place)
    environ = {key: value for key, value in os.environ.items() if not key.startswith("TRAEFIK_")} | how.environ
    with (place.folder / "output").open("wb") as log:
        if name == "lbcore":
            arguments = ["run", "--workers", "1", *(how.flags if how.file is None else ["--config", str(how.file)])]
            return Command(arguments, cwd=how.cwd, env=environ, stdout=log, stderr=log)
        command = [str(TRAEFIK), *(how.flags if how.file is None else [f"--configFile={how.file}"])]
        return subprocess.Popen(command, cwd=how.cwd, env=environ, stdout=log, stderr=log)


def settled(processes: dict[str, Process], places: dict[str, Place]) -> dict[str, dict[str, Any]]:
    """The objects of both, once both have the same ones, or no more come."""
    end, before, since = time.monotonic() + LONGEST_S, {}, time.monotonic()
    while time.monotonic() < end:
        for name, process in processes.items():
            assert process.poll() is None, f"{name} has ended: {(places[name].folder / 'output').read_text()}"
        found = {name: objects(places[name].api) for name in processes}
        names = {name: sorted(things) for name, things in found.items()}
        steady_s = 0.2 if names["traefik"] == names["lbcore"] else STEADY_S
        if names != before:
            before, since = names, time.monotonic()
        elif all(names.values()) and time.monotonic() - since > steady_s:
            return found
        time.sleep(0.1)
    raise AssertionError(f"there is no end of changes, or nothing: {before}")


@pytest.mark.parametrize("file", SET_UPS, ids=lambda file: file.stem)
def test_the_same_runs_and_answers(world: World, tmp_path: Path, file: Path) -> None:
    set_up = SetUp(file)
    places: dict[str, Place] = {}
    processes: dict[str, Process] = {}
    with contextlib.ExitStack() as stack:
        for name in NAMES:
            endpoints: dict[str, str] = {}
            place = places[name] = Place(tmp_path / name, world.plain.port, world.secure.port, endpoints)
            place.folder.mkdir()
            if "compose.yaml" in set_up.parts:
                endpoints["docker"] = world.engine.url
            if "stack.yml" in set_up.parts:
                endpoints["swarm"] = swarm(set_up, stack)
            if "cluster.yaml" in set_up.parts:
                endpoints |= cluster(set_up, place, stack)
        if "compose.yaml" in set_up.parts:
            stack.enter_context(containers(world, set_up, places["traefik"]))
        for name in NAMES:
            processes[name] = begin(name, set_up, places[name])
            stack.callback(processes[name].wait, 30)
            stack.callback(processes[name].send_signal, signal.SIGTERM)
        found = settled(processes, places)
        theirs, ours = found["traefik"], found["lbcore"]
        several = split(theirs, ours, list(places["lbcore"].ports))
        more = set(set_up.lines("more"))
        assert theirs.keys() - ours.keys() - several == set()
        assert ours.keys() - theirs.keys() - several == more
        for name in (theirs.keys() & ours.keys()) - several:
            assert shown(ours[name]) == shown(theirs[name]), name
        for line in set_up.lines("ask"):
            assert ask(line, places["lbcore"]) == ask(line, places["traefik"]), line
