"""The problems of an instance: lost traffic, lost redundancy, configuration that is not in force. No I/O."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from lbcore.api.health import down_cause
from lbcore.api.runtime import LAYERS, Runtime
from lbcore.api.shape import instant
from lbcore.config.difference import qualify
from lbcore.config.report import spoken
from lbcore.errors import PartProblem
from lbcore.routing.balancer import Balancer, LoadBalancer
from lbcore.routing.failover import Failover
from lbcore.routing.guarded import Guarded
from lbcore.routing.mirroring import Mirroring
from lbcore.routing.service import Service

LOST, DEGRADED = "lost", "degraded"
ALL = 0.9999  # the least share that counts as all requests of a service
MOST_TRIES = 3  # as in lbcore/routing/decision.pxd


@dataclass
class Condition:
    """The condition of a service.

    lost    the share of its requests that find no server, 0 to 1.
    causes  the reasons for that, and other problems below it.
    missed  the part of `lost` that cannot reach a server: what stands beside the service is asked, if anything does.
    """

    lost: float = 0.0
    causes: list[str] = field(default_factory=list)
    missed: float = 0.0


def problems(runtime: Runtime) -> list[dict[str, Any]]:
    """All problems: severity (`lost`, `degraded`), object, traffic concerned, text. Lost traffic comes first."""
    found = [*_routers(runtime), *service_problems(runtime), *_objects(runtime)]
    found += [*_reload(runtime), *_certificates(runtime), *_workers(runtime), *_losses(runtime)]
    found += _ping(runtime)
    return sorted(found, key=lambda problem: problem["severity"] != LOST)


def _problem(severity: str, about: str, text: str, traffic: Iterable[str] = ()) -> dict[str, Any]:
    return {"severity": severity, "object": about, "traffic": list(traffic), "text": text}


def _routers(runtime: Runtime) -> Iterator[dict[str, Any]]:
    """Routers that do not run."""
    for layer, words in LAYERS.items():
        about = f"{words.prefix}router"
        for name, errors in runtime.errors(words.router_kind).items():
            rule = runtime.traffic_of(layer, name)
            text = f"{about} {name} is disabled: {runtime.reload.reason(words.router_kind, name, errors)}"
            yield _problem(LOST, f"{about} {name}", text, [rule] if rule else [])


def service_problems(runtime: Runtime, names: Collection[str] | None = None) -> Iterator[dict[str, Any]]:
    """The problems of services, each once with all routers that lead to it, and `share`, the part of lost requests.

    names  the services of HTTP that are wanted; None: all.
    """
    for layer, name, service, users in runtime.roots(names):
        if layer == "http" and _is_nobody(service):
            users = [user for user in users if not redirects(runtime, user)]
            if not users:
                continue  # no request comes that far
        traffic = [f"{user}: {runtime.traffic_of(layer, user)}" for user in users]
        about = f"{LAYERS[layer].prefix}service {name}"
        condition = condition_of(runtime, service)
        causes = "; ".join(condition.causes)
        if condition.lost:
            nearly = "about " if condition.missed else ""
            share = "all" if condition.lost > ALL else f"{nearly}{max(condition.lost, 0.001):.1%} of its"
            text = f"{about} loses {share} {LAYERS[layer].units}: {causes}"
            yield _problem(LOST, about, text, traffic) | {"share": round(condition.lost, 4)}
        elif causes:
            yield _problem(DEGRADED, about, f"{about}: {causes}", traffic) | {"share": 0.0}


def _is_nobody(service: Service) -> bool:
    """Whether a service has no server at all, as people write it for routers that only redirect (`url: localhost`)."""
    inner = service.service if isinstance(service, Guarded) else service
    return isinstance(inner, LoadBalancer) and not inner.members


def redirects(runtime: Runtime, name: str) -> bool:
    """Whether a router, or a chain of its, has a middleware that redirects."""
    middlewares = runtime.dynamic.http.middlewares
    below = [qualify(reference, name) for reference in runtime.dynamic.http.routers[name].middlewares]
    seen: set[str] = set()
    while below:
        reference = below.pop()
        middleware = middlewares.get(reference)
        if middleware is None or reference in seen:
            continue
        if middleware.redirect_scheme is not None or middleware.redirect_regex is not None:
            return True
        seen.add(reference)
        if middleware.chain is not None:
            below += [qualify(part, reference) for part in middleware.chain.middlewares]
    return False


def condition_of(runtime: Runtime, service: Service) -> Condition:
    """The share of a service's requests that find no server, and the problems below it."""
    inner = service.service if isinstance(service, Guarded) else service
    if isinstance(inner, LoadBalancer):
        return _of_servers(runtime, inner)
    if isinstance(inner, Failover):
        main, fallback = (condition_of(runtime, child) for _, child in inner.children)
        causes = [f"its main service {inner.main.key} fails over: {cause}" for cause in main.causes]
        causes += [f"its fallback {inner.fallback.key}: {cause}" for cause in fallback.causes]
        return Condition(main.lost * fallback.lost, causes, main.lost * fallback.missed)
    if isinstance(inner, Mirroring):
        (_, first), *mirrors = inner.children
        found = condition_of(runtime, first)
        for key, mirror in mirrors:
            found.causes += [f"its mirror {key}: {cause}" for cause in condition_of(runtime, mirror).causes]
        return found
    if isinstance(inner, Balancer):
        return _of_children(runtime, inner)
    return Condition()


