"""Modules of others that pick with lbcore, against an installed wheel: in Cython by `.pxd` files, in C by a capsule."""

from __future__ import annotations

import ctypes
import os
import shlex
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lbcore.selection import ABI, SlowStart, SmoothWRR, Tijdeman, capsule, get_include, hash_of

ROOT = Path(__file__).resolve().parents[3]
BUILD = """
from Cython.Build import cythonize
from setuptools import Extension, setup
import lbcore.selection

modules = cythonize([Extension("outside", ["outside.pyx"])], language_level=3)
setup(ext_modules=[*modules, Extension("outside_c", ["outside_c.c"], include_dirs=[lbcore.selection.get_include()])])
"""
CYTHON = '''
cimport cython
cimport lbcore.selection.wrr
from libc.stdint cimport uint32_t, uint64_t
from libc.stdlib cimport free
from lbcore.selection.abi cimport SELECTION_ABI
from lbcore.selection.clock cimport monotonic_ns
from lbcore.selection.cycle cimport Cycle, cycle_free, cycle_next
from lbcore.selection.wrr cimport SmoothWRR, wrr_build
from lbcore.selection import ABI

if ABI != SELECTION_ABI:
    raise ImportError("built against another version")


def order(list weights, Py_ssize_t count):
    """The core on plain structs, without the GIL."""
    cdef Cycle cycle
    cdef uint32_t[64] of
    cdef uint32_t position = 0
    cdef Py_ssize_t i
    cdef uint32_t[1000] found
    cycle.order = NULL
    cycle.period = 0
    for i in range(len(weights)):
        of[i] = weights[i]
    wrr_build(&cycle, of, len(weights))
    with nogil:
        for i in range(count):
            found[i] = cycle_next(&cycle, &position)
    cycle_free(&cycle)
    return [found[i] for i in range(count)]


def timed(SmoothWRR lb, Py_ssize_t count):
    """ns of a pick through the class, and the sum of what was picked."""
    cdef uint64_t begun
    cdef Py_ssize_t i, total = 0
    lb.enter()
    try:
        with nogil:
            begun = monotonic_ns()
            for i in range(count):
                total += lb.choose(0, NULL)
            begun = monotonic_ns() - begun
    finally:
        lb.leave()
    return begun / <double>count, total


def timed_core(list weights, Py_ssize_t count):
    cdef Cycle cycle
    cdef uint32_t[64] of
    cdef uint32_t position = 0
    cdef uint64_t begun, total = 0
    cdef Py_ssize_t i
    cycle.order = NULL
    for i in range(len(weights)):
        of[i] = weights[i]
    wrr_build(&cycle, of, len(weights))
    with nogil:
        begun = monotonic_ns()
        for i in range(count):
            total += cycle_next(&cycle, &position)
        begun = monotonic_ns() - begun
    cycle_free(&cycle)
    return begun / <double>count, total
'''
C = """
#include <Python.h>
#include <lbcore_selection.h>

static PyObject *picks(PyObject *self, PyObject *arguments)
{
    PyObject *capsule, *list;
    Py_ssize_t count, i;
    int64_t *found;
    if (!PyArg_ParseTuple(arguments, "On", &capsule, &count))
        return NULL;
    lbcore_selector *lb = PyCapsule_GetPointer(capsule, LBCORE_SELECTOR_NAME);
    if (lb == NULL)
        return NULL;
    if (lb->abi != LBCORE_SELECTION_ABI)
        return PyErr_Format(PyExc_ImportError, "ABI %u", lb->abi);
    found = PyMem_Calloc(count, sizeof(int64_t));
    if (found == NULL || lb->begin(lb->state) < 0)
        return NULL;
    Py_BEGIN_ALLOW_THREADS
    for (i = 0; i < count; i++)
        found[i] = lb->pick(lb->state, lb->hash(lb->state, "key", 3));
    Py_END_ALLOW_THREADS
    lb->end(lb->state);
    list = PyList_New(count);
    for (i = 0; i < count; i++)
        PyList_SET_ITEM(list, i, PyLong_FromLongLong(found[i]));
    PyMem_Free(found);
    return list;
}

static PyMethodDef methods[] = {{"picks", picks, METH_VARARGS, NULL}, {NULL, NULL, 0, NULL}};
static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, "outside_c", NULL, -1, methods};
PyMODINIT_FUNC PyInit_outside_c(void) { return PyModule_Create(&module); }
"""
USE = """
import lbcore.selection, outside, outside_c
from lbcore.selection import ABI, NoServerError, SlowStart, SmoothWRR, Tijdeman, capsule

assert not lbcore.__path__[0].startswith(SOURCE), lbcore.__path__
assert outside.order([5, 1, 1], 14) == [0, 0, 1, 0, 2, 0, 0] * 2
ns, total = outside.timed(SmoothWRR([*range(16)]), 16_000_000)
assert total == 1_000_000 * 120
core_ns, total = outside.timed_core([1] * 16, 16_000_000)
assert total == 1_000_000 * 120
print(f"a pick from Cython: {ns:.1f} ns through the class, {core_ns:.1f} ns by the core; ABI {ABI}")
lb = SmoothWRR({"a": 5, "b": 1, "c": 1})
made = capsule(lb)
assert outside_c.picks(made, 7) == [0, 0, 1, 0, 2, 0, 0]
lb.set_up("a", False)
assert outside_c.picks(made, 4) in ([1, 2, 1, 2], [2, 1, 2, 1])
lb.set_up("b", False), lb.set_up("c", False)
assert outside_c.picks(made, 2) == [-1, -1]
del lb
assert outside_c.picks(made, 1) == [-1]
try:
    outside_c.picks(object(), 1)
except ValueError:
    print("done")
"""


