"""The Workload API of SPIFFE: identities that come, change and stay, over real gRPC, in real instances."""

from __future__ import annotations

import concurrent.futures
import queue
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key

from lbcore.config.load import static_of
from lbcore.errors import ConfigError
from lbcore.process.preflight import start_problems
from lbcore.spiffe.messages import identity_in
from tests.support.certificates import Files, authority, signed
from tests.support.instance import Instance, eventually, running
from tests.support.secure import SecureServer, secure_serving

SHOP, FAR = "spiffe://shop.test/cart", "spiffe://far.test/cart"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Files]:
    folder = tmp_path_factory.mktemp("certificates")
    shop, far = authority(folder, "shop-ca"), authority(folder, "far-ca")
    return {
        "shop-ca": shop,
        "far-ca": far,
        "shop": signed(folder, shop, "shop", f"URI:{SHOP}"),
        "far": signed(folder, far, "far", f"URI:{FAR}"),
        **{f"edge-{n}": signed(folder, shop, f"edge-{n}", f"URI:spiffe://shop.test/edge/{n}") for n in (1, 2)},
    }


def field(number: int, value: bytes) -> bytes:
    """A field with a length, of Protocol Buffers."""
    length, sizes = len(value), b""
    while True:
        sizes += bytes([length & 0x7F | (0x80 if length > 0x7F else 0)])
        length >>= 7
        if not length:
            return bytes([number << 3 | 2]) + sizes + value


def der(files: Files) -> bytes:
    return ssl.PEM_cert_to_DER_cert(files.certificate.read_text())


def message(made: dict[str, Files], own: str, *federated: str) -> bytes:
    """What the API says: an identity in shop.test, its bundle, and bundles of other domains."""
    key = load_pem_private_key(made[own].key.read_bytes(), None)
    text = key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    number = own.rpartition("-")[2]
    svid = field(1, f"spiffe://shop.test/edge/{number}".encode()) + field(2, der(made[own])) + field(3, text)
    found = field(1, svid + field(4, der(made["shop-ca"])) + field(5, b"a hint"))
    for domain in federated:
        entry = field(1, f"spiffe://{domain}.test".encode()) + field(2, der(made[f"{domain}-ca"]))
        found += field(3, entry)
    return found


class WorkloadApi:
    """A server of the Workload API. It says what is put into `says`; None ends the stream, as does its end."""

    def __init__(self, address: str) -> None:
        self.says: queue.Queue[bytes | None] = queue.Queue()
        self.server = grpc.server(concurrent.futures.ThreadPoolExecutor(4))
        api = self

        def fetch(request: bytes, context: grpc.ServicerContext) -> Iterator[bytes]:
            if ("workload.spiffe.io", "true") not in [tuple(each) for each in context.invocation_metadata()]:
                context.abort(grpc.StatusCode.INVALID_ARGUMENT, "the header is missing")
            while (said := api.says.get()) is not None:
                yield said

        handler = grpc.unary_stream_rpc_method_handler(fetch)
        self.server.add_generic_rpc_handlers(
            (grpc.method_handlers_generic_handler("SpiffeWorkloadAPI", {"FetchX509SVID": handler}),)
        )
        self.port = self.server.add_insecure_port(address)
        self.server.start()

    def stop(self) -> None:
        self.says.put(None)
        self.server.stop(None).wait(30)


@pytest.fixture
def servers(made: dict[str, Files]) -> Iterator[dict[str, SecureServer]]:
    def asks(context: ssl.SSLContext) -> None:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(made["shop-ca"].certificate)

    with secure_serving(made["shop"], adjust=asks) as shop, secure_serving(made["far"], adjust=asks) as far:
        yield {"shop": shop, "far": far}


def configured(servers: dict[str, SecureServer]) -> dict[str, Any]:
    """`/named` by a transport of its own, the rest by the static one."""
    services = {name: {"loadBalancer": {"servers": [{"url": server.url}]}} for name, server in servers.items()}
    services["named"] = {"loadBalancer": {**services["shop"]["loadBalancer"], "serversTransport": "named"}}
    routers = {name: {"rule": f"PathPrefix(`/{name}`)", "service": name} for name in services}
    transports = {"named": {"spiffe": {"ids": [SHOP]}, "maxIdleConnsPerHost": -1}}
    return {"http": {"routers": routers, "services": services, "serversTransports": transports}}


def shown(server: SecureServer) -> str:
    """The identity that the latest client has shown."""
    certificate = server.seen.certificates[-1]
    assert certificate
    return str(dict(certificate["subjectAltName"])["URI"])  # type: ignore[call-overload]


def answers(lb: Instance, path: str) -> int:
    return lb.get(path)[0]