def _of_servers(runtime: Runtime, balancer: LoadBalancer) -> Condition:
    members = list(balancer.members)
    if not members:
        return Condition(1.0, ["it has no servers"])
    weights, effective = balancer.configured_weights, balancer.effective_weights
    down = [
        f"{member.key} ({down_cause(runtime, member)})"
        for member, weight in zip(members, weights, strict=True)
        if not runtime.region.is_up(member.slot) and (weight or runtime.region.weight_override(member.slot))
    ]
    if not any(effective):
        aside = _set_aside(runtime, balancer)
        if not down:
            return Condition(1.0, ["the weights of all its servers are 0", *aside])
        cause = f"no server may be picked, {len(down)} of {len(members)} are down: {', '.join(down)}"
        return Condition(1.0, [cause, *aside])
    causes = [f"{len(down)} of {len(members)} servers down: {', '.join(down)}"] if down else []
    away = {
        member.key: runtime.unreached[member.slot]
        for member, weight in zip(members, effective, strict=True)
        if weight and member.slot in runtime.unreached
    }
    if away:
        shown = ", ".join(f"{key} (since {instant(since)})" for key, since in away.items())
        number = f"{len(away)} of {len(members)} servers" if len(members) > 1 else "its server"
        causes.append(f"{number} cannot be reached, and no health check watches: {shown}")
    missed = _missed(
        [weight for member, weight in zip(members, effective, strict=True) if member.key in away], effective
    )
    return Condition(missed, causes + (_set_aside(runtime, balancer) if missed else []), missed)


def _set_aside(runtime: Runtime, balancer: Balancer) -> list[str]:
    """What to undo where a service has nothing to choose: members that would get requests, had nobody drained them."""
    pairs = list(zip(balancer.members, balancer.configured_weights, strict=True))
    keys = [
        member.key
        for index, (member, weight) in enumerate(pairs)
        if weight and runtime.region.weight_override(member.slot) == 0 and balancer.member_stands(index)
    ]
    return [f"{len(keys)} of {len(pairs)} drained by hand (undrain ends that): {', '.join(keys)}"] if keys else []


def _missed(away: Sequence[float], weights: Sequence[float]) -> float:
    """About which share of requests is given up after MOST_TRIES servers that cannot be reached."""
    if len(away) == sum(map(bool, weights)):
        return 1.0
    if len(away) < MOST_TRIES:
        return 0.0
    total, each = sum(weights), sum(away) / len(away)
    return math.prod((sum(away) - tried * each) / (total - tried * each) for tried in range(MOST_TRIES))


def _of_children(runtime: Runtime, balancer: Balancer) -> Condition:
    effective = balancer.effective_weights
    total = sum(effective)
    conditions = [condition_of(runtime, child) for _, child in balancer.children]
    keys = [key for key, _ in balancer.children]
    causes = [f"{key}: {cause}" for key, of in zip(keys, conditions, strict=True) for cause in of.causes]
    if not keys:
        return Condition(1.0, ["it has no services"])
    if not total:
        if not any(of.lost for of in conditions):
            causes = ["the weights of all its services are 0"]
        return Condition(1.0, causes + _set_aside(runtime, balancer))
    # Requests that cannot reach a server of one child go to those of the others.
    asked = [(of, weight) for of, weight in zip(conditions, effective, strict=True) if weight and of.missed <= ALL]
    total = sum(weight for _, weight in asked)
    if not total:
        return Condition(1.0, causes, 1.0)
    refused = sum((of.lost - of.missed) * weight for of, weight in asked) / total
    missed = 0.0
    for number, (of, weight) in enumerate(asked):
        if of.missed:
            others = (each.lost for each, _ in asked[:number] + asked[number + 1 :])
            missed += of.missed * math.prod(others) * weight / total
    return Condition(refused + missed, causes, missed)


