"""What is known of a cluster, beside an API server that forgets, refuses, ends connections and is away."""

# ruff: noqa: E501
from __future__ import annotations

import asyncio
import base64
import contextlib
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from lbcore.config.load import static_of
from lbcore.config.static.kubernetes import KubernetesCrd, KubernetesGateway, KubernetesIngress
from lbcore.errors import ConfigError
from lbcore.provider.kubernetes import watch as watching
from lbcore.provider.kubernetes.access import Access, access_of
from lbcore.provider.kubernetes.client import KubernetesClient
from lbcore.provider.kubernetes.core import MAPS, NODES, SECRETS, SERVICES, SLICES
from lbcore.provider.kubernetes.crd import kinds_of as kinds_of_crd
from lbcore.provider.kubernetes.gateway import kinds_of as kinds_of_gateway
from lbcore.provider.kubernetes.ingress import CLASSES
from lbcore.provider.kubernetes.ingress import kinds_of as kinds_of_ingress
from lbcore.provider.kubernetes.watch import Cluster, Kind, Snapshot, failure_lines
from lbcore.provider.registry import providers_of
from lbcore.provider.web import AnswerError
from tests.support.certificates import authority, signed
from tests.support.instance import becomes_true
from tests.support.kubernetes import Kubernetes, kubernetes, service, slice_of
from tests.support.ports import free_port

KINDS = [SERVICES, SLICES]


@pytest.fixture
def server() -> Iterator[Kubernetes]:
    with kubernetes() as found:
        yield found


def cluster_of(url: str, kinds: list[Kind] | None = None, namespaces: tuple[str, ...] = (), **access: str) -> Cluster:
    return Cluster(KubernetesClient("kubernetesCRD", Access(url, **access)), kinds or KINDS, namespaces)  # type: ignore[arg-type]


@contextlib.asynccontextmanager
async def following(cluster: Cluster) -> AsyncIterator[Callable[[], Snapshot]]:
    """Follow a cluster; gives what is known of it."""
    begun = asyncio.Event()

    async def follow() -> None:
        async for _ in cluster.changes():
            begun.set()

    task = asyncio.create_task(follow())
    waiting = asyncio.create_task(begun.wait())
    try:
        await asyncio.wait({task, waiting}, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            task.result()
        yield cluster.snapshot
    finally:
        waiting.cancel()
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError, AnswerError):
            await task
        await cluster.close()


def names(snapshot: Snapshot, kind: Kind = SERVICES) -> set[str]:
    return {name for _, name in snapshot.objects.get(kind.name, {})}


def run(test: Coroutine[Any, Any, None]) -> None:
    asyncio.run(test)


def test_what_is_there_and_what_changes(server: Kubernetes) -> None:
    async def test() -> None:
        server.page_limit = 2
        for number in range(5):
            server.apply(service(f"s{number}"))
        async with following(cluster_of(server.url)) as known:
            assert names(known()) == {"s0", "s1", "s2", "s3", "s4"}
            assert server.count("GET", "services?") >= 3  # pages, and the watch
            server.apply(service("new"))
            server.apply(service("s1", 81))
            await becomes_true(lambda: "new" in names(known()))
            found = known().find("Service", "default", "s1")
            assert found is not None and found["spec"]["ports"][0]["port"] == 81
            server.delete("Service", "s2")
            await becomes_true(lambda: "s2" not in names(known()))
            assert names(known()) == {"s0", "s1", "s3", "s4", "new"}

    run(test())


def test_an_object_that_is_deleted_and_created_again_is_never_missing(server: Kubernetes) -> None:
    async def test() -> None:
        server.apply(service("web"))
        server.apply(slice_of("web", ["127.0.0.2"], 80))
        async with following(cluster_of(server.url)) as known:
            gone = False
            for port in range(90, 110):
                server.delete("Service", "web")
                server.apply(service("web", port))
                await asyncio.sleep(0.01)
                gone |= "web" not in names(known())
            await becomes_true(lambda: (known().find("Service", "default", "web") or {})["spec"]["ports"][0]["port"] == 109)
            assert not gone
            server.delete("EndpointSlice", "web-a")  # a pod that is gone is gone
            await becomes_true(lambda: not names(known(), SLICES))

    run(test())


