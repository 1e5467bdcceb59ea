"""Run a story: `python examples/stories/run.py NAME`. Starts its backends and lbcore in front of them, until Ctrl-C.

Stories are the files of this folder; docs/stories says what each of them shows and what to try.
"""

from __future__ import annotations

import importlib.util
import re
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
DEMO = HERE.parent / "quickstart" / "demo.py"
BACKEND = DEMO.with_name("backend.py")
WITHOUT_BACKENDS = {"sticky-tomcat", "database-pool"}  # whose servers you start yourself, as their pages say


def main() -> None:
    stories = sorted(file.stem for file in HERE.glob("*.yml") if file.stem != "traefik")
    if len(sys.argv) != 2 or sys.argv[1] not in stories:
        sys.exit(f"which story? One of: {', '.join(stories)}")
    name = sys.argv[1]
    spec = importlib.util.spec_from_file_location("demo", DEMO)
    assert spec is not None and spec.loader is not None
    demo = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(demo)
    story = HERE / f"{name}.yml"
    ports = sorted({int(port) for port in re.findall(r"127\.0\.0\.1:(\d+)", story.read_text())})
    backends = [] if name in WITHOUT_BACKENDS else ports
    for port in (8000, 8080, *backends):
        demo.require_free(port)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    processes: list[subprocess.Popen[bytes]] = []
    with tempfile.NamedTemporaryFile("w", suffix=".yml") as static:
        static.write((HERE / "traefik.yml").read_text().replace("STORY", str(story)))
        static.flush()
        try:
            for port in backends:
                processes.append(demo.start(sys.executable, str(BACKEND), f"server-{port}", str(port)))
                demo.wait_for(port, "/.count", processes[-1])
                print(f"server-{port} runs as process {processes[-1].pid}: kill it, and see")
            processes.append(demo.start(sys.executable, "-m", "lbcore", "run", "--config", static.name))
            demo.wait_for(8080, "/api/version", processes[-1])
            print(
                f"{name}: http://127.0.0.1:8000/, its state: http://127.0.0.1:8080/dashboard/ or `lbcore status`",
                flush=True,
            )
            processes[-1].wait()
        except KeyboardInterrupt:
            pass
        finally:
            for process in reversed(processes):
                process.terminate()
            for process in processes:
                process.wait(15)


if __name__ == "__main__":
    main()
