"""The shared region: layout, sharing between processes, sparseness, refusal of foreign memory."""

from __future__ import annotations

import mmap
import os
import struct
import subprocess
import sys

import pytest

from lbcore.state.counters import ERROR_NAMES
from lbcore.state.region import Region


def in_child(region: Region, code: str) -> str:
    """Run `code` in a new process in which `region` is attached; its standard output."""
    os.set_inheritable(region.fd, True)
    script = f"from lbcore.state.region import Region\nregion = Region.attach({region.fd})\n{code}"
    done = subprocess.run(
        [sys.executable, "-c", script], pass_fds=[region.fd], capture_output=True, text=True, timeout=30, check=True
    )
    return done.stdout.strip()


def resident_kib(region: Region) -> int:
    return os.fstat(region.fd).st_blocks // 2


def test_region_created_is_empty_and_knows_its_sizes() -> None:
    region = Region.create(3, services=10, servers=20)
    assert (region.workers, region.services, region.servers) == (3, 10, 20)
    assert region.generation == 0
    assert region.sequence(9) == 0
    assert region.server_counters(19).requests == 0
    assert region.entry_point_counters(63).errors == dict.fromkeys(ERROR_NAMES, 0)


def test_region_default_size_costs_only_what_is_used() -> None:
    region = Region.create(64)
    for slot in range(100):
        region.reset_server(slot)
        region.reset_service(slot)
    for worker in range(64):
        region.clear_worker(worker)
    assert os.fstat(region.fd).st_size > 500 << 20
    # Pages of cells that all workers share, and what each worker has of its own.
    assert resident_kib(region) < 64 * 64


def test_region_attached_in_another_process_shares_cells() -> None:
    region = Region.create(2, services=8, servers=8)
    region.reset_server(3)
    region.generation = 7
    out = in_child(
        region, "region.set_up(3, False); print(region.generation, region.take_sequence(5, 4), region.workers)"
    )
    assert out == "7 0 2"
    assert not region.is_up(3)
    assert region.sequence(5) == 4


def test_region_sequence_taken_by_many_processes_is_exact() -> None:
    region = Region.create(2, services=4, servers=4)
    os.set_inheritable(region.fd, True)
    script = (
        "from lbcore.state.region import Region\n"
        f"region = Region.attach({region.fd})\n"
        "for _ in range(20000): region.take_sequence(1)\n"
    )
    children = [subprocess.Popen([sys.executable, "-c", script], pass_fds=[region.fd]) for _ in range(3)]
    assert [child.wait(timeout=60) for child in children] == [0, 0, 0]
    assert region.sequence(1) == 60000


def test_region_set_up_distinguishes_a_change_from_a_repetition() -> None:
    region = Region.create(1, services=1, servers=1)
    region.reset_server(0)
    assert region.is_up(0)
    assert region.set_up(0, False)
    assert not region.set_up(0, False)
    assert region.set_up(0, True)


def test_region_reset_server_counts_generations_and_comes_up() -> None:
    region = Region.create(1, services=1, servers=4)
    region.reset_server(2)
    assert region.server_generation(2) == 0
    region.set_up(2, False)
    region.reset_server(2)
    assert region.server_generation(2) == 1
    assert region.is_up(2)


def test_region_clear_worker_keeps_totals_and_drops_what_was_under_way() -> None:
    region = Region.create(2, services=1, servers=4)
    for slot in range(4):
        region.reset_server(slot)
    with mmap.mmap(region.fd, 0) as raw:
        cells = 4096 + 64 + 4 * 192
        stats = cells + 2 * 36992
        for worker in range(2):
            # accepted, open_connections of entry point 1; requests, in_flight of server 2.
            struct.pack_into("<QQ", raw, cells + worker * 36992 + 128 + 576, 9, 4)
            struct.pack_into("<QQ", raw, stats + (worker * 4 + 2) * 384, 11, 3)
    region.beat(0)
    assert region.heartbeat_ns(0) > 0
    region.clear_worker(0)
    assert region.heartbeat_ns(0) == 0
    assert (region.server_counters(2).requests, region.server_in_flight(2)) == (22, 3)
    both = region.entry_point_counters(1)
    assert (both.accepted, both.open_connections) == (18, 4)
    assert region.entry_point_counters(1, worker=0).open_connections == 0
    assert region.entry_point_counters(1, worker=1).open_connections == 4


@pytest.mark.parametrize("call", ["service", "server", "worker", "entry point"])
def test_region_slot_out_of_range_is_refused(call: str) -> None:
    region = Region.create(1, services=2, servers=3)
    calls = {
        "service": lambda: region.sequence(2),
        "server": lambda: region.is_up(3),
        "worker": lambda: region.beat(1),
        "entry point": lambda: region.entry_point_counters(64),
    }
    with pytest.raises(IndexError, match=call):
        calls[call]()


@pytest.mark.parametrize(("workers", "services", "servers"), [(0, 1, 1), (1, 0, 1), (1, 1, 1 << 21), (5000, 1, 1)])
def test_region_size_out_of_range_is_refused(workers: int, services: int, servers: int) -> None:
    with pytest.raises(ValueError, match="must be between"):
        Region.create(workers, services, servers)


def test_region_attach_to_foreign_memory_is_refused_and_leaves_the_descriptor() -> None:
    fd = os.memfd_create("foreign")
    try:
        with pytest.raises(ValueError, match="not a shared region"):
            Region.attach(fd)
        os.ftruncate(fd, 1 << 20)
        with pytest.raises(ValueError, match="magic"):
            Region.attach(fd)
        os.fstat(fd)
    finally:
        os.close(fd)


@pytest.mark.parametrize(("offset", "problem"), [(8, "layout"), (12, "layout"), (24, "header says")])
def test_region_attach_to_another_build_is_refused(offset: int, problem: str) -> None:
    region = Region.create(1, services=1, servers=1)
    with mmap.mmap(region.fd, 0) as raw:
        raw[offset] ^= 1
        with pytest.raises(ValueError, match=problem):
            Region.attach(region.fd)


def test_region_cannot_be_truncated_under_a_mapping() -> None:
    region = Region.create(1, services=1, servers=1)
    with pytest.raises(PermissionError):
        os.ftruncate(region.fd, 0)