def test_a_watch_goes_on_where_it_ended(server: Kubernetes) -> None:
    async def test() -> None:
        server.apply(service("web"))
        async with following(cluster_of(server.url)) as known:
            listed = server.count("GET", "services?limit")
            await becomes_true(lambda: server.count("GET", "services?watch") == 1)
            server.cut()
            server.apply(service("during"))
            await becomes_true(lambda: "during" in names(known()))
            assert server.count("GET", "services?limit") == listed
            assert not known().failures  # a cut connection is no reason for a word

    run(test())


def test_bookmarks_keep_the_version_that_a_watch_continues_from(server: Kubernetes) -> None:
    async def test() -> None:
        server.apply(service("web"))
        async with following(cluster_of(server.url)) as known:
            await becomes_true(lambda: server.count("GET", "services?watch") == 1)
            for number in range(3):
                server.apply(slice_of("web", [f"127.0.0.{number + 2}"], 80, suffix=str(number)))
            await becomes_true(lambda: len(names(known(), SLICES)) == 3)
            version = server.get("EndpointSlice", "web-2")["metadata"]["resourceVersion"]
            pause_s = 0.01
            async with asyncio.timeout(60):
                while not server.count("GET", f"services?watch=1&allowWatchBookmarks=true&resourceVersion={version}"):
                    await asyncio.sleep(pause_s)  # the bookmark may be under way still, which nobody sees
                    pause_s *= 2
                    before = server.count("GET", "services?watch")
                    server.cut()
                    await becomes_true(lambda before=before: server.count("GET", "services?watch") > before)

    run(test())


def test_what_the_server_has_forgotten_is_listed_again(server: Kubernetes) -> None:
    async def test() -> None:
        server.apply(service("web"))
        server.apply(service("old"))
        async with following(cluster_of(server.url)) as known:
            await becomes_true(lambda: server.count("GET", "services?watch") == 1)
            server.cut()
            server.delete("Service", "old")
            server.apply(service("during"))
            server.forget()
            await becomes_true(lambda: names(known()) == {"web", "during"})
            server.apply(service("after"))
            await becomes_true(lambda: "after" in names(known()))
            assert not known().failures

    run(test())


def test_a_kind_that_is_refused_does_not_hinder_the_others(server: Kubernetes) -> None:
    async def test() -> None:
        server.apply(service("web"))
        server.apply({"kind": "Node", "metadata": {"name": "n"}})
        server.forbidden.add("nodes")
        server.missing.add("endpointslices")
        async with following(cluster_of(server.url, [SERVICES, SLICES, NODES])) as known:
            assert names(known()) == {"web"} and not names(known(), NODES)
            problems, warnings = failure_lines(known(), [SERVICES, SLICES, NODES])
            assert len(problems) == 1 and problems[0].startswith("nodes cannot be read: it answers 403: nodes is forbidden")
            assert warnings == ["the cluster has no kind EndpointSlice of discovery.k8s.io/v1"]
            server.forbidden.clear()
            await becomes_true(lambda: names(known(), NODES) == {"n"} and NODES.name not in known().failures)
            server.forbidden.add("services")
            server.cut()
            await becomes_true(lambda: "Service" in known().failures)
            assert names(known()) == {"web"}
            assert failure_lines(known(), [SERVICES])[0][0].endswith("what was known stays")

    run(test())


def test_a_server_that_is_away_at_the_start_is_an_error_and_comes_later() -> None:
    async def test() -> None:
        port = free_port()
        cluster = cluster_of(f"http://127.0.0.1:{port}")
        with pytest.raises(AnswerError, match="connect"):
            async with following(cluster):
                pass
        with kubernetes(port) as server:
            server.apply(service("web"))
            async with following(cluster_of(server.url)) as known:
                assert names(known()) == {"web"}

    run(test())


