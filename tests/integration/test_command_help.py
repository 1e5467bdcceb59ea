"""What the command says of itself: help, manual pages, and the completion of a shell."""

from __future__ import annotations

import os
import pty
import re
import select
import subprocess
import sys
import time
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from lbcore.cli import main
from lbcore.cli.base import AskingCommand
from lbcore.cli.completion import script
from lbcore.cli.man import commands, write_pages
from tests.support.ports import free_port

ALL = list(commands(click.Context(main, info_name="lbcore")))
UTF8 = {**os.environ, "LC_ALL": "C.UTF-8", "MANWIDTH": "100"}


def test_each_command_that_asks_says_its_exit_codes() -> None:
    for context in ALL:
        if isinstance(context.command, AskingCommand) or context.info_name in ("run", "check", "healthcheck"):
            text = context.command.help or ""
            assert re.search(r"Exit codes:\n +0 .*\n +1 ", text), f"{context.command_path} does not say its exit codes"


def test_each_command_that_asks_has_json_and_nearly_each_can_watch() -> None:
    for context in ALL:
        options = {option for parameter in context.command.params for option in parameter.opts}
        if isinstance(context.command, AskingCommand) and context.info_name != "renew":
            assert "--json" in options, context.command_path
        looks = ("status", "top", "routes", "weights", "explain", "healthcheck", "log-level", "ping", "memory")
        if context.info_name in (*looks, "drain", "undrain", "eject", "reset", "reload"):
            assert {"--json", "--watch", "--interval", "--count"} <= options, context.command_path


def test_each_command_has_a_manual_page_without_a_fault(tmp_path: Path) -> None:
    pages = write_pages(tmp_path)
    assert {page.name for page in pages} >= {"lbcore.1", "lbcore-run.1", "lbcore-status.1", "lbcore-cert-list.1"}
    assert len(pages) == len(ALL)
    for page in pages:
        command = ["man", "--warnings", "-E", "UTF-8", "-l", "-Tutf8", str(page)]
        found = subprocess.run(command, capture_output=True, text=True, env=UTF8, check=True)
        assert found.stderr == "", page
    named = subprocess.run(["lexgrog", *map(str, pages)], capture_output=True, text=True, env=UTF8, check=True)
    assert len(named.stdout.splitlines()) == len(pages), "apropos finds each"


def test_man_finds_the_pages_that_were_installed(tmp_path: Path) -> None:
    environ = UTF8 | {"HOME": str(tmp_path), "PATH": f"{tmp_path}/.local/bin:{os.environ['PATH']}"}
    environ = {name: value for name, value in environ.items() if name not in ("XDG_DATA_HOME", "MANPATH")}
    (tmp_path / ".local/bin").mkdir(parents=True)
    root = {"PYTHONPATH": str(Path(__file__).resolve().parents[2])}
    install = [sys.executable, "-m", "lbcore", "man", "--install"]
    subprocess.run(install, capture_output=True, env=environ | root, check=True)
    found = subprocess.run(["man", "--where", "lbcore-status"], capture_output=True, text=True, env=environ, check=True)
    assert found.stdout.strip() == str(tmp_path / ".local/share/man/man1/lbcore-status.1")
    assert CliRunner().invoke(main, ["man"]).exit_code == 1


def test_a_manual_page_has_exit_codes_and_variables(tmp_path: Path) -> None:
    write_pages(tmp_path)
    command = ["man", "-E", "UTF-8", "-l", "-Tutf8", "-P", "cat", str(tmp_path / "lbcore-drain.1")]
    text = subprocess.run(command, capture_output=True, text=True, env=UTF8, check=True).stdout
    text = re.sub(r"\x1b\[\d+m|.\x08", "", text)
    for part in ("EXIT STATUS", "something is in flight at them after the timeout", "LBCORE_API_TOKEN", "--timeout"):
        assert part in text
    assert "DESCRIPTION\n       Give members of a service no new clients" in text


def with_command(folder: Path) -> dict[str, str]:
    """An environment in which `lbcore` is a command, whose instance is away."""
    (folder / "lbcore").write_text(f"#!{sys.executable}\nfrom lbcore.cli import main\nmain()\n")
    (folder / "lbcore").chmod(0o755)
    root = str(Path(__file__).resolve().parents[2])
    environ = {**os.environ, "PATH": f"{folder}:{os.environ['PATH']}", "PYTHONPATH": root}
    return environ | {"LBCORE_API": f"http://127.0.0.1:{free_port()}"}


