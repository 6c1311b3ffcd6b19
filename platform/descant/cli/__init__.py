"""The command line: plan, run, compare, look at and export results."""

import logging
import sys

import typer

from descant.cli.commands import app
from descant.cli.failures import fail
from descant.core.errors import DescantError

__all__ = ["app", "main"]


def main() -> None:
    """Run the command line; errors become one message and their exit code, the trace goes to a file."""
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    try:
        sys.exit(app(standalone_mode=False))  # None, or the code of a typer.Exit
    except DescantError as error:
        fail(str(error), error.exit_code, error)
    except KeyboardInterrupt as error:
        fail("interrupted; everything finished is kept, and the same command resumes", 130, error)
    except typer.Abort as error:
        fail("aborted", 130, error)
    except Exception as error:  # the last line before the user: a message and a file instead of a traceback
        usage = getattr(error, "format_message", None)
        if usage is not None:
            fail(f"error[E-CLI-USAGE] command line: {usage()}. Nothing was started. See --help.", 2, error)
        fail(
            f"error[E-BUG] {type(error).__name__}: {error}. This is a bug in descant: please report it",
            1,
            error,
        )
