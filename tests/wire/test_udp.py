"""UDP: datagrams between clients and servers, by real sockets; each arrives, or its loss is counted."""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
import socket
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from lbcore.config.static import StaticConfig
from lbcore.state.counters import EntryPointCounters
from tests.support.instance import eventually
from tests.support.ports import free_port
from tests.support.udp import UdpClient, UdpServer, clients, echo, servers, udp
from tests.support.wire import TIMEOUT_S, Edge, edge

LONG = "1h"  # of sessions that are not meant to end


@contextlib.contextmanager
def udp_edge(
    dynamic: Mapping[str, Any], address: str = "127.0.0.1:0/udp", timeout: str = LONG, **settings: Any
) -> Iterator[Edge]:
    point = {"address": address, "udp": {"timeout": timeout, **settings}}
    point["transport"] = {"lifeCycle": {"graceTimeOut": 0}}  # sessions do not hold up the end of a test
    with edge(dynamic, {"udp": point}) as lb:
        yield lb


def port_of(lb: Edge) -> int:
    address = lb.proxy.addresses["udp"]
    assert isinstance(address, tuple)
    return address[1]


@contextlib.contextmanager
def client_of(lb: Edge, **options: Any) -> Iterator[UdpClient]:
    client = UdpClient(port_of(lb), **options)
    try:
        yield client
    finally:
        client.close()


def counters(lb: Edge) -> EntryPointCounters:
    return lb.proxy._region.entry_point_counters(0)


def lost(lb: Edge) -> dict[str, int]:
    """Datagrams of clients that were lost, by cause."""
    return {cause: count for cause, count in counters(lb).datagrams_lost_in.items() if count}


def name_of(answer: bytes) -> str:
    return answer.partition(b" ")[0].decode()


def test_sessions_are_spread_by_weight_and_stay_with_their_server() -> None:
    with contextlib.ExitStack() as stack:
        a, b = stack.enter_context(servers("a", "b"))
        lb = stack.enter_context(udp_edge(udp({a.address: 3, b.address: 1})))
        all = stack.enter_context(clients(port_of(lb), 16))
        first = [client.ask(b"1") for client in all]
        assert Counter(map(name_of, first)) == {"a": 12, "b": 4}
        for number in range(2, 5):
            again = [client.ask(b"%d" % number) for client in all]
            assert [*map(name_of, again)] == [*map(name_of, first)]
        assert len(a.sources) == 12 and len(b.sources) == 4
        assert lb.open_connections == 16
        found = counters(lb)
        assert (found.datagrams_in, found.datagrams_out, found.accepted) == (64, 64, 16)
        assert lost(lb) == {}


@pytest.mark.parametrize("size", [0, 1, 1472, 8193, 65507])
def test_datagrams_of_all_sizes_come_back_as_they_went(size: int) -> None:
    data = os.urandom(size)
    with servers("a", answer=echo) as (a,), udp_edge(udp([a.address])) as lb, client_of(lb) as client:
        assert client.ask(data) == data
        assert client.ask(b"after") == b"after"
        assert a.seen[0][0] == data


def test_many_datagrams_of_one_client_keep_their_bounds() -> None:
    with servers("a", answer=echo) as (a,), udp_edge(udp([a.address])) as lb, client_of(lb) as client:
        for begin in range(0, 400, 50):
            sent = [b"%d " % number * (number % 20 + 1) for number in range(begin, begin + 50)]
            for data in sent:
                client.send(data)
            assert [client.receive() for _ in sent] == sent
        assert len(a.sources) == 1


def test_a_server_may_send_several_answers_and_unasked_ones() -> None:
    def three(server: UdpServer, data: bytes, client: Any) -> None:
        for number in range(3):
            server.sock.sendto(b"%d" % number, client)

    with servers("a", answer=three) as (a,), udp_edge(udp([a.address])) as lb, client_of(lb) as client:
        client.send(b"go")
        assert [client.receive() for _ in range(3)] == [b"0", b"1", b"2"]
        a.sock.sendto(b"later", a.seen[0][1])
        assert client.receive() == b"later"