def bash(text: str, words: str, folder: Path) -> list[str]:
    """What bash completes, with a script in force."""
    (folder / "completion.sh").write_text(text)
    typed = words.split(" ")
    array = " ".join(f"'{word}'" for word in typed)
    code = (
        f"source {folder / 'completion.sh'}; COMP_WORDS=({array}); COMP_CWORD={len(typed) - 1};"
        ' _lbcore_completion lbcore; printf "%s\\n" "${COMPREPLY[@]}"'
    )
    environ = with_command(folder)
    done = subprocess.run(["bash", "--norc", "-c", code], capture_output=True, text=True, env=environ, check=True)
    return done.stdout.split()


def test_bash_completes_commands_options_and_nothing_of_an_instance_that_is_away(tmp_path: Path) -> None:
    text = script("bash")
    assert bash(text, "lbcore sta", tmp_path) == ["status"]
    assert "--sort" in bash(text, "lbcore top --so", tmp_path)
    assert bash(text, "lbcore top --sort err", tmp_path) == ["errors"]
    assert bash(text, "lbcore weights sh", tmp_path) == []


@pytest.mark.parametrize(
    ("shell", "variable", "file"),
    [
        ("bash", "XDG_DATA_HOME", "bash-completion/completions/lbcore"),
        ("zsh", "ZDOTDIR", ".zfunc/_lbcore"),
        ("fish", "XDG_CONFIG_HOME", "fish/completions/lbcore.fish"),
    ],
)
def test_completion_is_installed_where_a_shell_finds_it(tmp_path: Path, shell: str, variable: str, file: str) -> None:
    environ = {variable: str(tmp_path), "SHELL": f"/usr/bin/{shell}"}
    for _ in range(2):
        done = CliRunner().invoke(main, ["completion", "--install"], env=environ)
        assert done.exit_code == 0 and str(tmp_path / file) in done.output
    assert "_LBCORE_COMPLETE" in (tmp_path / file).read_text()
    printed = CliRunner().invoke(main, ["completion", shell], env={"SHELL": "/bin/sh"}).output
    assert printed == (tmp_path / file).read_text()
    if shell == "zsh":
        assert (tmp_path / ".zshrc").read_text().count("compinit") == 2, "once, though installed twice"


def test_fish_completes_with_what_was_installed(tmp_path: Path) -> None:
    environ = with_command(tmp_path) | {"HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path / "config")}
    subprocess.run(["lbcore", "completion", "fish", "--install"], env=environ, capture_output=True, check=True)

    def completed(words: str) -> list[str]:
        command = ["fish", "--command", f"complete --do-complete '{words}'"]
        done = subprocess.run(command, capture_output=True, text=True, env=environ, check=True)
        return [line.partition("\t")[0] for line in done.stdout.splitlines()]

    assert completed("lbcore sta") == ["status"]
    assert completed("lbcore top --so") == ["--sort"]
    assert completed("lbcore top --sort err") == ["errors"]


def test_zsh_completes_with_what_was_installed(tmp_path: Path) -> None:
    """At a terminal, as it is typed."""
    environ = with_command(tmp_path) | {"HOME": str(tmp_path), "ZDOTDIR": str(tmp_path), "TERM": "dumb"}
    subprocess.run(["lbcore", "completion", "zsh", "--install"], env=environ, capture_output=True, check=True)
    with (tmp_path / ".zshrc").open("a") as settings:
        settings.write("PROMPT='ready> '\n")
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        ["zsh", "--no-globalrcs", "-i"], env=environ, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True
    ) as shell:
        os.close(theirs)
        try:
            said = heard(ours, "ready> ", "")
            # The second one by what the first has loaded.
            for typed, whole in (("sta", "status"), ("top --sort err", "top --sort errors")):
                os.write(ours, f"lbcore {typed}\t".encode())
                said = heard(ours, f"lbcore {whole} ", said)
                os.write(ours, b"\x15")  # the line is dropped
        finally:
            os.close(ours)
            shell.kill()


def heard(terminal: int, text: str, before: str) -> str:
    """What comes from a terminal up to a text, which comes once more than `before` holds it."""
    said, end = before, time.monotonic() + 60
    while said.count(text) <= before.count(text):
        assert select.select([terminal], [], [], max(0.0, end - time.monotonic()))[0], f"{text!r} is not in {said!r}"
        said += os.read(terminal, 4096).decode(errors="replace")
    return said


def test_completion_asks_which_shell() -> None:
    done = CliRunner().invoke(main, ["completion"], env={"SHELL": "/bin/dash"})
    assert done.exit_code == 1 and "bash, zsh, fish" in done.output
