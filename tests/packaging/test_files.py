"""Files that other programs read: workflows, units of systemd, the container's file."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest
import yaml

from tests.support.command import run_command

ROOT = Path(__file__).resolve().parents[2]
SCRIPTS = Path(sysconfig.get_path("scripts"))
WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yml"))
UNITS = ROOT / "packaging/systemd"
EXPOSURE = 1.5  # of 10; what systemd-analyze says of the unit


def run(*command: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False)


def test_workflows_are_right() -> None:
    assert len(WORKFLOWS) >= 2
    done = run(SCRIPTS / "actionlint", *WORKFLOWS)
    assert done.returncode == 0, done.stdout + done.stderr


def test_workflows_give_nothing_away() -> None:
    done = run(SCRIPTS / "zizmor", "--offline", "--no-progress", *WORKFLOWS)
    assert done.returncode == 0, done.stdout + done.stderr


def test_workflows_run_targets_that_there_are() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    used = {target for path in WORKFLOWS for target in re.findall(r"run: make ([a-z-]+)", path.read_text())}
    matrix = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text())["jobs"]["test"]["strategy"]["matrix"]
    used |= set(matrix["target"])
    assert used <= targets
    assert {"test", "test-lowest", "test-browser", "test-packages", "docs"} <= used


def test_the_unit_of_systemd_takes_everything_away_that_it_can() -> None:
    threshold = f"--threshold={EXPOSURE * 10:.0f}"
    done = run("systemd-analyze", "security", "--offline=true", threshold, UNITS / "lbcore.service")
    assert done.returncode == 0, done.stdout
    said = re.search(r"Overall exposure level for lbcore.service: ([\d.]+)", done.stdout)
    assert said and float(said[1]) == EXPOSURE
    assert f"gives it {EXPOSURE} of 10" in (UNITS / "lbcore.service").read_text()


def test_units_of_systemd_can_be_read(tmp_path: Path) -> None:
    for path in UNITS.glob("lbcore.*"):
        (tmp_path / path.name).write_text(re.sub(r"/opt/lbcore/bin/lbcore", "/bin/true", path.read_text()))
    done = run("systemd-analyze", "verify", *tmp_path.glob("lbcore.*"))
    assert done.returncode == 0 and done.stderr == "", done.stderr


def test_systemd_opens_no_ports_unless_that_was_asked_for(tmp_path: Path) -> None:
    """Its socket would take the place of an address at the next boot, or have a name that no entry point has."""
    units = tmp_path / "etc/systemd/system"
    units.mkdir(parents=True)
    for path in UNITS.glob("lbcore.*"):
        (units / path.name).write_text(path.read_text())
    for name in ("service", "socket"):
        done = run("systemctl", f"--root={tmp_path}", "enable", f"lbcore.{name}")
        assert done.returncode == 0, done.stderr
        found = {path.name for path in units.glob("*.wants/*")}
        assert found == ({"lbcore.service"} if name == "service" else {"lbcore.service", "lbcore.socket"})


def test_the_sockets_of_systemd_are_entry_points() -> None:
    names = re.findall(r"FileDescriptorName=(\w+)", (UNITS / "lbcore.socket").read_text())
    assert set(names) <= yaml.safe_load((UNITS / "traefik.yml").read_text())["entryPoints"].keys()


def test_an_object_that_is_broken_does_not_keep_the_service_from_starting(tmp_path: Path) -> None:
    """`lbcore check` fails for it, and `lbcore run` serves all others."""
    (tmp_path / "app.yml").write_text("http: {routers: {a: {rule: Host(`a`), service: none}}}")
    (tmp_path / "traefik.yml").write_text(f"providers: {{file: {{directory: {tmp_path}}}}}")
    assert run_command("check", tmp_path / "app.yml").returncode == 1
    before = re.findall(r"^ExecStartPre=(.*)$", (UNITS / "lbcore.service").read_text(), re.MULTILINE)
    assert before and all(command.startswith("-") for command in before)


@pytest.mark.parametrize("name", ["packaging/systemd/traefik.yml", "packaging/container/lbcore.yml"])
def test_the_configuration_that_is_shipped_is_right(name: str) -> None:
    from lbcore.config.load import parse_static

    static, warnings = parse_static((ROOT / name).read_text())
    assert warnings == []
    assert static.log.level == "INFO", "at ERROR, the default, the journal does not tell that a service is down"


def test_the_compose_file_runs_the_image_as_it_is_meant_to_be() -> None:
    from lbcore.config.load import parse_dynamic

    composed = yaml.safe_load((ROOT / "packaging/container/compose.yaml").read_text())
    service = composed["services"]["lbcore"]
    assert service["read_only"] and service["cap_drop"] == ["ALL"] and "/tmp" in service["tmpfs"]
    config, warnings = parse_dynamic(composed["configs"]["dynamic"]["content"])
    assert warnings == [] and not any(service.faults for service in config.http.services.values())


def test_the_container_has_no_root_and_is_checked() -> None:
    text = (ROOT / "Dockerfile").read_text()
    last = text[text.rindex("\nFROM ") :]
    assert re.search(r"^USER 65532:65532$", last, re.MULTILINE)
    assert re.search(r'^HEALTHCHECK .*CMD \["lbcore", "healthcheck"\]$', last, re.MULTILINE)
    assert "RUN" not in last


def test_the_image_has_the_python_of_the_wheel(tmp_path: Path) -> None:
    """`make packages image`, whatever Python it is made with: another one would find no wheel for itself in dist/."""
    docker = tmp_path / "docker"
    docker.write_text('#!/bin/sh\necho docker "$@"\n')
    docker.chmod(0o755)
    environ = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    command = ["make", "--no-print-directory", "image"]  # `make test` would have it say where it is
    done = subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True, check=True)
    version = ".".join(map(str, sys.version_info[:2]))
    assert f"PYTHON=python:{version}-slim-bookworm" in done.stdout.splitlines()[-1]


def test_files_are_found_in_the_container_where_traefik_finds_them() -> None:
    """`./traefik.yml:/traefik.yml` and `./acme.json:/acme.json` in a file of compose."""
    text = (ROOT / "Dockerfile").read_text()
    assert "\nWORKDIR /\n" in text[text.rindex("\nFROM ") :]


def test_the_debian_packages_of_a_target_are_named_before_they_are_installed(tmp_path: Path) -> None:
    """With no program to be found, and an apt-get that only says what it was asked for."""
    for name in ("sh", "awk"):
        (tmp_path / name).symlink_to(f"/bin/{name}")
    apt = tmp_path / "apt-get"
    apt.write_text("#!/bin/sh\necho apt-get \"$@\" >&2\n")
    apt.chmod(0o755)
    (tmp_path / "id").write_text("#!/bin/sh\necho 0\n")
    (tmp_path / "id").chmod(0o755)
    command = ["/bin/sh", str(ROOT / "ci/system.sh"), "bench"]
    done = subprocess.run(command, env={"PATH": str(tmp_path)}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    first, *rest = done.stderr.splitlines()
    assert first.startswith("make bench installs Debian packages: ") and " wrk" in first
    assert not {"docker.io", "postgresql", "podman"} & set(first.split())
    assert rest[-1].startswith("apt-get install")
