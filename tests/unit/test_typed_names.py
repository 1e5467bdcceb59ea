"""Attributes of typed objects are those of their types: a name that is none Cython looks up at run time, and fails."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
# An attribute that is looked up by its name, of a variable or an attribute that has the type of an extension class.
LOOKED_UP = re.compile(
    r"__Pyx_PyObject_([GS]et)AttrStr\(\(\(PyObject \*\)(__pyx_v_self|\w+->[\w.>-]+)\), [\w>-]*__pyx_n_\w_(\w+)"
)


def test_names_that_are_looked_up_at_run_time_are_there() -> None:
    sources = sorted((ROOT / "lbcore").rglob("*.pyx"))
    methods = re.compile(r"^    (?:def|cpdef [\w ]*?) ?(\w+)\(", re.MULTILINE)
    defined = {name.strip("_") for path in sources for name in methods.findall(path.read_text())}
    generated = [path.with_suffix(".c") for path in sources if path.with_suffix(".c").exists()]
    assert generated, "the extensions are built in place"
    wrong = set()
    for path in generated:
        for how, _, name in LOOKED_UP.findall(path.read_text()):
            if how == "Set" or name not in defined:
                wrong.add(f"{path.stem}: {name}")
    assert wrong == set()
