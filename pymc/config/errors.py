"""How start-up ends early: refusals with memcached's exit codes, and answers such as `-h`."""

from collections.abc import Iterable

EXIT_FAILURE = 1
EXIT_USAGE = 64
EXIT_NO_USER = 67
EXIT_OS_ERROR = 71


class StartupStop(Exception):  # noqa: N818 - an answer is no error
    """The program ends before it serves: print `output` and `message`, exit with `exit_code`.

    `warnings` are lines that came up before and belong on standard error ahead of `message`.
    """

    def __init__(self, message: str, exit_code: int, output: str = "") -> None:
        """Takes the text for standard error without its last line end, and that for output."""
        super().__init__(message)
        self.message = message
        self.exit_code = exit_code
        self.output = output
        self.warnings: tuple[str, ...] = ()
        # What memcached's words leave out: a line of its own behind them.
        self.hint = ""

    @property
    def error_text(self) -> str:
        """All that goes to standard error, line ends included."""
        lines = [*self.warnings, *([self.message] if self.message else [])]
        lines += [f"hint: {self.hint}"] if self.hint else []
        return "".join(f"{line}\n" for line in lines)


class StartupError(StartupStop):
    """The settings or the machine make serving impossible."""

    def __init__(self, message: str, exit_code: int = EXIT_FAILURE, hint: str = "") -> None:
        """Takes memcached's words where it has some, and its exit code; `hint` is pymc's own."""
        super().__init__(message, exit_code)
        self.hint = hint


class StartupAnswer(StartupStop):
    """The command line asked for a text only (`-h`, `-i`, `-V`)."""

    def __init__(self, output: str) -> None:
        """Takes the text for standard output."""
        super().__init__("", 0, output)


def nearest(word: str, known: Iterable[str]) -> str:
    """The hint for a misspelt word; "" when none of those that are known is like it."""
    # Only who made a mistake waits until this is loaded.
    from difflib import get_close_matches

    found = get_close_matches(word, list(known), 1, 0.75)
    return f'did you mean "{found[0]}"?' if found else ""