def test_what_is_known_stays_while_the_server_is_away() -> None:
    async def test() -> None:
        port = free_port()
        with kubernetes(port) as server:
            server.apply(service("web"))
            cluster = cluster_of(server.url)
            manager = following(cluster)
            known = await manager.__aenter__()
            assert names(known()) == {"web"}

        await becomes_true(lambda: why_away(known))
        with kubernetes(port) as server:
            server.apply(service("web"))
            server.apply(service("other"))
            server.forget()
            await becomes_true(lambda: not why_away(known) and names(known()) == {"web", "other"})
            await manager.__aexit__(None, None, None)

    run(test())


def test_a_token_is_read_again_when_it_has_changed(server: Kubernetes, tmp_path: Path) -> None:
    async def test() -> None:
        token = tmp_path / "token"
        token.write_text("one\n")
        server.tokens = {"one"}
        server.apply(service("web"))
        async with following(cluster_of(server.url, token_file=str(token))) as known:
            server.tokens = {"two"}
            server.cut()

            await becomes_true(lambda: "401" in why_away(known))
            token.write_text("two\n")
            server.apply(service("later"))
            await becomes_true(lambda: not why_away(known) and names(known()) == {"web", "later"})

    run(test())


def why_away(known: Callable[[], Snapshot]) -> str:
    """Why nothing can be read now; empty: something can."""
    try:
        known()
    except AnswerError as error:
        return str(error) or "?"
    return ""


def test_namespaces_and_selectors_are_asked_for(server: Kubernetes) -> None:
    async def test() -> None:
        server.apply(service("web", namespace="a"))
        server.apply(service("web", namespace="b"))
        server.apply(service("web", namespace="c"))
        for name, labels in (("helm", {"owner": "helm"}), ("mine", {})):
            server.apply({"kind": "Secret", "metadata": {"name": name, "namespace": "a", "labels": labels}, "stringData": {"x": "y"}})
        cluster = cluster_of(server.url, [SERVICES, SECRETS, NODES], ("a", "b", "a"))
        snapshot = await cluster.read()  # nothing is watched: what is there now
        await cluster.close()
        assert set(snapshot.objects["Service"]) == {("a", "web"), ("b", "web")}
        assert names(snapshot, SECRETS) == {"mine"}
        assert snapshot.reads("a") and not snapshot.reads("c")

    run(test())


def test_a_single_reading_is_whole_or_none(server: Kubernetes) -> None:
    async def test() -> None:
        server.apply(service("web"))
        server.failing["endpointslices"] = 500
        cluster = cluster_of(server.url)
        with pytest.raises(AnswerError, match="500"):
            await cluster.read()
        await cluster.close()

    run(test())


def test_little_is_kept_of_objects(server: Kubernetes) -> None:
    async def test() -> None:
        server.apply({"kind": "ConfigMap", "metadata": {"name": "m", "managedFields": [{"a": 1}], "annotations": {"x": "y"}}, "data": {"ca.crt": "pem", "large": "x" * 1000}})
        server.apply({"kind": "Node", "metadata": {"name": "n"}, "spec": {"a": 1}, "status": {"addresses": [], "images": [1]}})
        cluster = cluster_of(server.url, [MAPS, NODES])
        snapshot = await cluster.read()
        await cluster.close()
        found = snapshot.find("ConfigMap", "default", "m")
        assert found is not None and found["data"] == {"ca.crt": "pem"}
        assert set(found["metadata"]) == {"name", "namespace", "uid", "creationTimestamp"}
        assert snapshot.find("Node", "", "n") is not None and "images" not in str(snapshot.find("Node", "", "n"))

    run(test())


