"""Where every run of the command line begins and ends: the one place that turns errors into exit codes.

| exit code | meaning                                                                        |
|-----------|--------------------------------------------------------------------------------|
| 0         | done                                                                           |
| 1         | something failed: a fit that is not certified, a full disk, an error in here   |
| 2         | bad input or usage: a table, a name or an option that cannot be used           |
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import sys
import warnings
from collections.abc import Iterator, Sequence
from typing import Any

from chinchilla_jax._util.errors import ChinchillaError, DataError, DataWarning, EngineWarning, UsageError
from chinchilla_jax._util.progress_bar import announce_in_logs

PROGRAM = "chinchilla-jax"
DEBUG_VARIABLE = "CHINCHILLA_JAX_DEBUG"
DONE, FAILED, BAD_INPUT = 0, 1, 2
_INTERRUPTED = 130  # what typer makes of Ctrl-C


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        arguments: what follows the program's name; None for those of this process.

    Returns:
        The exit code. Errors are one line on stderr; nothing is raised.
    """
    for stream in (sys.stdout, sys.stderr):
        # A table's name may hold what the terminal's encoding does not: better escaped than refused.
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    try:
        if arguments is None:
            _stop_as_by_ctrl_c()
            announce_in_logs()
        with _warnings_in_a_line():
            code = _run(sys.argv[1:] if arguments is None else list(arguments))
        if sys.stdout is not None:
            sys.stdout.flush()
    except KeyboardInterrupt:
        code = _INTERRUPTED
    except OSError as error:
        _abandon_stdout()
        # A reader such as `| head` that has seen enough makes no failure.
        return DONE if isinstance(error, BrokenPipeError) else _report(error)
    except Exception as error:
        return _report(error)
    return _fail("interrupted", FAILED) if code == _INTERRUPTED else code


def _stop_as_by_ctrl_c() -> None:
    """Have SIGTERM, which batch systems send, end the program as Ctrl-C does: with a word on how to go on."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)


def _run(arguments: list[str]) -> int:
    try:
        from chinchilla_jax.cli.app import build, parser_error
        from chinchilla_jax.cli.blas_threads import keep_blas_to_one_thread
        from chinchilla_jax.cli.compilation_cache import keep_compiled_programs
    except ModuleNotFoundError as error:
        raise ChinchillaError(f"the command line needs {error.name}: pip install {error.name}") from error
    keep_compiled_programs()
    keep_blas_to_one_thread()
    try:
        code = build()(args=arguments, prog_name=PROGRAM, standalone_mode=False)
    except parser_error() as error:
        text = " ".join(_named(error).split()).rstrip(".")
        context = getattr(error, "ctx", None)
        see = f"see {context.command_path if context else PROGRAM} --help"
        return _fail(f"{text[:1].lower()}{text[1:]}{'' if text.endswith('?') else ';'} {see}", BAD_INPUT)
    except SystemExit as error:  # typer's answer to a reader that left
        return error.code if isinstance(error.code, int) else FAILED
    return code if isinstance(code, int) else DONE


def _named(error: Any) -> str:
    """The parser's message; where it came from pydantic, which leaves out what was found, with that."""
    text = str(error.format_message())
    with contextlib.suppress(AttributeError, LookupError, TypeError):
        found = error.__context__.errors()[0]["input"]
        kind = r"Input should be (a valid \w+).*"
        text = re.sub(kind, lambda match: f"{found!r} is not {match[1]}", text)
    return text


@contextlib.contextmanager
def _warnings_in_a_line() -> Iterator[None]:
    """Print this package's own warnings as one line on stderr, each text once; leave all others alone."""
    said = set()
    with warnings.catch_warnings():
        for own in (DataWarning, EngineWarning):
            warnings.simplefilter("always", own)
        other = warnings.showwarning

        def show(message: Warning | str, category: type[Warning], *rest: Any) -> None:
            text = " ".join(str(message).split())
            if not issubclass(category, DataWarning | EngineWarning):
                other(message, category, *rest)
            elif text not in said:
                said.add(text)
                print(f"{PROGRAM}: warning: {text}", file=sys.stderr)

        warnings.showwarning = show  # type: ignore[assignment]
        yield


def _report(error: Exception) -> int:
    if os.environ.get(DEBUG_VARIABLE):
        import traceback

        traceback.print_exception(error)
    if isinstance(error, ChinchillaError):
        return _fail(str(error), BAD_INPUT if isinstance(error, DataError | UsageError) else FAILED)
    if isinstance(error, OSError) and error.strerror:
        return _fail(f"{error.filename or 'stdout'}: {error.strerror}", FAILED)
    return _fail(f"{type(error).__name__}: {error} (set {DEBUG_VARIABLE}=1 to see where)", FAILED)


def _fail(message: str, code: int) -> int:
    # On one line whatever the message holds.
    print(f"{PROGRAM}: error: {' '.join(message.split())}", file=sys.stderr)
    return code


def _abandon_stdout() -> None:
    """Let nothing that is still buffered be written at exit to where it cannot be written."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
