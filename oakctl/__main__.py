"""`oakctl` and `python -m oakctl`: runs the command line and turns its end into an exit code.

Belongs here: the one place where exceptions become exit codes. Does not belong here: commands.
"""

from __future__ import annotations

import errno
import os
import signal
import sys
from collections.abc import Sequence

from oakctl.errors import ExitCode, OakError, UsageError

FULL = (errno.ENOSPC, errno.EDQUOT)
COMPLETE = "_OAKCTL_COMPLETE"  # set by the script that `oakctl completion` writes


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns what the shell gets."""
    try:
        code = _reported(list(sys.argv[1:] if arguments is None else arguments))
    except KeyboardInterrupt:  # also while modules are still being loaded
        code = int(ExitCode.INTERRUPTED)
    if arguments is None:
        # It is over: Ctrl-C while the interpreter takes itself apart changes nothing any more.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    return code


def _reported(arguments: list[str]) -> int:
    """Run, and say what went wrong; KeyboardInterrupt alone is left."""
    from oakctl.cli import diagnostics

    for stream in (sys.stdout, sys.stderr):
        # A terminal that cannot show a character gets a question mark, not a traceback.
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="replace")
    try:
        code = _run(arguments)
        if sys.stdout is not None:
            sys.stdout.flush()
    except OakError as error:
        diagnostics.report(error)
        return int(error.exit_code)
    except diagnostics.Terminated:
        return int(ExitCode.TERMINATED)
    except BrokenPipeError:
        _silence()
        return int(ExitCode.FAILED)
    except OSError as error:  # this machine says no: a full disk, a file that is not ours
        diagnostics.report(_of_this_machine(error))
        return int(ExitCode.FAILED)
    except Exception as error:  # noqa: BLE001  # the outermost boundary: no traceback reaches a user
        diagnostics.report(_of_ours(error))
        return int(ExitCode.FAILED)
    return code


def _of_ours(error: Exception) -> OakError:
    """A fault of the program, with its traceback in a file that can be attached to a report."""
    from oakctl import crashes

    sentence = f"oakctl is at fault: {type(error).__name__}: {error}"
    try:
        file = crashes.keep(error)
    except (OakError, OSError) as unkept:
        return OakError(f"{sentence} (its details could not be kept: {unkept})")
    return OakError(sentence, hint=f"please report it with {file}")


def _of_this_machine(error: OSError) -> OakError:
    where = f"{error.filename}: " if error.filename else ""
    hint = "free some space, and try again" if error.errno in FULL else ""
    return OakError(f"this machine: {where}{error.strerror or error}", hint=hint)


def _run(arguments: list[str]) -> int:
    import typer

    from oakctl.cli import again, diagnostics
    from oakctl.cli.app import app

    again.remember(arguments)
    if COMPLETE in os.environ:
        from typer._completion_classes import completion_init

        completion_init()  # without it Typer knows no shell
    try:
        result = app(arguments, prog_name="oakctl", complete_var=COMPLETE, standalone_mode=False)
    except typer.Abort:
        return int(ExitCode.INTERRUPTED)
    except typer.TyperException as error:
        context = getattr(error, "ctx", None)
        if "Usage:" in error.format_message():  # a noun without a verb: the message is its help
            diagnostics.text(error.format_message())
        else:
            command = context.command_path if context is not None else "oakctl"
            diagnostics.report(UsageError(_sentence(error), hint=f"{command} --help"))
        return error.exit_code
    return result if isinstance(result, int) else int(ExitCode.DONE)


def _sentence(error: Exception) -> str:
    text = str(getattr(error, "format_message", error.__str__)()).strip()
    return text[:1].lower() + text[1:].removesuffix(".")


def _silence() -> None:
    # What is still buffered would raise once more when the interpreter flushes at exit.
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, sys.stdout.fileno())
    os.close(null)


if __name__ == "__main__":
    sys.exit(main())
