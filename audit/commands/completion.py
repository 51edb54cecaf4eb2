"""`audit completion`: a script that lets a shell complete this command. It is static: completing starts no Python."""

from __future__ import annotations

import argparse

from audit.commands.options import deliver
from audit.errors import SAME

SHELLS = ("bash", "zsh", "fish", "tcsh")

EPILOG = """\
bash:  audit completion bash > ~/.local/share/bash-completion/completions/audit
zsh:   audit completion zsh > DIR/_audit                 (DIR: one of your $fpath)
fish:  audit completion fish > ~/.config/fish/completions/audit.fish
tcsh:  audit completion tcsh > ~/.audit.tcsh             (and in ~/.tcshrc: source ~/.audit.tcsh)"""


def configure(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    command = commands.add_parser(
        "completion",
        help="write a script that completes this command in a shell",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.add_argument("shell", choices=SHELLS, help="which shell")
    command.add_argument("-o", "--output", metavar="FILE", help="write it to FILE instead of standard output")
    command.add_argument("--quiet", action="store_true", help="print nothing (with -o)")
    command.set_defaults(execute=execute)


def execute(options: argparse.Namespace) -> int:
    import shtab

    from audit.cli import parser

    root = parser()
    _name_files(root)
    deliver(shtab.complete(root, options.shell), options)
    return SAME


def _name_files(command: argparse.ArgumentParser) -> None:
    """Mark the arguments that are files, by what they are called in the help: reports are files of their own kind."""
    import shtab

    for action in command._actions:
        if isinstance(action, argparse._SubParsersAction):
            for subcommand in action.choices.values():
                _name_files(subcommand)
        elif "REPORT" in str(action.metavar):
            action.complete = shtab.glob("*.json", "*.json.gz")  # type: ignore[attr-defined]
        elif action.metavar in ("FILE", "FILE|DIR/", "HOSTS", "INTERPRETER"):
            action.complete = shtab.FILE  # type: ignore[attr-defined]
        elif action.metavar == "DIR":
            action.complete = shtab.DIRECTORY  # type: ignore[attr-defined]