def test_a_session_ends_without_traffic_and_its_late_answer_goes_nowhere() -> None:
    def never(server: UdpServer, data: bytes, client: Any) -> None:
        pass

    with servers("a", "b", answer=never) as (a, b), udp_edge(udp([a.address, b.address]), timeout="3s") as lb:
        lb.drive()
        with client_of(lb) as client:
            client.send(b"one")
            eventually(lambda: a.seen or b.seen, "the first server has it")
            first, second = (a, b) if a.seen else (b, a)
            late_for = first.seen[0][1]
            lb.drive(2900)
            assert lb.open_connections == 1
            lb.drive(250)
            assert lb.open_connections == 0
            first.sock.sendto(b"late", late_for)
            client.send(b"two")
            second.waits_for(1)
            second.sock.sendto(b"in time", second.seen[0][1])
            assert client.receive() == b"in time"
            assert first.seen == [(b"one", late_for)]


def test_answers_keep_a_session() -> None:
    with servers("a", answer=echo) as (a,), udp_edge(udp([a.address]), timeout="3s") as lb:
        lb.drive()
        with client_of(lb) as client:
            client.ask(b"one")
            for _ in range(4):
                lb.drive(2000)
                a.sock.sendto(b"tick", a.seen[0][1])
                assert client.receive() == b"tick"
            assert lb.open_connections == 1
            assert client.ask(b"two") == b"two"
            assert len(a.sources) == 1


def test_a_server_that_refuses_is_passed_over_with_what_it_was_sent() -> None:
    dead = f"127.0.0.1:{free_port()}"
    with servers("a") as (a,), udp_edge(udp([dead, a.address])) as lb, clients(port_of(lb), 6) as all:
        assert [client.ask(b"%d" % number) for number, client in enumerate(all)] == [b"a %d" % n for n in range(6)]
        assert lost(lb) == {}
        refused = lb.proxy._runtime.slots.servers[f"udp:all@file|{dead}"]
        assert lb.proxy._region.server_counters(refused).connect_errors >= 3
        assert lb.proxy._region.server_counters(refused).in_flight == 0


def test_several_datagrams_at_once_to_a_server_that_refuses_reach_another_one() -> None:
    dead = f"127.0.0.1:{free_port()}"
    with servers("a") as (a,), udp_edge(udp({dead: 1000, a.address: 1})) as lb, client_of(lb) as client:
        for number in range(5):
            client.send(b"%d" % number)
        assert {client.receive() for _ in range(5)} == {b"a %d" % number for number in range(5)}
        assert lost(lb) == {}


def test_without_a_server_that_takes_them_datagrams_are_lost_and_counted() -> None:
    dead = [f"127.0.0.1:{free_port()}" for _ in range(2)]
    with udp_edge(udp(dead)) as lb, client_of(lb) as client:
        client.send(b"one")
        eventually(lambda: lost(lb) == {"refused": 1}, "it is lost")
        assert lb.open_connections == 0
        lb.apply(udp([]))
        client.send(b"two")
        eventually(lambda: lost(lb) == {"refused": 1, "unserved": 1}, "it is lost, too")
        lb.apply({})
        client.send(b"three")
        eventually(lambda: lost(lb) == {"refused": 1, "unserved": 2}, "there is no router")
        assert counters(lb).datagrams_in == 3
        with servers("a") as (a,):
            lb.apply(udp([a.address]))
            assert client.ask(b"four") == b"a four"


def test_a_server_that_goes_away_is_left_by_its_sessions() -> None:
    with servers("a", "b") as (a, b), udp_edge(udp([a.address, b.address])) as lb, clients(port_of(lb), 2) as all:
        assert {name_of(client.ask(b"1")) for client in all} == {"a", "b"}
        a.close()

        def all_at_b() -> bool:
            """What was sent when nobody knew is lost."""
            names = set()
            for client in all:
                client.send(b"2")
                client.sock.settimeout(0.5)
                with contextlib.suppress(TimeoutError):
                    names.add(name_of(client.receive()))
            return names == {"b"}

        eventually(all_at_b, "both sessions are at the other server")


def test_a_name_is_resolved_and_its_addresses_are_tried() -> None:
    # `localhost` is ::1, too, where nobody listens.
    with servers("a") as (a,), udp_edge(udp([f"localhost:{a.port}"])) as lb, clients(port_of(lb), 3) as all:
        for client in all:
            for number in range(3):
                client.send(b"%d" % number)
            assert {client.receive() for _ in range(3)} == {b"a 0", b"a 1", b"a 2"}
        assert lost(lb) == {}


def test_a_name_that_does_not_exist_is_passed_over() -> None:
    with servers("a") as (a,):
        dynamic = udp({"nobody.invalid:53": 100, a.address: 1})
        with udp_edge(dynamic) as lb, clients(port_of(lb), 3) as all:
            assert [client.ask(b"x") for client in all] == [b"a x"] * 3
            lb.apply(udp(["nobody.invalid:53"]))
            all[0].close()
            with client_of(lb) as another:
                another.send(b"lost")
                eventually(lambda: lost(lb) == {"unserved": 1}, "there is no other server")