def test_what_several_providers_want_is_watched_once(server: Kubernetes) -> None:
    async def test() -> None:
        server.apply(service("web"))
        first, second = cluster_of(server.url, [SERVICES, SLICES]), cluster_of(server.url, [SERVICES, NODES])
        async with following(first) as of_first:
            async with following(second) as of_second:
                assert names(of_first()) == names(of_second()) == {"web"}
                assert server.count("GET", "services?limit") == 1 and server.count("GET", "nodes?limit") == 1
                server.apply(service("new"))
                await becomes_true(lambda: "new" in names(of_first()) and "new" in names(of_second()))
            await becomes_true(lambda: not [task for task in asyncio.all_tasks() if task.get_name() == "watch nodes"])
            server.apply(service("later"))  # the other one goes on
            await becomes_true(lambda: "later" in names(of_first()))
        assert not [task for task in asyncio.all_tasks() if task.get_name().startswith("watch ")]
        async with following(cluster_of(server.url)) as again:
            assert names(again()) == {"web", "new", "later"}
        async with following(first) as of_first, following(cluster_of(server.url, token="other")) as of_other:
            assert names(of_first()) == names(of_other())
            assert server.count("GET", "services?limit") == 4  # other credentials see other things

    run(test())


def test_ends_at_once_while_it_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    async def test() -> None:
        monkeypatch.setattr(watching, "START_S", 0.05)
        silent = await asyncio.start_server(lambda reader, writer: asyncio.sleep(100), "127.0.0.1", 0)
        port = silent.sockets[0].getsockname()[1]
        with pytest.raises(AnswerError, match="does not answer"):
            async with following(cluster_of(f"http://127.0.0.1:{port}")):
                pass
        assert not [task for task in asyncio.all_tasks() if task.get_name().startswith("watch ")]
        silent.close()

    run(test())


def test_the_server_has_to_show_a_certificate_of_the_authority_that_is_named(tmp_path: Path) -> None:
    root, other = authority(tmp_path, "root"), authority(tmp_path, "other")
    pair = signed(tmp_path, root, "server", "IP:127.0.0.1")

    async def names_with(url: str, **settings: Any) -> set[str]:
        access = access_of("kubernetesCRD", KubernetesCrd(endpoint=url, **settings), {})
        cluster = Cluster(KubernetesClient("kubernetesCRD", access), [SERVICES], ())
        try:
            return names(await cluster.read())
        finally:
            await cluster.close()

    with kubernetes(tls=pair) as server:
        server.apply(service("web"))
        assert asyncio.run(names_with(server.url, cert_auth_file_path=str(root.certificate))) == {"web"}
        for settings in ({"cert_auth_file_path": str(other.certificate)}, {}):
            with pytest.raises(AnswerError):
                asyncio.run(names_with(server.url, **settings))


def test_options_of_what_is_read() -> None:
    crd = kinds_of_crd(KubernetesCrd(label_selector="a=b", disable_cluster_scope_resources=True))
    assert {kind.selector for kind in crd if kind.group == "traefik.io"} == {"a=b"} and NODES not in crd
    assert NODES in kinds_of_crd(KubernetesCrd())
    ingress = kinds_of_ingress(KubernetesIngress(label_selector="a=b"))
    assert ingress[0].selector == "a=b" and CLASSES in ingress
    assert CLASSES not in kinds_of_ingress(KubernetesIngress(disable_ingress_class_lookup=True))
    assert CLASSES not in kinds_of_ingress(KubernetesIngress(disable_cluster_scope_resources=True))
    gateway = kinds_of_gateway(KubernetesGateway(label_selector="a=b"))
    assert [kind.name for kind in gateway if kind.selector == "a=b"] == ["GatewayClass"]


@pytest.mark.parametrize(("of_all", "own", "seconds"), [("2s", "0s", 2), ("2s", "5s", 5), ("3s", "1s", 3)])
def test_the_longer_throttle_counts(of_all: str, own: str, seconds: int) -> None:
    for section in ("kubernetesCRD", "kubernetesIngress", "kubernetesGateway"):
        options = {"endpoint": "http://127.0.0.1:1", "throttleDuration": own}
        static = static_of({"providers": {"providersThrottleDuration": of_all, section: options}})
        (provider,) = providers_of(static)
        assert provider._throttle_s == seconds  # type: ignore[attr-defined]


