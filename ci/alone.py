"""Exit with an error unless the installed lbcore works without any other package: `python -I ci/alone.py`.

The library of selectors is usable, and the command says what brings the rest.
"""

import subprocess
import sys
import sysconfig


def main() -> None:
    before = set(sys.modules)  # a site may load modules of its own at the start: that of setuptools, for one
    import lbcore
    from lbcore.selection import P2C, Maglev, OutlierDetector, SmoothWRR

    lb = SmoothWRR({"a": 5, "b": 1, "c": 1})
    assert "".join(lb.pick() for _ in range(7)) == "aabacaa"
    assert Maglev(["a", "b"]).pick("user-1") in {"a", "b"}
    with OutlierDetector(P2C(["a", "b"])).lease() as server:
        assert server in {"a", "b"}
    base = sysconfig.get_path("stdlib")
    foreign = {
        name.partition(".")[0]
        for name, module in sys.modules.items()
        if name not in before and "site-packages" in (getattr(module, "__file__", None) or base)
    }
    assert foreign <= {"lbcore"}, f"loads {sorted(foreign)}"
    try:
        found = lbcore.Proxy
    except ImportError as error:
        assert "lbcore[proxy]" in str(error), error
    else:
        print(f"{found.__name__} can be had: this is not lbcore alone")
        return
    command = [sys.executable, "-I", "-m", "lbcore", "--version"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1 and "pip install 'lbcore[proxy]'" in done.stderr, done
    print(f"lbcore {lbcore.__version__} works alone")


if __name__ == "__main__":
    main()
