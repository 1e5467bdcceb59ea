"""Prometheus' metrics, by Traefik's names with the prefix `lbcore`, read from the shared region at each scrape."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from lbcore.api.denials import IDENTITIES
from lbcore.api.runtime import Runtime
from lbcore.config.difference import qualify
from lbcore.config.static import Labels, Prometheus
from lbcore.config.static.metrics import label_of
from lbcore.observability.header_labels import values_of
from lbcore.observability.series import KINDS, labels_of, tls_labels_of
from lbcore.routing.balancer import Balancer, LoadBalancer
from lbcore.routing.compile_middlewares import calls_of
from lbcore.routing.compile_own import own_routers, router_identity
from lbcore.routing.guarded import Guarded
from lbcore.routing.mirroring import Mirroring
from lbcore.routing.service import Service
from lbcore.state.counters import denial_key

CLASSES = ("none", "1xx", "2xx", "3xx", "4xx", "5xx")


class RequestCollector(Collector):
    """Sums the workers' counters. Costs O(sets of labels) per scrape, and nothing otherwise.

    labels  those by which requests are told, and the bounds of the histogram of durations.
    """

    def __init__(self, runtime: Runtime, labels: Labels) -> None:
        self._runtime = runtime
        self._labels = labels

    def describe(self) -> list[Metric]:
        """No metrics, because a registry would otherwise collect everything once to learn the names."""
        return []

    def collect(self) -> Iterator[Metric]:
        """All metrics."""
        runtime = self._runtime
        yield from self._reloads()
        connections = GaugeMetricFamily(
            "lbcore_open_connections", "How many open connections exist, by entryPoint and protocol",
            labels=["entrypoint", "protocol"],
        )  # fmt: skip
        for index, (name, point) in enumerate(runtime.static.entry_points.items()):
            protocol = "UDP" if point.is_udp else "TCP"
            connections.add_metric([name, protocol], runtime.region.entry_point_counters(index).open_connections)
        yield connections
        yield self._errors()
        if runtime.static.udp_points:
            yield from self._datagrams()
        yield from self._tls()
        if runtime.static.access_log is not None:
            yield CounterMetricFamily(
                "lbcore_access_log_lines_lost", "Lines of the access log that could not be written",
                value=runtime.region.log_lines_lost,
            )  # fmt: skip
        yield from self._telemetry()
        yield CounterMetricFamily(
            "lbcore_log_lines_lost", "Lines of the log that could not be written", value=runtime.log_lines_lost(),
        )  # fmt: skip
        yield from self._memory()
        yield from self._limits()
        yield from self._providers()
        yield from self._fleet()
        yield from self._requests()
        yield from self._denied()
        yield from self._members()
        yield from self._calls()
        yield from self._udp_members()

    def _errors(self) -> Metric:
        """Why exchanges and connections of clients have failed."""
        region = self._runtime.region
        help_text = "Exchanges and connections that failed, by the reason"
        found = CounterMetricFamily("lbcore_entrypoint_errors", help_text, labels=["entrypoint", "cause"])
        for index, name in enumerate(self._runtime.static.entry_points):
            for cause, count in region.entry_point_counters(index).errors.items():
                if count:
                    found.add_metric([name, cause], count)
        return found

    def _telemetry(self) -> Iterator[Metric]:
        """What collectors were sent."""
        static, region, sent = self._runtime.static, self._runtime.region, self._runtime.telemetry
        if static.tracing is not None and sent is not None:
            help_text = "Spans that the collector has taken"
            yield CounterMetricFamily("lbcore_spans_exported", help_text, value=sent.spans_sent)
            help_text = "Spans for which there was no room, or that the collector has refused"
            yield CounterMetricFamily("lbcore_spans_lost", help_text, value=region.spans_lost)
        if static.access_log is not None and static.access_log.otlp is not None and sent is not None:
            help_text = "Records of the access log that the collector has taken"
            yield CounterMetricFamily("lbcore_access_log_records_exported", help_text, value=sent.log_records_sent)
            help_text = "Records of the access log for which there was no room, or that the collector has refused"
            yield CounterMetricFamily("lbcore_access_log_records_lost", help_text, value=region.log_records_lost)

    def _datagrams(self) -> Iterator[Metric]:
        """Sessions of UDP, and datagrams by what became of them."""
        sessions = CounterMetricFamily(
            "lbcore_udp_sessions", "Sessions of UDP clients, by what became of them", labels=["entrypoint", "result"]
        )
        labels = ["entrypoint", "direction"]
        help_text = "Datagrams received from, and sent to, clients"
        datagrams = CounterMetricFamily("lbcore_udp_datagrams", help_text, labels=labels)
        sizes = CounterMetricFamily("lbcore_udp_bytes", "Bytes of these datagrams", labels=labels)
        lost = CounterMetricFamily(
            "lbcore_udp_datagrams_lost", "Datagrams that were not passed on, by the reason", labels=[*labels, "cause"]
        )
        for index, (name, point) in enumerate(self._runtime.static.entry_points.items()):
            if not point.is_udp:
                continue
            counters = self._runtime.region.entry_point_counters(index)
            sessions.add_metric([name, "begun"], counters.accepted)
            sessions.add_metric([name, "shed"], counters.sessions_shed)
            datagrams.add_metric([name, "in"], counters.datagrams_in)
            datagrams.add_metric([name, "out"], counters.datagrams_out)
            sizes.add_metric([name, "in"], counters.bytes_in)
            sizes.add_metric([name, "out"], counters.bytes_out)
            for direction, causes in (("in", counters.datagrams_lost_in), ("out", counters.datagrams_lost_out)):
                for cause, count in causes.items():
                    lost.add_metric([name, direction, cause], count)
        yield from (sessions, datagrams, sizes, lost)

    def _calls(self) -> Iterator[Metric]:
        """What became of the calls of middlewares in Python."""
        runtime, labels = self._runtime, ["middleware"]
        calls = CounterMetricFamily("lbcore_middleware_calls", "Calls of a middleware in Python", labels=labels)
        waiting = GaugeMetricFamily("lbcore_middleware_waiting", "Calls of it that have not ended", labels=labels)
        help_text = "Times that a call has held the event loop for longer than slowCall"
        slow = CounterMetricFamily("lbcore_middleware_slow_calls", help_text, labels=labels)
        failed = CounterMetricFamily("lbcore_middleware_failures", "Calls that have raised an error", labels=labels)
        help_text = "Calls that had not ended within the timeout"
        expired = CounterMetricFamily("lbcore_middleware_timeouts", help_text, labels=labels)
        found = calls_of(runtime.dynamic)
        for name, identity in found.items():
            counters = runtime.region.call_counters(runtime.slots.servers[identity])
            calls.add_metric([name], counters.calls)
            waiting.add_metric([name], counters.waiting)
            slow.add_metric([name], counters.slow)
            failed.add_metric([name], counters.failed)
            expired.add_metric([name], counters.expired)
        yield from (calls, waiting, slow, failed, expired) if found else ()

    def _denied(self) -> Iterator[Metric]:
        """What middlewares have refused. Of routers and middlewares, those at which there was anything."""
        runtime, region = self._runtime, self._runtime.region
        about = "Requests, answers and connections that middlewares have refused"
        points = CounterMetricFamily("lbcore_entrypoint_denied", f"{about}, by entry point", labels=["entrypoint"])
        for index, name in enumerate(runtime.static.entry_points):
            points.add_metric([name], region.entry_point_counters(index).denied)
        routers = CounterMetricFamily("lbcore_router_denied", f"{about}, by router", labels=["router", "layer"])
        slots, at_routers, by_middlewares = runtime.slots.services, region.routers_denied(), region.denials()
        sections = (("http", runtime.dynamic.http), ("tcp", runtime.dynamic.tcp))
        for layer, section in sections if at_routers else ():
            for name in section.routers:
                if count := at_routers.get(slots.get(IDENTITIES[layer](name), -1)):
                    routers.add_metric([name, layer], count)
        middlewares = CounterMetricFamily(
            "lbcore_middleware_denied", f"{about}, by middleware", labels=["middleware", "layer"]
        )
        for layer, section in sections if by_middlewares else ():
            for name in section.middlewares:
                if count := by_middlewares.get(denial_key(layer, name)):
                    middlewares.add_metric([name, layer], count)
        help_text = "Of these, those that no middleware's number has, for want of room"
        shed = CounterMetricFamily("lbcore_denials_shed", help_text, value=by_middlewares.get(0, 0))
        yield from (points, routers, middlewares, shed)

    def _udp_members(self) -> Iterator[Metric]:
        """The servers of UDP services."""
        runtime, labels = self._runtime, ["service", "address"]
        up = GaugeMetricFamily("lbcore_udp_server_up", "Whether the check of a UDP server succeeds", labels=labels)
        sessions = CounterMetricFamily("lbcore_udp_server_sessions", "Sessions begun at a UDP server", labels=labels)
        now = GaugeMetricFamily("lbcore_udp_server_open_sessions", "Open sessions at a UDP server", labels=labels)
        failed = CounterMetricFamily(
            "lbcore_udp_server_refusals", "Sessions that a UDP server refused, or that did not reach it", labels=labels
        )
        for name, service in (runtime.table.udp_services if runtime.table else {}).items():
            if not isinstance(service, LoadBalancer):
                continue
            for member in dict.fromkeys(service.members):
                counters = runtime.region.server_counters(member.slot)
                values = [name, member.key]
                if service.is_watching:
                    up.add_metric(values, float(runtime.region.is_up(member.slot)))
                sessions.add_metric(values, counters.requests)
                now.add_metric(values, counters.in_flight)
                failed.add_metric(values, counters.connect_errors)
        yield from (up, sessions, now, failed) if runtime.dynamic.udp.services else ()

    def _tls(self) -> Iterator[Metric]:
        """Certificates and when they end; handshakes that failed."""
        runtime = self._runtime
        ends = GaugeMetricFamily(
            "lbcore_tls_certs_not_after", "Certificate expiration timestamp", labels=["cn", "serial", "sans"]
        )
        for each in runtime.certificates():
            ends.add_metric(
                [each.common_name, str(each.serial), ",".join(each.dns_names)], each.not_after.timestamp()
            )
        failed = CounterMetricFamily(
            "lbcore_tls_handshakes_failed", "Failed handshakes of clients, by cause", labels=["entrypoint", "cause"]
        )
        for index, name in enumerate(runtime.static.entry_points):
            for cause, count in runtime.region.entry_point_counters(index).handshakes_failed.items():
                if count:
                    failed.add_metric([name, cause], count)
        yield from (ends, failed)

    def _memory(self) -> Iterator[Metric]:
        """What bodies of requests take that are kept for fallbacks and mirrors."""
        region = self._runtime.region
        help_text = "Bytes that kept bodies of requests take"
        yield GaugeMetricFamily("lbcore_body_memory_bytes", help_text, value=region.body_memory)
        help_text = "Bytes that kept bodies of requests may take"
        yield GaugeMetricFamily("lbcore_body_memory_limit_bytes", help_text, value=region.body_memory_limit)
        help_text = "Bodies of requests that were not kept, or no further, for want of room"
        yield CounterMetricFamily("lbcore_bodies_shed", help_text, value=region.bodies_shed)
        help_text = "Idle connections that were closed for want of descriptors"
        yield CounterMetricFamily("lbcore_connections_shed", help_text, value=region.connections_shed)
        help_text = "Requests that were refused since their password could not be checked"
        yield CounterMetricFamily("lbcore_passwords_shed", help_text, value=region.passwords_shed)

    def _limits(self) -> Iterator[Metric]:
        """What limits know of their sources, and what they could not do."""
        region = self._runtime.region
        help_text = "Sources of limits: used (have used some of it up), held (have requests or connections under way)"
        keys = GaugeMetricFamily("lbcore_keys", help_text, labels=["kind"])
        for kind, count in zip(("used", "held"), region.keys_used, strict=True):
            keys.add_metric([kind], count)
        help_text = "Sources of limits that were evicted (the least recently used), or refused, for want of room"
        shed = CounterMetricFamily("lbcore_keys_shed", help_text, labels=["result"])
        shed.add_metric(["evicted"], region.keys_evicted)
        shed.add_metric(["refused"], region.keys_refused)
        help_text = "Attempts for which the budget of the middleware retry had no room"
        denied = CounterMetricFamily("lbcore_retries_denied", help_text, value=region.retries_denied)
        help_text = "Requests about which a limit has decided without its store, since that was away"
        missed = CounterMetricFamily("lbcore_limits_without_store", help_text, value=region.stores_missed)
        yield from (keys, shed, denied, missed)

    def _providers(self) -> Iterator[Metric]:
        """What providers have given, and what they lack."""
        help_text = "Objects of a provider's configuration"
        objects = GaugeMetricFamily("lbcore_provider_objects", help_text, labels=["provider"])
        help_text = "Time since a provider's configuration was read, or since the start if it never was"
        age = GaugeMetricFamily("lbcore_provider_age_seconds", help_text, labels=["provider"])
        help_text = "What is wrong with a provider now"
        problems = GaugeMetricFamily("lbcore_provider_problems", help_text, labels=["provider"])
        help_text = "How often a provider could not read or use all of its configuration"
        failures = CounterMetricFamily("lbcore_provider_failures", help_text, labels=["provider"])
        for each in self._runtime.providers():
            objects.add_metric([each.name], each.objects)
            age.add_metric([each.name], each.age_s)
            problems.add_metric([each.name], len(each.problems))
            failures.add_metric([each.name], each.failures)
        yield from (objects, age, problems, failures)

    def _fleet(self) -> Iterator[Metric]:
        """The instances that serve the same."""
        found = self._runtime.fleet()
        if found is not None:
            help_text = "Instances of the fleet that live, this one among them, as far as it is known"
            yield GaugeMetricFamily("lbcore_fleet_instances", help_text, value=found.instances)
            help_text = "Whether this instance knows of no others now, and decides alone"
            yield GaugeMetricFamily("lbcore_fleet_alone", help_text, value=int(bool(found.problem)))
            help_text = "Opinions that were not told to the fleet, and weights that were dropped, for want of room"
            yield CounterMetricFamily("lbcore_fleet_shed", help_text, value=found.shed)

    def _reloads(self) -> Iterator[Metric]:
        """The results of reloads."""
        runtime, reload = self._runtime, self._runtime.reload
        yield CounterMetricFamily("lbcore_config_reloads", "Config reloads", value=reload.reloads)
        help_text = "Configurations that were refused, or are not in force as they are written"
        yield CounterMetricFamily("lbcore_config_reloads_failure", help_text, value=reload.failures)
        help_text = "Last config reload success"
        yield GaugeMetricFamily("lbcore_config_last_reload_success", help_text, value=reload.succeeded_unix_s)
        help_text = "Last config reload failure"
        yield GaugeMetricFamily("lbcore_config_last_reload_failure", help_text, value=reload.failed_unix_s)
        broken = GaugeMetricFamily(
            "lbcore_config_broken_objects",
            "Routers, services and middlewares that are broken, by what runs: the version before, or nothing",
            labels=["runs"],
        )
        broken.add_metric(["before"], len(reload.kept))
        broken.add_metric(["nothing"], len(runtime.table.disabled) if runtime.table is not None else 0)
        yield broken

    def _names(self) -> dict[str, dict[int, list[str]]]:
        """The values of the labels that name an object, by kind and index."""
        runtime = self._runtime
        routers, services = {}, {}
        for name, router in runtime.dynamic.http.routers.items():
            # A router with others below has no service: the name is Traefik's.
            service = qualify(router.service, name) if router.service else f"{name}-muxer"
            routers[runtime.slots.services[router_identity(name)]] = [name, service]
        for name, service in own_routers(runtime.static).items():
            routers[runtime.slots.services[router_identity(name)]] = [name, service]
        for name in runtime.dynamic.http.services:
            services[runtime.slots.services[name]] = [name]
        points = {index: [name] for index, name in enumerate(runtime.static.entry_points)}
        return {"entrypoint": points, "router": routers, "service": services}

    def _requests(self) -> Iterator[Metric]:
        metrics = self._runtime.static.metrics
        counted, bounds = metrics.bounds if metrics is not None else [], set(self._labels.bounds)
        told = {
            "entrypoint": self._labels.add_entry_points_labels,
            "router": self._labels.add_routers_labels,
            "service": self._labels.add_services_labels,
        }
        names, counters = self._names(), self._runtime.region.request_counters()
        own = {"entrypoint": ["entrypoint"], "router": ["router", "service"], "service": ["service"]}
        headers = [*map(label_of, self._labels.header_labels)] if isinstance(self._labels, Prometheus) else []
        by_headers = self._runtime.region.label_counters() if headers else {}
        for kind in (kind for kind in KINDS if told[kind]):
            labels = ["code", "method", "protocol", *own[kind]]
            prefix, about = f"lbcore_{kind}", f"on {'an' if kind == 'entrypoint' else 'a'} {kind}"
            requests = CounterMetricFamily(
                f"{prefix}_requests", f"How many HTTP requests processed {about}", labels=[*labels, *headers]
            )
            bytes_in = CounterMetricFamily(
                f"{prefix}_requests_bytes", f"The total size of requests in bytes {about}", labels=labels
            )
            bytes_out = CounterMetricFamily(
                f"{prefix}_responses_bytes", f"The total size of responses in bytes {about}", labels=labels
            )
            durations = HistogramMetricFamily(
                f"{prefix}_request_duration_seconds", f"How long it took to process the request {about}", labels=labels
            )
            for key, (count, seconds, received, sent, buckets) in counters.items():
                if tls_labels_of(key) is not None:
                    continue
                found, index, status, method, protocol = labels_of(key)
                if found != kind or index not in names[kind]:
                    continue
                values = [str(status), method, protocol, *names[kind][index]]
                if not headers:
                    requests.add_metric(values, count)
                bytes_in.add_metric(values, received)
                bytes_out.add_metric(values, sent)
                upto, cumulative = 0, []
                for bound, number in zip(counted, buckets, strict=False):
                    upto += number
                    if bound in bounds:
                        cumulative.append((_number(bound), upto))
                durations.add_metric(values, [*cumulative, ("+Inf", count)], seconds)
            told_apart: dict[tuple[str, ...], int] = {}
            for (key, text), count in by_headers.items():
                found, index, status, method, protocol = labels_of(key)
                if found == kind and index in names[kind]:
                    each = (str(status), method, protocol, *names[kind][index], *values_of(text, len(headers)))
                    told_apart[each] = told_apart.get(each, 0) + count
            for each, count in told_apart.items():
                requests.add_metric(each, count)
            yield from (requests, durations, bytes_in, bytes_out)
            by_tls = CounterMetricFamily(
                f"{prefix}_requests_tls",
                f"How many HTTP requests with TLS processed {about}, partitioned by TLS version and TLS cipher used",
                labels=["tls_version", "tls_cipher", *own[kind]],
            )
            for key, (count, *_) in counters.items():
                labelled = tls_labels_of(key)
                if labelled is not None and labelled[0] == kind and labelled[1] in names[kind]:
                    by_tls.add_metric([*labelled[2:], *names[kind][labelled[1]]], count)
            yield by_tls
        if headers:
            help_text = "Requests that count with other values in their labels of headers, for want of room"
            yield CounterMetricFamily("lbcore_header_labels_shed", help_text, value=self._runtime.region.labels_shed)

    def _members(self) -> Iterator[Metric]:
        """Metrics that Traefik does not have: servers, choices of parents, mirrors, retries, sessions."""
        up = GaugeMetricFamily("lbcore_service_server_up", "service server is up, described by gauge value of 0 or 1",
                               labels=["service", "url"])  # fmt: skip
        service_up = GaugeMetricFamily(
            "lbcore_service_up", "Whether a service is up, by its children", labels=["service"]
        )
        requests = CounterMetricFamily("lbcore_server_requests", "Requests sent to a server, retries included",
                                       labels=["service", "url"])  # fmt: skip
        answers = CounterMetricFamily("lbcore_server_responses", "Answers of a server by class of status",
                                      labels=["service", "url", "class"])  # fmt: skip
        in_flight = GaugeMetricFamily(
            "lbcore_server_in_flight", "Requests not ended at a server", labels=["service", "url"]
        )
        first_byte = CounterMetricFamily("lbcore_server_first_byte_seconds", "Sum of the times to first byte",
                                         labels=["service", "url"])  # fmt: skip
        connect = CounterMetricFamily("lbcore_server_connect_errors", "Connections that could not be made",
                                      labels=["service", "url"])  # fmt: skip
        retries = CounterMetricFamily("lbcore_service_retries", "How many request retries happened on a service",
                                      labels=["service"])  # fmt: skip
        hedges = CounterMetricFamily("lbcore_service_hedges", "Attempts begun beside a slow one, and those that won",
                                     labels=["service", "result"])  # fmt: skip
        chosen = CounterMetricFamily("lbcore_service_chosen", "Requests a service gave to one of its children",
                                     labels=["service", "child"])  # fmt: skip
        copies = CounterMetricFamily("lbcore_mirror_requests", "Copies of requests by what became of them",
                                     labels=["service", "mirror", "result"])  # fmt: skip
        sessions = CounterMetricFamily("lbcore_service_sessions", "Requests of sticky services, kept or begun",
                                       labels=["service", "result"])  # fmt: skip
        waiting = GaugeMetricFamily(
            "lbcore_service_queue_length", "Requests that wait since all servers are full", labels=["service"]
        )
        queued = CounterMetricFamily("lbcore_service_queue_requests", "Requests that found all servers full",
                                     labels=["service", "result"])  # fmt: skip
        region = self._runtime.region
        configured = self._runtime.dynamic.http.services
        for name, service in (self._runtime.table.services if self._runtime.table else {}).items():
            if name not in configured:
                continue  # of lbcore's own
            balancer = configured[name].load_balancer
            is_checked = balancer is not None and bool(balancer.health_check or balancer.passive_health_check)
            inner: Service = service.service if isinstance(service, Guarded) else service
            service_up.add_metric([name], float(service.is_up))
            if isinstance(inner, LoadBalancer):
                retried = hedged = won = 0
                for member in dict.fromkeys(inner.members):
                    counters = region.server_counters(member.slot)
                    labels = [name, member.key]
                    retried += counters.retries
                    hedged += counters.hedges
                    won += counters.hedges_won
                    if is_checked:
                        up.add_metric(labels, float(region.is_up(member.slot)))
                    requests.add_metric(labels, counters.requests)
                    in_flight.add_metric(labels, counters.in_flight)
                    first_byte.add_metric(labels, counters.first_byte_s)
                    connect.add_metric(labels, counters.connect_errors)
                    for number, found in enumerate(counters.responses):
                        if found:
                            answers.add_metric([*labels, CLASSES[number]], found)
                retries.add_metric([name], retried)
                if hedged:
                    hedges.add_metric([name, "begun"], hedged)
                    hedges.add_metric([name, "won"], won)
                if inner.queue is not None:
                    line = region.queue_counters(inner.slot)
                    waiting.add_metric([name], line.waiting)
                    for result in ("queued", "timed_out", "rejected", "abandoned"):
                        queued.add_metric([name, result], getattr(line, result))
            if isinstance(inner, Balancer):
                kept, begun = region.sessions(inner.slot)
                if kept or begun:
                    sessions.add_metric([name, "kept"], kept)
                    sessions.add_metric([name, "begun"], begun)
            for key, _ in inner.children:
                slot = self._runtime.slots.servers.get(f"{name}|{key}")
                if slot is not None:
                    chosen.add_metric([name, key], region.server_counters(slot).requests)
            if isinstance(inner, Mirroring):
                for mirror in inner.mirrors:
                    counters = region.server_counters(mirror.child.slot)
                    results = {
                        "sent": counters.requests,
                        "ok": sum(counters.responses[1:5]),
                        "failed": counters.responses[0] + counters.responses[5],
                        "shed": counters.shed,
                        "oversized": counters.oversized,
                    }
                    for result, found in results.items():
                        copies.add_metric([name, mirror.child.key, result], found)
        yield from (
            up,
            service_up,
            requests,
            answers,
            in_flight,
            first_byte,
            connect,
            retries,
            hedges,
            chosen,
            copies,
            sessions,
            waiting,
            queued,
        )


def _number(value: float) -> str:
    """A number as Go writes it."""
    text: str = floatToGoString(value)  # type: ignore[no-untyped-call]
    return text.removesuffix(".0")