def test_identities_come_change_and_stay(
    made: dict[str, Files], servers: dict[str, SecureServer], tmp_path: Path
) -> None:
    address = f"unix://{tmp_path}/api.sock"
    static = {"spiffe": {"workloadAPIAddr": address}, "serversTransport": {"spiffe": {}, "maxIdleConnsPerHost": -1}}
    with running(tmp_path, configured(servers), static=static, workers=1) as lb:
        lb.runs(1)
        lb.logged(rf"the Workload API at {address} cannot be followed, what it said last stays: ")
        assert [answers(lb, path) for path in ("/named", "/shop", "/far")] == [502, 502, 502]
        api = WorkloadApi(address)
        api.says.put(message(made, "edge-1"))
        lb.runs(2)
        assert [answers(lb, path) for path in ("/named", "/shop", "/far")] == [200, 200, 502]
        assert shown(servers["shop"]) == "spiffe://shop.test/edge/1"
        # The next message has another identity, and the bundle of another domain.
        api.says.put(message(made, "edge-2", "far"))
        lb.runs(3)
        assert [answers(lb, path) for path in ("/named", "/shop", "/far")] == [200, 200, 200]
        assert shown(servers["shop"]) == shown(servers["far"]) == "spiffe://shop.test/edge/2"
        # What cannot be read, and the end of the API, change nothing.
        api.says.put(b"\x0a\xff")
        lb.logged(r"what it said last stays: a message is cut off")
        api.stop()
        assert [answers(lb, path) for path in ("/named", "/shop", "/far")] == [200, 200, 200]
        again = WorkloadApi(address)
        again.says.put(message(made, "edge-1", "far"))
        lb.runs(4)
        assert [answers(lb, path) for path in ("/named", "/far")] == [200, 200]
        assert shown(servers["far"]) == "spiffe://shop.test/edge/1"
        again.says.put(message(made, "edge-1", "far"))  # the same once more is no reload
        again.says.put(message(made, "edge-2"))
        lb.runs(5)
        assert [answers(lb, path) for path in ("/named", "/far")] == [200, 502]
        again.stop()
        assert "PRIVATE KEY" not in lb.log


def test_a_trust_bundle_in_a_file_is_replaced(made: dict[str, Files], tmp_path: Path) -> None:
    """Nobody tells lbcore of it. A connection that was made by the old bundle is not used again."""
    bundle = tmp_path / "shop.pem"

    def put(name: str) -> None:
        new = bundle.with_suffix(".new")
        new.write_text(made[name].certificate.read_text())
        new.replace(bundle)

    put("far-ca")
    with secure_serving(made["shop"]) as server:
        transports = {
            name: {"spiffe": {"ids": [wanted], "trustBundles": {"shop.test": str(bundle)}}}
            for name, wanted in (("right", SHOP), ("wrong", f"{SHOP}/other"))
        } | {"uri": {"rootCAs": [str(bundle)], "insecureSkipVerify": True, "peerCertURI": SHOP}}
        services = {
            name: {"loadBalancer": {"servers": [{"url": server.url}], "serversTransport": name}} for name in transports
        }
        routers = {name: {"rule": f"PathPrefix(`/{name}`)", "service": name} for name in services}
        dynamic = {"http": {"routers": routers, "services": services, "serversTransports": transports}}
        with running(tmp_path, dynamic, workers=1) as lb:
            lb.runs(1)

            def found() -> list[int]:
                return [answers(lb, f"/{name}") for name in ("right", "wrong", "uri")]

            assert found() == [502, 502, 502]
            put("shop-ca")
            eventually(lambda: found() == [200, 502, 200], "the new bundle counts")
            bundle.write_text("no bundle")
            lb.logged(r"is no trust bundle.*: what was read before stays")
            assert found() == [200, 502, 200]
            put("far-ca")
            eventually(lambda: found() == [502, 502, 502], "the old bundle counts again")


def test_the_address_may_come_from_the_environment(
    made: dict[str, Files], servers: dict[str, SecureServer], tmp_path: Path
) -> None:
    api = WorkloadApi("127.0.0.1:0")
    api.says.put(message(made, "edge-1"))
    environ = {"SPIFFE_ENDPOINT_SOCKET": f"tcp://127.0.0.1:{api.port}"}
    with running(tmp_path, configured(servers), static={"spiffe": {}}, environ=environ, workers=1) as lb:
        eventually(lambda: answers(lb, "/named") == 200, "the identity has come")
        assert answers(lb, "/shop") == 502, "the static transport has other trust"
    api.stop()


def test_an_api_that_cannot_be_asked_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SPIFFE_ENDPOINT_SOCKET", raising=False)
    with pytest.raises(ConfigError, match="is no address of a Workload API"):
        static_of({"spiffe": {"workloadAPIAddr": "http://127.0.0.1:1"}})
    for static, problem in (
        ({"spiffe": {}}, "spiffe.workloadAPIAddr: is missing"),
        ({"serversTransport": {"spiffe": {}}}, "serversTransport.spiffe: SPIFFE is enabled for this transport, but"),
        ({"tcpServersTransport": {"tls": {"spiffe": {}}}}, "tcpServersTransport.tls.spiffe: SPIFFE is enabled for"),
    ):
        points = {"entryPoints": {"web": {"address": "127.0.0.1:0"}}}
        [found] = start_problems(static_of({**points, **static}))
        assert problem in str(found)


def test_messages_are_read_to_the_letter(made: dict[str, Files]) -> None:
    whole = message(made, "edge-1", "far")
    assert set(identity_in(whole).bundles) == {"shop.test", "far.test"}
    # Fields of other kinds are passed over.
    assert identity_in(b"\x20\x96\x01" + b"\x2d" + bytes(4) + b"\x31" + bytes(8) + whole) == identity_in(whole)
    for broken in (b"", b"\x0a", b"\x0a\x02a", b"\x0b", field(1, b""), field(1, field(1, b"spiffe://a"))):
        with pytest.raises(ValueError):
            identity_in(broken)
    with pytest.raises(ValueError):
        identity_in(whole + b"\x31" + bytes(7))
    identity_ends = whole.index(b"a hint") + len(b"a hint")
    for cut in range(1, len(whole)):
        if cut != identity_ends:
            with pytest.raises(ValueError):
                identity_in(whole[:cut])
