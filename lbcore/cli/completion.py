"""`lbcore completion`: the completion of commands, options and services in a shell, printed or installed."""

from __future__ import annotations

import os
from pathlib import Path

import click
from click.shell_completion import get_completion_class

from lbcore.cli.base import Command, fail
from lbcore.errors import system_message_of

SHELLS = ("bash", "zsh", "fish")
# In which a shell reads it: bash by its package bash-completion when the command is first completed, fish at its start.
PLACES = {
    "bash": ("XDG_DATA_HOME", "~/.local/share", "bash-completion/completions/lbcore"),
    "zsh": ("ZDOTDIR", "~", ".zfunc/_lbcore"),
    "fish": ("XDG_CONFIG_HOME", "~/.config", "fish/completions/lbcore.fish"),
}
ZSH_LINES = ('fpath=("${ZDOTDIR:-$HOME}/.zfunc" $fpath)  # lbcore completion', "autoload -Uz compinit && compinit")


@click.command(cls=Command)
@click.argument("shell", type=click.Choice(SHELLS), required=False)
@click.option("--install", is_flag=True, help="Write it to where the shell of this user finds it.")
def completion(shell: str | None, install: bool) -> None:
    """Print or install the completion of `lbcore` for a shell: bash, zsh or fish; default: that of $SHELL.

    A new shell has it. Names of services are those of the instance that --api or LBCORE_API names.
    """
    shell = shell or os.path.basename(os.environ.get("SHELL", ""))
    if shell not in SHELLS:
        fail(f"which shell? There are {', '.join(SHELLS)}")
    text = script(shell)
    if not install:
        click.echo(text)
        return
    variable, usual, rest = PLACES[shell]
    place = Path(os.environ.get(variable) or os.path.expanduser(usual)) / rest
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(f"{text}\n")
        click.echo(f"{place} is written: new shells complete lbcore")
        if shell == "zsh":
            _tell_zsh(place.parent.parent / ".zshrc")
    except OSError as error:
        fail(f"{error.filename or place} cannot be written: {system_message_of(error)}")


def script(shell: str) -> str:
    """The text that a shell reads."""
    from lbcore.cli import main

    kind = get_completion_class(shell)
    assert kind is not None
    text = kind(main, {}, "lbcore", "_LBCORE_COMPLETE").source().strip()
    # zsh loads the function at the first completion, and calls it as one that is there from the second one on.
    return text.replace("$zsh_eval_context[-1] == loadautofunc", '"$funcstack[1]" == _lbcore')


def _tell_zsh(settings: Path) -> None:
    """Have zsh look into the folder, unless it does."""
    text = settings.read_text() if settings.exists() else ""
    if ZSH_LINES[0] not in text:
        with settings.open("a") as out:
            out.write("" if not text or text.endswith("\n") else "\n")
            out.write("\n".join(ZSH_LINES) + "\n")
