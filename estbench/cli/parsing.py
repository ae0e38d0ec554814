"""Parsing of command lines: every mistake is reported in one line before the command starts."""

import io
import math
import sys
from collections.abc import Sequence
from typing import Any, TextIO

import typer
from typer.core import TyperCommand

from estbench.errors import UserError, plain, shorten, warn
from estbench.plugins.grammar import shown

# the exceptions of the parser, which is part of typer but not exported by it
REFUSED: type[Exception] = typer.BadParameter.__mro__[2]


class StrictCommand(TyperCommand):
    """A command that refuses repeated options, empty values, and numbers that are not finite.

    A repeated option, or one that is empty because a shell variable was, would otherwise go unnoticed.
    """

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Reads the arguments of the command.

        Raises:
            UserError: the arguments are invalid.
        """
        if ctx.resilient_parsing:  # a shell asks how to complete a line that is not whole yet
            return super().parse_args(ctx, args)
        given, _, order = self.make_parser(ctx).parse_args(args=list(args))
        for parameter in self.params:
            _refuse(parameter, given.get(parameter.name), order.count(parameter))
        try:
            rest = super().parse_args(ctx, args)
        except typer.BadParameter as error:
            value = given.get(str(getattr(error.param, "name", "")))
            if not isinstance(value, str):
                raise
            what = error.message.removeprefix("Value error, ").rstrip(".")
            what = what[:1].lower() + what[1:]
            raise UserError(f"{_name(error.param)}: {what}; got {shown(value)}") from error
        for parameter in self.params:
            value = ctx.params.get(parameter.name)
            if isinstance(value, float) and not math.isfinite(value):
                raise UserError(f"{_name(parameter)} takes a finite number; got {value}")
        return rest


def _refuse(parameter: Any, given: Any, times: int) -> None:
    """Refuses arguments that would have no effect."""
    if parameter.param_type_name == "option" and not parameter.multiple and times > 1:
        raise UserError(f"{_name(parameter)} is given {times} times; it takes one value")
    for text in [given] if isinstance(given, str) else given if isinstance(given, list | tuple) else ():
        if isinstance(text, str) and (not text.strip() or "\0" in text):
            raise UserError(f"{_name(parameter)} is empty or cut short; leave it out or give it a value; got {text!r}")


def _name(parameter: Any) -> str:
    """The name of a parameter as written on the command line."""
    if parameter.param_type_name == "argument":
        return str(parameter.name).upper()
    return max(map(str, parameter.opts), key=len)


def strict(*apps: typer.Typer) -> None:
    """Makes all commands of applications strict."""
    for app in apps:
        for command in app.registered_commands:
            command.cls = StrictCommand


def run(app: typer.Typer, arguments: Sequence[str]) -> int:
    """Runs a command; every user error gives one line on stderr.

    Returns:
        The exit code: 2 for errors of the user or the system, 130 after Ctrl-C, otherwise the command's own.
    """
    for stream in (sys.stdout, sys.stderr):
        _tolerant(stream)
    try:
        code = app(args=list(arguments), prog_name="estbench", standalone_mode=False)
    except UserError as error:
        return refused(str(error))
    except REFUSED as error:
        return refused(_message(error))
    except (typer.Abort, KeyboardInterrupt):
        refused("interrupted")
        return 130
    except (MemoryError, RecursionError) as error:
        return refused(f"what is asked for is too much for this machine: {type(error).__name__} {error}")
    except OSError as error:
        place = f": {error.filename}" if error.filename else ""
        return refused(f"{error.strerror or error}{place}")
    return code if isinstance(code, int) else 0


def refused(message: str) -> int:
    """Prints in one line on stderr why a command failed; returns the exit code."""
    warn(shorten(plain(message)))
    return 2


def _message(error: Any) -> str:
    """The parser's error message, with a hint at the help."""
    message = str(error.format_message()).rstrip(".")
    message = message[:1].lower() + message[1:]
    command = error.ctx
    if message == "missing command" and command is not None:
        names = ", ".join(command.command.list_commands(command))
        return f"name what to do, {command.command_path} ...: {names}"
    return f"{message}; see {command.command_path} --help" if command is not None else message


def _tolerant(stream: TextIO) -> None:
    """Makes a stream write escapes for characters that its encoding lacks, instead of raising an error."""
    if isinstance(stream, io.TextIOWrapper):
        stream.reconfigure(errors="backslashreplace")
