"""What `/api/info` says: problems with file and line, reloads, providers, certificates, workers. No I/O."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Any

from lbcore.api import catalogue
from lbcore.api.places import placed
from lbcore.api.runtime import Runtime
from lbcore.config.static import StaticConfig

if TYPE_CHECKING:
    from lbcore.tls.describe import Described

MOST_CERTIFICATES = 1000


def digest(runtime: Runtime) -> str:
    """A text that changes with anything that `news` tells. Cheap."""
    reload = runtime.reload
    seen = (
        runtime.region.eligibility,
        (reload.generation, reload.reloads, reload.failures, tuple(reload.refused), len(reload.kept)),
        [(each.index, each.pid, each.state, each.generation) for each in runtime.workers()],
        [(each.name, each.succeeded_unix_s, each.failed_unix_s, each.problems) for each in runtime.providers()],
        [(each.fingerprint, each.days_left) for each in runtime.certificates()],
        runtime.region.connections_shed.bit_length(),
        # Of what grows all the time: each doubling.
        [each.bit_length() for each in (runtime.region.log_lines_lost, runtime.log_lines_lost())],
        (
            sorted(runtime.unreached),
            [(name, lost.bit_length()) for name, lost in sorted(runtime.losses.going_on.items())],
        ),
        catalogue.fleet(runtime),
        runtime.telemetry.away if runtime.telemetry is not None else (),
        runtime.log_level.state if runtime.log_level is not None else None,
        runtime.ping.since_unix_s if runtime.ping is not None else 0,
        runtime.stop.has_begun() if runtime.stop is not None else False,
    )
    return f"{zlib.crc32(repr(seen).encode()):08x}"


def news(runtime: Runtime) -> dict[str, Any]:
    """All of it."""
    state = catalogue.state(runtime)
    certificates = sorted(runtime.certificates(), key=lambda each: each.not_after)
    static = runtime.static
    reload: dict[str, Any] = state["reload"]
    if (last := runtime.reload.last) is not None:
        counts = {key: len(getattr(last, key)) for key in ("added", "removed", "changed")}
        lists = {key: list(getattr(last, key)[:100]) for key in counts}
        reload["last"] = {"time": round(last.unix_s * 1000), **lists, "counts": counts}
    return {
        "version": digest(runtime),
        "problems": [*state["problems"], *(placed(runtime, problem) for problem in _warnings(runtime))],
        "reload": reload,
        "providers": state["providers"],
        "fleet": state["fleet"],
        "certificates": [_certificate(each) for each in certificates[:MOST_CERTIFICATES]],
        "certificatesTotal": len(certificates),
        "log": state["log"],
        "ping": state["ping"],
        "end": state["end"],
        "workers": state["workers"],
        "tls": state["tls"],
        "logLinesLost": state["logLinesLost"],
        "accessLogLinesLost": state["accessLogLinesLost"],
        "connectionsShed": state["connectionsShed"],
        "features": {
            "accessLog": static.access_log is not None,
            "metrics": _metrics(static),
            "tracing": static.tracing is not None,
            "explain": static.explain is not None,
            "ocsp": static.ocsp is not None,
            "certificatesResolvers": list(static.certificates_resolvers),
        },
    }  # fmt: skip


def _certificate(each: Described) -> dict[str, Any]:
    return each.view() | {"notAfterMs": round(each.not_after.timestamp() * 1000), "daysLeft": each.days_left}


def _metrics(static: StaticConfig) -> list[str]:
    """The ways by which metrics leave, by key."""
    metrics = static.metrics
    return [*(["prometheus"] if metrics and metrics.prometheus else []), *(metrics.pushed if metrics else ())]


def _warnings(runtime: Runtime) -> list[dict[str, Any]]:
    """What runs, but is probably not intended."""
    return [
        {"severity": "warning", "object": "configuration", "traffic": [], "text": text}
        for text in runtime.reload.warnings
    ]
