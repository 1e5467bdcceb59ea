"""Build the Debian package from the wheel in dist/, for the Python that runs this: `python3 ci/deb.py`.

/opt/lbcore is a virtual environment over the Python of the system; beside it come the units of systemd, manual pages,
the completion of shells, and a configuration. What lbcore needs is taken from PyPI, or from dist/ alone with
PIP_NO_INDEX=1.
"""

import gzip
import os
import shutil
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
DIST = ROOT / "dist"
UNITS = ROOT / "packaging" / "systemd"
SYSTEM = "/usr/bin/python3"
CONTROL = """Package: lbcore
Version: {version}
Architecture: {architecture}
Maintainer: lbcore <https://github.com/lbcore/lbcore>
Depends: python3 (>= {major}.{minor}), python3 (<< {major}.{next})
Section: net
Priority: optional
Homepage: https://github.com/lbcore/lbcore
Description: L7/L4 load balancer and edge proxy
 Configured by Traefik's own files, with a data plane in Cython.
"""
RELOAD = """#!/bin/sh
set -e
[ ! -d /run/systemd/system ] || systemctl daemon-reload
"""
COMPLETIONS = {
    "bash": "usr/share/bash-completion/completions/lbcore",
    "zsh": "usr/share/zsh/vendor-completions/_lbcore",
    "fish": "usr/share/fish/vendor_completions.d/lbcore.fish",
}
COMMAND = """#!/opt/lbcore/bin/python3
import sys

from lbcore.__main__ import main

sys.exit(main())
"""


def write(path: Path, text: str, mode: int = 0o644) -> None:
    """A file with this text and mode, in a folder that everybody can read."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(mode)


def environment(tree: Path) -> None:
    """A virtual environment in opt/lbcore, whose interpreter is that of the system."""
    major, minor = sys.version_info[:2]
    ask = [SYSTEM, "-c", "import sys; print(*sys.version_info[:2])"]
    found = subprocess.run(ask, check=True, capture_output=True, text=True).stdout.split()
    if found != [str(major), str(minor)]:
        sys.exit(f"{SYSTEM} is Python {'.'.join(found)}: run this with the same version")
    opt = tree / "opt" / "lbcore"
    packages = opt / "lib" / f"python{major}.{minor}" / "site-packages"
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-compile", "--find-links", str(DIST)]
    subprocess.run([*pip, "--target", str(packages), "lbcore[all]"], check=True)
    shutil.rmtree(packages / "bin", ignore_errors=True)
    write(opt / "pyvenv.cfg", f"home = /usr/bin\ninclude-system-site-packages = false\nversion = {major}.{minor}\n")
    write(opt / "bin" / "lbcore", COMMAND, 0o755)
    (opt / "bin" / "python3").symlink_to(SYSTEM)


def help_of(tree: Path) -> None:
    """Manual pages, and the completion of shells, by the command itself."""
    (packages,) = (tree / "opt/lbcore/lib").glob("python*/site-packages")
    lbcore = [sys.executable, "-m", "lbcore"]
    environ = {**os.environ, "PYTHONPATH": str(packages), "PYTHONDONTWRITEBYTECODE": "1"}
    pages = tree / "usr/share/man/man1"
    subprocess.run([*lbcore, "man", str(pages)], env=environ, check=True, stdout=subprocess.DEVNULL)
    for page in pages.iterdir():
        page.with_suffix(".1.gz").write_bytes(gzip.compress(page.read_bytes(), mtime=0))
        page.unlink()
    for shell, place in COMPLETIONS.items():
        said = subprocess.run([*lbcore, "completion", shell], env=environ, check=True, capture_output=True, text=True)
        write(tree / place, said.stdout)


def main() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    ask = ["dpkg", "--print-architecture"]
    architecture = subprocess.run(ask, check=True, capture_output=True, text=True).stdout.strip()
    os.umask(0o022)
    with tempfile.TemporaryDirectory(prefix="lbcore-deb-") as folder:
        tree = Path(folder) / "tree"
        tree.mkdir()
        environment(tree)
        for unit in ("lbcore.service", "lbcore.socket"):
            write(tree / "usr/lib/systemd/system" / unit, (UNITS / unit).read_text())
        write(tree / "etc/lbcore/traefik.yml", (UNITS / "traefik.yml").read_text())
        write(tree / "etc/lbcore/dynamic/README", "Dynamic configurations: *.yml and *.toml.\n")
        help_of(tree)
        (tree / "usr/bin").mkdir()
        (tree / "usr/bin/lbcore").symlink_to("/opt/lbcore/bin/lbcore")
        major, minor = sys.version_info[:2]
        control = CONTROL.format(version=version, architecture=architecture, major=major, minor=minor, next=minor + 1)
        write(tree / "DEBIAN/control", control)
        write(tree / "DEBIAN/conffiles", "/etc/lbcore/traefik.yml\n")
        for script in ("postinst", "postrm"):
            write(tree / "DEBIAN" / script, RELOAD, 0o755)
        made = DIST / f"lbcore_{version}_{architecture}.deb"
        subprocess.run(["dpkg-deb", "--root-owner-group", "-Zzstd", "-z6", "--build", str(tree), str(made)], check=True)
    print(f"{made}: {made.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
