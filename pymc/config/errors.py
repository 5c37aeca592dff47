"""How start-up ends early: refusals with memcached's exit codes, and answers such as `-h`."""

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

    @property
    def error_text(self) -> str:
        """All that goes to standard error, line ends included."""
        lines = [*self.warnings, *([self.message] if self.message else [])]
        return "".join(f"{line}\n" for line in lines)


class StartupError(StartupStop):
    """The settings or the machine make serving impossible."""

    def __init__(self, message: str, exit_code: int = EXIT_FAILURE) -> None:
        """Takes memcached's words where it has some, and its exit code."""
        super().__init__(message, exit_code)


class StartupAnswer(StartupStop):
    """The command line asked for a text only (`-h`, `-i`, `-V`)."""

    def __init__(self, output: str) -> None:
        """Takes the text for standard output."""
        super().__init__("", 0, output)