def run(*command: str, cwd: Path, **environ: str) -> str:
    done = subprocess.run(command, cwd=cwd, env={**os.environ, **environ}, capture_output=True, text=True, timeout=800)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-6000:]
    return done.stdout


@pytest.fixture(scope="module")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with the wheel and the sdist of what is here, of which only `selection` is compiled."""
    folder = tmp_path_factory.mktemp("embedding")
    tree = folder / "tree"
    shutil.copytree(ROOT / "lbcore", tree / "lbcore", ignore=shutil.ignore_patterns("*.so", "__pycache__"))
    for name in ("setup.py", "pyproject.toml", "MANIFEST.in", "README.md", "LICENSE"):
        shutil.copy2(ROOT / name, tree)
    if "LBCORE_TEST_PYTHON" not in os.environ:
        # What was built of these sources is taken as it is; with the sanitizers it would run in no other program.
        platform = f"{sysconfig.get_platform()}-{sys.implementation.cache_tag}"
        built = tree / "build" / f"lib.{platform}" / "lbcore" / "selection"
        built.mkdir(parents=True)
        for extension in (ROOT / "lbcore" / "selection").glob("*.so"):
            shutil.copy2(extension, built)
    made = "import sys; from setuptools import build_meta as b; print(b.build_sdist('..'), b.build_wheel('..'))"
    run(sys.executable, "-c", made, cwd=tree, LBCORE_ONLY="lbcore/selection")
    yield folder
    shutil.rmtree(folder)


@pytest.mark.timeout(900)
def test_sources_are_shipped(dist: Path) -> None:
    """A wheel has what others compile against; the sdist has all."""
    folder = ROOT / "lbcore" / "selection"
    wanted = {
        path.relative_to(ROOT).as_posix() for path in folder.iterdir() if path.suffix in (".pxd", ".pyi", ".h", ".py")
    } | {"lbcore/py.typed", "lbcore/__init__.pxd"}
    sources = {path.relative_to(ROOT).as_posix() for path in folder.glob("*.pyx")}
    assert "lbcore/selection/lbcore_selection.h" in wanted
    (wheel,), (sdist,) = dist.glob("*.whl"), dist.glob("*.tar.gz")
    names = set(zipfile.ZipFile(wheel).namelist())
    assert wanted <= names and not sources & names
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert wanted | sources | {"setup.py"} <= names and not any(name.endswith((".c", ".so")) for name in names)


@pytest.mark.timeout(900)
def test_a_module_of_others_in_cython_and_one_in_c(dist: Path) -> None:
    (wheel,) = dist.glob("*.whl")
    run(sys.executable, "-m", "venv", "--without-pip", "fresh", cwd=dist)
    python = str(dist / "fresh" / "bin" / "python")
    pip = (sys.executable, "-m", "pip", "--python", python)
    run(*pip, "install", "-q", "--no-deps", "--no-index", str(wheel), cwd=dist)
    work = dist / "work"
    work.mkdir()
    for name, text in (("setup.py", BUILD), ("outside.pyx", CYTHON), ("outside_c.c", C)):
        (work / name).write_text(text)
    (work / "use.py").write_text(f"SOURCE = {str(ROOT)!r}\n{USE}")
    # Cython and setuptools come from here; the .pth file that makes lbcore importable is not read from PYTHONPATH.
    tools = next(path for path in sys.path if (Path(path) / "Cython").is_dir())
    run(python, "setup.py", "-q", "build_ext", "--inplace", cwd=work, PYTHONPATH=tools)
    said = run(python, "use.py", cwd=work, PYTHONPATH="")
    print(said)
    assert said.endswith("done\n")


class Selector(ctypes.Structure):
    _fields_ = [
        *[(name, ctypes.c_uint32) for name in ("abi", "exclusive", "keyed", "reserved")],
        ("state", ctypes.c_void_p),
        ("pick", ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_void_p, ctypes.c_uint64)),  # without the GIL
        ("hash", ctypes.CFUNCTYPE(ctypes.c_uint64, ctypes.c_void_p, ctypes.c_char_p, ctypes.c_size_t)),
        ("begin", ctypes.PYFUNCTYPE(ctypes.c_int, ctypes.c_void_p)),
        ("end", ctypes.PYFUNCTYPE(None, ctypes.c_void_p)),
    ]


def opened(made: object) -> Any:
    get = ctypes.pythonapi.PyCapsule_GetPointer
    get.restype, get.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
    return Selector.from_address(get(made, b"lbcore.selection.selector"))


def test_through_ctypes() -> None:
    lb = SmoothWRR({"a": 5, "b": 1, "c": 1}, seed=0)
    made = capsule(lb)
    found = opened(made)
    assert (found.abi, found.exclusive, found.keyed) == (ABI, 1, 0)
    assert found.begin(found.state) == 0 and found.begin(found.state) == 0
    assert [found.pick(found.state, 0) for _ in range(7)] == [0, 0, 1, 0, 2, 0, 0]
    found.end(found.state)
    changes = threading.Thread(target=lb.set_up, args=("a", False))
    changes.start()
    assert {found.pick(found.state, 0) for _ in range(50)} == {0, 1, 2} and changes.is_alive()  # it waits
    found.end(found.state)
    changes.join()
    assert found.begin(found.state) == 0
    assert {found.pick(found.state, 0) for _ in range(50)} == {1, 2}
    assert found.hash(found.state, b"key", 3) == hash_of("key")
    del made, found  # with its `end` left out
    assert lb.pick() in "bc"
    with pytest.raises(TypeError):
        capsule({"a": 1})


def test_a_wrapper_gets_the_time() -> None:
    now = [0.0]
    lb = SlowStart(Tijdeman(["a"]), 10.0, clock=lambda: now[0])
    lb.add("b")
    made = capsule(lb)
    found = opened(made)
    for now[0], share in ((0.0, 10), (10.0, 100)):
        found.begin(found.state)
        assert sum(found.pick(found.state, 0) for _ in range(100 + share)) == share
        found.end(found.state)


def test_the_header_stands_alone(tmp_path: Path) -> None:
    text = "#include <lbcore_selection.h>\nint main(void) { return LBCORE_SELECTION_ABI - 1; }\n"
    (tmp_path / "alone.c").write_text(text)
    compiler = shlex.split(os.environ.get("CC", "cc"))  # it may come with arguments
    strict = ["-std=c99", "-Wall", "-Wextra", "-Werror", "-pedantic"]
    run(*compiler, *strict, f"-I{get_include()}", "alone.c", "-o", "alone", cwd=tmp_path)
    run(str(tmp_path / "alone"), cwd=tmp_path)