def test_an_answer_from_another_address_is_not_passed_on() -> None:
    with servers("a", "b") as (a, b), udp_edge(udp([a.address])) as lb, client_of(lb) as client:
        assert client.ask(b"1") == b"a 1"
        b.sock.sendto(b"false", a.seen[0][1])
        assert client.ask(b"2") == b"a 2"


def test_ipv6_on_both_sides() -> None:
    server = UdpServer("six", host="::1")
    try:
        with udp_edge(udp([server.address]), "[::1]:0/udp") as lb, client_of(lb, host="::1") as client:
            assert client.ask(b"x") == b"six x"
            assert client.ask(b"y") == b"six y"
        with udp_edge(udp([server.address]), ":0/udp") as lb:
            with client_of(lb, host="::1") as client:
                assert client.ask(b"x") == b"six x"
            with client_of(lb) as client:
                assert client.ask(b"x") == b"six x"
    finally:
        server.close()


@pytest.mark.parametrize("address", [":0/udp", "0.0.0.0:0/udp"])
def test_answers_leave_from_the_address_to_which_the_client_has_sent(address: str) -> None:
    # A connected client takes nothing from any other one.
    with servers("a") as (a,), udp_edge(udp([a.address]), address) as lb:
        with client_of(lb, host="127.0.0.2") as one, client_of(lb, host="127.0.0.3") as two:
            assert one.ask(b"1") == b"a 1"
            assert two.ask(b"2") == b"a 2"
            assert one.ask(b"3") == b"a 3"


def test_one_client_that_sends_to_two_addresses_has_two_sessions() -> None:
    with servers("a") as (a,), udp_edge(udp([a.address]), ":0/udp") as lb:
        with contextlib.closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as client:
            client.settimeout(TIMEOUT_S)
            for host in ("127.0.0.2", "127.0.0.3"):
                client.sendto(b"x", (host, port_of(lb)))
                assert client.recvfrom(100)[1] == (host, port_of(lb))
            assert lb.open_connections == 2


def test_sessions_are_bounded_and_the_oldest_goes_first() -> None:
    with servers("a") as (a,), udp_edge(udp([a.address]), maxSessions=4) as lb, clients(port_of(lb), 6) as all:
        for client in all:
            client.ask(b"1")
        assert lb.open_connections == 4
        assert counters(lb).sessions_shed == 2
        before = len(a.sources)
        all[5].ask(b"2")
        assert len(a.sources) == before
        all[0].ask(b"2")  # its session was shed
        assert len(a.sources) == before + 1


def test_a_flood_from_false_addresses_drives_out_nobody_who_receives() -> None:
    with servers("a") as (a,), udp_edge(udp([a.address]), maxSessions=8) as lb, clients(port_of(lb), 3) as regular:
        for client in regular:
            assert client.ask(b"1") == b"a 1"
            assert client.ask(b"2") == b"a 2"
        own = set(a.sources)
        with clients(port_of(lb), 100) as flood:
            for client in flood:
                client.send(b"x")
            for client in flood[-3:]:
                client.receive()
            for client in regular:
                assert client.ask(b"3") == b"a 3"
        assert {source for data, source in a.seen if data == b"3"} == own
        assert counters(lb).sessions_shed >= 95
        assert lb.open_connections <= 8
        assert lb.proxy._region.server_counters(0).in_flight <= 8


def test_without_descriptors_sessions_make_room_for_each_other() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with servers("a") as (a,), udp_edge(udp([a.address])) as lb, clients(port_of(lb), 40) as all:
        used = max(map(int, os.listdir("/proc/self/fd")))
        holes = [os.open(os.devnull, os.O_RDONLY)]
        while holes[-1] <= used:
            holes.append(os.open(os.devnull, os.O_RDONLY))
        resource.setrlimit(resource.RLIMIT_NOFILE, (holes[-1] + 8, hard))
        try:
            for client in all:
                assert client.ask(b"x") == b"a x"
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
            for hole in holes:
                os.close(hole)
        assert counters(lb).sessions_shed > 0
        assert lost(lb) == {}