# Where a cluster is


def test_access_in_a_cluster(tmp_path: Path) -> None:
    environ = {"KUBERNETES_SERVICE_HOST": "fd00::1", "KUBERNETES_SERVICE_PORT": "6443"}
    (tmp_path / "ca.crt").write_text("x")
    (tmp_path / "token").write_text("abc\n")
    found = access_of("kubernetesCRD", KubernetesCrd(), environ, tmp_path)
    assert found.endpoint == "https://[fd00::1]:6443" and found.tls is not None and found.tls.ca == str(tmp_path / "ca.crt")
    assert found.headers() == {"Authorization": "Bearer abc"}
    (tmp_path / "token").write_text("def\n")
    assert found.headers() == {"Authorization": "Bearer def"}
    other = access_of("kubernetesCRD", KubernetesCrd(endpoint="https://other:1", token="mine"), environ, tmp_path)
    assert other.endpoint == "https://other:1" and other.headers() == {"Authorization": "Bearer mine"}


def test_access_by_kubeconfig(tmp_path: Path) -> None:
    file = tmp_path / "config"
    data = base64.b64encode(b"-----BEGIN").decode()
    content = {
        "current-context": "c",
        "contexts": [{"name": "c", "context": {"cluster": "k", "user": "u"}}],
        "clusters": [{"name": "k", "cluster": {"server": "https://k:6443", "certificate-authority": "ca.pem"}}],
        "users": [{"name": "u", "user": {"client-certificate-data": data, "client-key": "/key.pem"}}],
    }
    file.write_text(yaml.safe_dump(content))
    found = access_of("kubernetesCRD", KubernetesCrd(), {"KUBECONFIG": str(file)})
    assert found.endpoint == "https://k:6443" and found.tls is not None
    assert (found.tls.ca, found.tls.cert, found.tls.key) == (str(tmp_path / "ca.pem"), "-----BEGIN", "/key.pem")
    first = tmp_path / "first"
    first.write_text(yaml.safe_dump({"users": [{"name": "u", "user": {"tokenFile": "t"}}]}))
    both = access_of("kubernetesCRD", KubernetesCrd(), {"KUBECONFIG": f"{first}:{file}"})
    assert both.token_file == str(tmp_path / "t") and both.endpoint == "https://k:6443"


@pytest.mark.parametrize(
    ("user", "cluster", "reason"),
    [
        ({"exec": {"command": "x"}}, {}, "exec is not supported"),
        ({"auth-provider": {"name": "x"}}, {}, "auth-provider is not supported"),
        ({}, {"proxy-url": "http://p"}, "proxy-url is not supported"),
        (None, {}, "no user 'u'"),
    ],
    ids=["exec", "auth-provider", "proxy", "no user"],
)  # fmt: skip
def test_access_that_cannot_be_used(tmp_path: Path, user: dict[str, Any] | None, cluster: dict[str, Any], reason: str) -> None:
    file = tmp_path / "config"
    content = {
        "current-context": "c", "contexts": [{"name": "c", "context": {"cluster": "k", "user": "u"}}],
        "clusters": [{"name": "k", "cluster": {"server": "https://k", **cluster}}],
        "users": [] if user is None else [{"name": "u", "user": user}],
    }  # fmt: skip
    file.write_text(yaml.safe_dump(content))
    with pytest.raises(ConfigError, match=reason):
        access_of("kubernetesCRD", KubernetesCrd(), {"KUBECONFIG": str(file)})


def test_access_that_is_not_configured(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="endpoint: is missing"):
        access_of("kubernetesCRD", KubernetesCrd(), {})
    with pytest.raises(ConfigError, match="No such file"):
        access_of("kubernetesCRD", KubernetesCrd(), {"KUBECONFIG": str(tmp_path / "none")})
    token = tmp_path / "token"
    token.write_text("abc")
    found = access_of("kubernetesCRD", KubernetesCrd(endpoint="http://k", token=str(token)), {})
    assert found.headers() == {"Authorization": "Bearer abc"}
