"""`oakctl` and `python -m oakctl`: runs the command line and turns its end into an exit code.

Belongs here: the one place where exceptions become exit codes. Does not belong here: commands.
"""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Sequence

from oakctl.errors import ExitCode, OakError, UsageError

DEBUG = "OAKCTL_DEBUG"  # set: a fault of our own ends in a traceback
COMPLETE = "_OAKCTL_COMPLETE"  # set by the script that `oakctl completion` writes


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns what the shell gets."""
    from oakctl.cli import diagnostics

    for stream in (sys.stdout, sys.stderr):
        # A terminal that cannot show a character gets a question mark, not a traceback.
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="replace")
    try:
        code = _run(list(sys.argv[1:] if arguments is None else arguments))
        if sys.stdout is not None:
            sys.stdout.flush()
    except OakError as error:
        diagnostics.report(error)
        return int(error.exit_code)
    except diagnostics.Terminated:
        return int(ExitCode.TERMINATED)
    except KeyboardInterrupt:
        return int(ExitCode.INTERRUPTED)
    except BrokenPipeError:
        _silence()
        return int(ExitCode.FAILED)
    except OSError as error:  # a full disk, a directory that may not be written
        _silence()
        diagnostics.report(_of_the_system(error))
        return int(ExitCode.FAILED)
    except Exception as error:
        if os.environ.get(DEBUG):
            raise
        text = f"this is a fault of oakctl: {type(error).__name__}: {error}"
        diagnostics.report(OakError(text, hint=f"{DEBUG}=1 shows where it comes from"))
        return int(ExitCode.FAILED)
    return code


def _run(arguments: list[str]) -> int:
    import typer

    from oakctl.cli import diagnostics
    from oakctl.cli.app import app

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
    text = text.replace("Value error, ", "")  # how Typer's own parser introduces a reason
    return text[:1].lower() + text[1:].removesuffix(".")


def _of_the_system(error: OSError) -> OakError:
    where = f"{error.filename}: " if error.filename else ""
    hint = "make room on its file system" if error.errno in (errno.ENOSPC, errno.EDQUOT) else ""
    return OakError(f"{where}{error.strerror or error}", hint=hint)


def _silence() -> None:
    if sys.stdout is None:
        return
    # What is still buffered would raise once more when the interpreter flushes at exit.
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, sys.stdout.fileno())
    os.close(null)


if __name__ == "__main__":
    sys.exit(main())
