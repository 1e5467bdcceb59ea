"""What mkdocs needs beside the pages in docs/: the pages that are made, and links that lead out of docs/.

A page links to files of the repository by relative paths, which work where the repository is shown. On the site, a link
to a page of the site stays one, and any other leads to the repository.
"""

from __future__ import annotations

import posixpath
import re
import sys
import tomllib
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
sys.path.insert(0, str(ROOT / "ci"))

import commands  # noqa: E402
import reference  # noqa: E402
import traefik_keys  # noqa: E402

SOURCE = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["urls"]["Source"]
# Pages that are files at the top of the repository.
FROM_TOP = {"changelog.md": "CHANGELOG.md", "security.md": "SECURITY.md", "contributing.md": "CONTRIBUTING.md"}
TO_PAGE = {top: page for page, top in FROM_TOP.items()} | {"README.md": "index.md"}
LINK = re.compile(r"(\]\()([^)\s]+)(\))")


def on_files(files: Files, config: Any) -> Files:
    """Add the pages that are made."""
    made = {page: (ROOT / top).read_text() for page, top in FROM_TOP.items()}
    made |= {f"reference/{kind}.md": reference.page(kind) for kind in reference.ROOTS}
    made["reference/traefik.md"] = traefik_keys.page()
    made["reference/commands.md"] = commands.page()
    for name, text in made.items():
        files.append(File.generated(config, name, content=text))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Files) -> str:
    """Turn links to files of the repository into links that work on the site."""
    name = page.file.src_uri
    folder = "" if name in FROM_TOP else posixpath.join("docs", posixpath.dirname(name))

    def turned(found: re.Match[str]) -> str:
        target, hash_, fragment = found[2].partition("#")
        if not target or "://" in target or target.startswith("mailto:"):
            return found[0]
        path = posixpath.normpath(posixpath.join(folder, target))
        if path in TO_PAGE:
            path = f"docs/{TO_PAGE[path]}"
        elif not path.startswith("docs/") or not Path(path).suffix:
            kind = "tree" if (ROOT / path).is_dir() else "blob"
            return f"{found[1]}{SOURCE}/{kind}/main/{path}{found[3]}"
        relative = posixpath.relpath(path, posixpath.join("docs", posixpath.dirname(name)))
        return f"{found[1]}{relative}{hash_}{fragment}{found[3]}"

    return LINK.sub(turned, markdown)
