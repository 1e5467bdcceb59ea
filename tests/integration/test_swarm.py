"""`providers.swarm` beside a real Swarm of one node: which servers a service gets. Nothing is sent to its networks."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from tests.integration.test_docker import api, instance
from tests.support.docker import IMAGE, docker
from tests.support.instance import eventually
from tests.support.ports import free_port


def spec(name: str, labels: dict[str, str], replicas: int, network: str) -> dict[str, Any]:
    command = ["/bin/busybox", "sh", "-c", "trap 'exit 0' TERM; while :; do /bin/busybox sleep 0.1; done"]
    return {
        "Name": name,
        "Labels": labels,
        "TaskTemplate": {
            "ContainerSpec": {"Image": IMAGE, "Command": command},
            "Networks": [{"Target": network}],
            "RestartPolicy": {"Condition": "any", "Delay": 100_000_000},
        },
        "Mode": {"Replicated": {"Replicas": replicas}},
    }


def test_services_and_their_tasks(tmp_path: Path) -> None:
    with docker() as engine:
        engine.ask("POST", "/swarm/init", {"ListenAddr": f"127.0.0.1:{free_port()}", "AdvertiseAddr": "127.0.0.1"})
        try:
            body = {"Name": "lbs", "Driver": "overlay", "IPAM": {"Config": [{"Subnet": "10.91.0.0/24"}]}}
            network = engine.ask("POST", "/networks/create", body)["Id"]
            labels = {
                "traefik.http.routers.web.rule": "Host(`web`)",
                "traefik.http.services.web.loadbalancer.server.port": "8080",
            }
            engine.ask("POST", "/services/create", spec("web", labels, 2, network))
            by_swarm = {
                **{key.replace(".web.", ".vip."): value for key, value in labels.items()},
                "traefik.swarm.lbswarm": "true",
            }
            engine.ask("POST", "/services/create", spec("vip", by_swarm, 1, network))
            engine.ask(
                "POST", "/services/create", spec("none", {"traefik.http.routers.none.rule": "Host(`none`)"}, 1, network)
            )

            providers = {
                "providersThrottleDuration": "0s",
                "swarm": {"endpoint": engine.url, "refreshSeconds": "200ms"},
            }
            with instance(tmp_path, "", providers=providers) as lb:

                def urls(name: str) -> list[str]:
                    service = api(lb, f"/api/http/services/{name}@swarm") or {}
                    return [each["url"] for each in service.get("loadBalancer", {}).get("servers", [])]

                eventually(lambda: len(urls("web")) == 2, "two tasks")
                assert all(url.startswith("http://10.91.0.") and url.endswith(":8080") for url in urls("web"))
                assert len(urls("vip")) == 1
                inspected = engine.ask("GET", "/services/vip")["Endpoint"]["VirtualIPs"]
                assert urls("vip") == [f"http://{inspected[0]['Addr'].split('/')[0]}:8080"]
                lb.logged(
                    r"service none: port is missing: set the label traefik.http.services.NAME.loadbalancer.server.port"
                )
                version = engine.ask("GET", "/services/web")["Version"]["Index"]
                engine.ask("POST", "/services/web/update", spec("web", labels, 0, network), version=version)
                eventually(lambda: urls("web") == [], "no task")
                assert api(lb, "/api/http/routers/web@swarm")["status"] == "enabled"
                command = [sys.executable, "-m", "lbcore", "check", "--provider", "swarm", "--endpoint", engine.url]
                shown = subprocess.run(command, capture_output=True, text=True, check=False)
                assert "router web: Host(`web`) -> web (no server)" in shown.stdout
        finally:
            for service in engine.ask("GET", "/services"):
                engine.ask("DELETE", f"/services/{service['ID']}")
            end = time.monotonic() + 30
            while engine.ask("GET", "/containers/json", all=1) and time.monotonic() < end:
                time.sleep(0.1)
            engine.client.post("/swarm/leave", params={"force": 1})
            engine.networks.append("docker_gwbridge")  # Swarm has made it