def weights_after(runtime: Runtime, service: Service, overrides: Mapping[str, int | None]) -> bool:
    """Whether a service that finds servers for its requests now would still do so with other weights.

    overrides  by the key of a member; None ends an override.
    """
    inner = service.service if isinstance(service, Guarded) else service
    if not isinstance(inner, Balancer) or condition_of(runtime, inner).lost == 1.0:
        return True
    children = dict(inner.children)
    for index, (member, configured) in enumerate(zip(inner.members, inner.configured_weights, strict=True)):
        weight = overrides.get(member.key, runtime.region.weight_override(member.slot))
        if (configured if weight is None else weight) == 0 or not inner.member_stands(index):
            continue
        if member.key in children:
            if condition_of(runtime, children[member.key]).lost < 1.0:
                return True
        elif member.slot not in runtime.unreached:
            return True
    return False


def _objects(runtime: Runtime) -> Iterator[dict[str, Any]]:
    """Other objects that do not run."""
    if runtime.table is not None:
        for entry in runtime.table.disabled:
            if entry.kind not in {words.router_kind for words in LAYERS.values()}:
                about = f"{entry.kind} {entry.name}"
                reason = runtime.reload.reason(entry.kind, entry.name, entry.errors)
                yield _problem(DEGRADED, about, f"{spoken(entry.kind)} {entry.name} is disabled: {reason}")


def _reload(runtime: Runtime) -> Iterator[dict[str, Any]]:
    """Configuration that is not in force."""
    stays = "nothing of it runs" if runtime.dynamic.is_empty else "the one before is in force"
    of_providers: set[str] = set()
    for provider in runtime.providers():
        if not provider.is_readable:
            runs = "what it said last stays in force" if provider.succeeded_unix_s else "nothing of it runs"
            about = f"provider {provider.name}"
            for reason in provider.problems:
                text = f"{about} cannot be read, {runs}: {reason.removeprefix(f'{about}: ')}"
                yield _problem(DEGRADED, about, text)
            of_providers.update(provider.problems)
    for reason in runtime.reload.refused:
        if isinstance(reason, PartProblem):
            yield _problem(DEGRADED, "configuration", f"a part of the configuration is not in force: {reason}")
        elif reason not in of_providers:
            yield _problem(DEGRADED, "configuration", f"a configuration was refused, {stays}: {reason}")
    for (kind, name), errors in runtime.reload.kept.items():
        text = f"{spoken(kind)} {name} runs in the version before: {runtime.reload.reason(kind, name, errors)}"
        yield _problem(DEGRADED, f"{kind} {name}", text)


def _certificates(runtime: Runtime) -> Iterator[dict[str, Any]]:
    """Certificates in force that clients refuse."""
    for each in runtime.certificates():
        if each.status == "expired":
            names = ", ".join(each.dns_names[:3]) or each.common_name or "no name"
            text = f"the certificate for {names} has expired, at {instant(each.not_after.timestamp())}"
            yield _problem(DEGRADED, f"certificate {names}", text)


def _ping(runtime: Runtime) -> Iterator[dict[str, Any]]:
    """A ping that fails by hand: whoever balances in front sends this instance nothing."""
    ping = runtime.ping
    if ping is not None and ping.since_unix_s:
        since = f"since {instant(ping.since_unix_s)}, set by {ping.by}"
        text = f"/ping fails by hand {since}: it answers {ping.failing_status}, and requests are served"
        yield _problem(DEGRADED, "ping", text)


def _losses(runtime: Runtime) -> Iterator[dict[str, Any]]:
    """What is lost now of what is written and sent, whose reason the log has named; and what cannot be sent."""
    for text in runtime.telemetry.away if runtime.telemetry is not None else ():
        yield _problem(DEGRADED, text.partition(":")[0], text)
    for name, count in runtime.losses.going_on.items():
        yield _problem(DEGRADED, name, f"{name} are being lost, {count} so far: the log says why")


def _workers(runtime: Runtime) -> Iterator[dict[str, Any]]:
    """Workers that do not serve."""
    for worker in runtime.workers():
        if worker.state == "running":
            continue
        text = f"worker {worker.index} (pid {worker.pid}) is {worker.state}"
        if worker.quiet_s:
            text += f", it has not answered for {worker.quiet_s:.0f} s"
        if worker.accepted_by is not None:
            text += f"; worker {worker.accepted_by} accepts in its place"
        yield _problem(DEGRADED, f"worker {worker.index}", text)