def test_sticky_by_address_sends_all_sessions_of_a_client_to_one_server() -> None:
    with servers(*"abcd") as all:
        dynamic = udp([server.address for server in all], sticky={"sourceIP": {}})
        with udp_edge(dynamic, ":0/udp") as lb:
            names: dict[str, set[str]] = {}
            for number in range(2, 22):
                source = f"127.0.0.{number}"
                for _ in range(3):
                    with client_of(lb, source=source) as client:
                        names.setdefault(source, set()).add(name_of(client.ask(b"x")))
            assert all_single(names)
            assert len(set.union(*names.values())) > 1


def all_single(names: Mapping[str, set[str]]) -> bool:
    return all(len(found) == 1 for found in names.values())


def test_weighted_services_below_each_other() -> None:
    with servers("a", "b", "c") as (a, b, c):
        dynamic = udp([])
        dynamic["udp"]["services"] = {
            "all": {"weighted": {"services": [{"name": "most", "weight": 3}, {"name": "safe", "weight": 1}]}},
            "most": {"loadBalancer": {"servers": [{"address": a.address}]}},
            "safe": {"weighted": {"services": [{"name": "b", "weight": 1}, {"name": "c", "weight": 0}]}},
            "b": {"loadBalancer": {"servers": [{"address": b.address}]}},
            "c": {"loadBalancer": {"servers": [{"address": c.address}]}},
        }
        with udp_edge(dynamic) as lb, clients(port_of(lb), 8) as all:
            assert lb.proxy.disabled == []
            assert Counter(name_of(client.ask(b"x")) for client in all) == {"a": 6, "b": 2}


def test_a_fallback_gets_what_no_server_of_the_main_service_takes() -> None:
    dead = f"127.0.0.1:{free_port()}"
    with servers("a") as (a,):
        dynamic = udp([])
        dynamic["udp"]["services"] = {
            "all": {"failover": {"service": "dead", "fallback": "well"}},
            "dead": {"loadBalancer": {"servers": [{"address": dead}]}},
            "well": {"loadBalancer": {"servers": [{"address": a.address}]}},
        }
        with udp_edge(dynamic) as lb, clients(port_of(lb), 3) as all:
            assert [client.ask(b"x") for client in all] == [b"a x"] * 3
            assert lost(lb) == {}


def test_sessions_leave_a_server_whose_check_fails_and_watching_parents_follow() -> None:
    well = {"a": True, "b": True}

    def check(server: UdpServer, data: bytes, client: Any) -> None:
        if data != b"ping":
            server.sock.sendto(server.name + b" " + data, client)
        elif well[server.name.decode()]:
            server.sock.sendto(b"pong!", client)

    with servers("a", "b", answer=check) as (a, b):
        probe = {"healthCheck": {"send": "ping", "expect": "pong", "interval": "30ms", "timeout": "2s"}}
        dynamic = udp([])
        dynamic["udp"]["services"] = {
            "all": {"failover": {"service": "one", "fallback": "two", "healthCheck": {}}},
            "one": {"loadBalancer": {"servers": [{"address": a.address}], **probe}},
            "two": {"loadBalancer": {"servers": [{"address": b.address}], **probe}},
        }
        with udp_edge(dynamic) as lb, client_of(lb) as client:
            assert client.ask(b"1") == b"a 1"
            well["a"] = False
            slot = lb.proxy._runtime.slots.servers[f"udp:one@file|{a.address}"]
            eventually(lambda: not lb.proxy._region.is_up(slot), "the check fails")
            assert client.ask(b"2") == b"b 2"  # the same session
            assert lb.open_connections == 1
            well["a"] = True
            eventually(lambda: lb.proxy._region.is_up(slot), "the check succeeds again")
            assert client.ask(b"3") == b"b 3"  # it is well where it is
            with client_of(lb) as another:
                assert another.ask(b"1") == b"a 1"


def test_a_check_without_an_expected_answer_asks_whether_the_port_refuses() -> None:
    port = free_port()

    def silent(server: UdpServer, data: bytes, client: Any) -> None:
        if data:
            server.sock.sendto(server.name + b" " + data, client)

    with servers("a", answer=silent) as (a,):
        dead = f"127.0.0.1:{port}"
        check = {"healthCheck": {"interval": "30ms", "timeout": "100ms"}}
        with udp_edge(udp([a.address, dead], **check)) as lb:
            slots = lb.proxy._runtime.slots.servers
            eventually(lambda: not lb.proxy._region.is_up(slots[f"udp:all@file|{dead}"]), "it refuses")
            a.waits_for(2)
            assert lb.proxy._region.is_up(slots[f"udp:all@file|{a.address}"])
            came_up = UdpServer("b", silent, port=port)
            try:
                eventually(lambda: lb.proxy._region.is_up(slots[f"udp:all@file|{dead}"]), "it is there")
            finally:
                came_up.close()


