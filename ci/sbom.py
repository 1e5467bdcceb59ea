"""Write dist/sbom.cdx.json: all that an installation of `lbcore[all]` from dist/ consists of, as CycloneDX has it."""

import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
DIST = ROOT / "dist"


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="lbcore-sbom-") as folder:
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        python = Path(folder) / "bin" / "python"
        pip = [str(python), "-m", "pip", "--disable-pip-version-check"]
        subprocess.run([*pip, "install", "--quiet", "--find-links", str(DIST), "lbcore[all]"], check=True)
        subprocess.run([*pip, "uninstall", "--quiet", "--yes", "setuptools", "pip"], check=True)
        command = [sys.executable, "-m", "cyclonedx_py", "environment", "--output-reproducible", "--of", "JSON"]
        command += ["--pyproject", str(ROOT / "pyproject.toml"), "--output-file", str(DIST / "sbom.cdx.json")]
        subprocess.run([*command, str(python)], check=True)
    print(DIST / "sbom.cdx.json")


if __name__ == "__main__":
    main()