def test_a_reload_keeps_sessions_and_those_of_a_removed_server_move() -> None:
    with servers("a", "b") as (a, b), udp_edge(udp([a.address])) as lb, client_of(lb) as client:
        assert client.ask(b"1") == b"a 1"
        lb.apply(udp({a.address: 1, b.address: 5}))
        assert client.ask(b"2") == b"a 2"
        assert len(a.sources) == 1
        lb.apply(udp([b.address]))
        a.sock.sendto(b"on the way", a.seen[0][1])
        assert client.receive() == b"on the way"  # it is delivered although its server is not configured any more
        assert client.ask(b"3") == b"b 3"
        assert lb.open_connections == 1
        assert lost(lb) == {}


def test_what_the_kernel_drops_is_counted() -> None:
    with servers("a", answer=lambda *_: None) as (a,), udp_edge(udp([a.address])) as lb, client_of(lb) as client:
        client.send(b"first")
        a.waits_for(1)

        async def hang() -> None:
            for _ in range(12000):
                client.send(b"x" * 1000)

        asyncio.run_coroutine_threadsafe(hang(), lb._loop).result(TIMEOUT_S)

        def complete() -> bool:
            return counters(lb).datagrams_in == 12001

        eventually(complete, "each is counted")
        overflowed = counters(lb).datagrams_lost_in["overflowed"]
        assert 0 < overflowed < 12000
        slot = lb.proxy._runtime.slots.servers[f"udp:all@file|{a.address}"]
        passed = 5 + 1000 * (12000 - overflowed - counters(lb).datagrams_lost_in["unsent"])
        assert lb.proxy._region.server_counters(slot).bytes_out == passed


def test_a_datagram_that_is_too_long_for_the_other_family_is_lost_and_counted() -> None:
    server = UdpServer("a")
    try:
        with udp_edge(udp([server.address]), "[::1]:0/udp") as lb, client_of(lb, host="::1") as client:
            client.send(b"x" * 65527)  # IPv6 has room for it, IPv4 has not
            assert client.ask(b"1") == b"a 1"
            assert lost(lb) == {"unsent": 1}
    finally:
        server.close()


def test_an_entry_point_has_one_router_and_names_decide() -> None:
    with servers("a", "b") as (a, b):
        dynamic = udp([a.address])
        dynamic["udp"]["services"]["other"] = {"loadBalancer": {"servers": [{"address": b.address}]}}
        dynamic["udp"]["routers"]["zzz"] = {"service": "other", "entryPoints": ["udp"]}
        with udp_edge(dynamic) as lb, clients(port_of(lb), 4) as all:
            assert {name_of(client.ask(b"x")) for client in all} == {"b"}


def test_the_timeout_has_to_be_above_zero() -> None:
    for value in ("0s", "-1s"):
        with pytest.raises(ValueError, match="timeout"):
            StaticConfig.model_validate({"entryPoints": {"u": {"address": ":0/udp", "udp": {"timeout": value}}}})


def test_http_and_udp_share_a_port_and_know_nothing_of_each_other() -> None:
    from tests.support.wire import config_for, serving

    port = free_port()
    points = {"web": {"address": f"127.0.0.1:{port}"}, "udp": {"address": f"127.0.0.1:{port}/udp"}}
    with servers("a") as (a,), serving() as web:
        with edge({**config_for(web.url), **udp([a.address])}, points) as lb:
            assert lb.ask(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")[0] == "HTTP/1.1 200 OK"
            with client_of(lb) as client:
                assert client.ask(b"x") == b"a x"
            lb.drive()
            lb.drive(4000)


def test_a_drain_keeps_sessions_and_begins_none() -> None:
    with servers("a", answer=echo) as (a,), udp_edge(udp([a.address]), timeout="3s") as lb:
        lb.drive()
        with client_of(lb) as client, client_of(lb) as new:
            assert client.ask(b"1") == b"1"

            async def drain() -> None:
                engine: Any = lb.proxy._plane
                engine.stop_accepting()
                engine.drain()

            asyncio.run_coroutine_threadsafe(drain(), lb._loop).result(TIMEOUT_S)
            assert client.ask(b"2") == b"2"
            new.send(b"too late")
            eventually(lambda: lost(lb) == {"unserved": 1}, "no session begins")
            assert client.ask(b"3") == b"3"
            lb.drive(3100)
            assert lb.open_connections == 0
