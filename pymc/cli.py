"""The command line: memcached's flags and suboptions into settings, and the program's entry."""

import os
import pwd
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from pymc.config.checks import checked
from pymc.config.errors import StartupAnswer, StartupError, StartupStop, nearest
from pymc.config.getopt import CommandLine, Option
from pymc.config.readers import Names, Reader, is_read_in_part, shown_amount
from pymc.config.row import READ, Row
from pymc.config.settings import (
    BUNDLES,
    DEFAULTS,
    DEPRECATED,
    FLAGS,
    OPTIONS,
    ROWS,
    Settings,
    takes_value,
)

# The order in which memcached lists long names that an abbreviation may stand for.
_FLAG_ORDER = "aAZpsUmMckhiVrvdluPfntDLRCbBISFXWYeoN"
_ACTIONS = {
    "h": Option("h", "help", False),
    "i": Option("i", "license", False),
    "V": Option("V", "version", False),
}
_EXTENDED = Option("o", "extended", True)
_SPACES = " \t\n\v\f\r"
_WORKERS_ADVISED_MAX = 64
_MANY_WORKERS = (
    "WARNING: Setting a high number of workerthreads is not recommended.\n"
    " Set this value to the number of cores in your machine or less."
)


def parse(
    argv: Sequence[str],
    program: str,
    environ: Mapping[str, str],
    geteuid: Callable[[], int] = os.geteuid,
    find_user: Callable[[str], object] = pwd.getpwnam,
) -> Settings:
    """Settings from the words behind the program's name, read strictly from left to right.

    Raises StartupError in memcached's words and with its exit code, StartupAnswer for `-h`, `-i`
    and `-V`. The process's user and the users of the system come from the last two arguments.
    """
    reading = _Reading(program)
    try:
        reading.take_environment(environ)
        line = CommandLine(program, [_option(letter) for letter in _FLAG_ORDER])
        for letter, value in line.walk(argv, stops_at_operand="POSIXLY_CORRECT" in environ):
            # Charts pass "-m 1024" as one word: the value then begins with a blank.
            reading.take_flag(letter, None if value is None else value.lstrip(_SPACES))
        reading.warn_of_words(line.passed_over)
        return checked(reading.settings(), geteuid, find_user)
    except StartupStop as stop:
        stop.warnings = tuple(reading.warnings)
        raise


def main() -> int:
    """Reads the command line and serves; returns the exit code."""
    name = os.path.basename(sys.argv[0])
    if sys.argv[1:2] == ["certs"]:
        return _certs(sys.argv[2:])
    try:
        settings = parse(sys.argv[1:], name if name == "memcached" else "pymc", os.environ)
        for line in settings.warnings:
            print(line, file=sys.stderr)
        # Loads the C core, which a wrong option or -h should not wait for.
        from pymc.supervisor import main as serve

        return serve(settings)
    except StartupStop as stop:
        sys.stdout.write(stop.output)
        sys.stdout.flush()
        sys.stderr.write(stop.error_text)
        return stop.exit_code


def _certs(words: Sequence[str]) -> int:
    """Makes certificates to try TLS out with; a server that starts needs none of it."""
    from pymc.tls.dev import main as certs

    exit_code, text = certs(words)
    print(text, file=sys.stderr if exit_code else sys.stdout)
    return exit_code


def _option(letter: str) -> Option:
    if letter in _ACTIONS:
        return _ACTIONS[letter]
    if letter == _EXTENDED.letter:
        return _EXTENDED
    row = ROWS[FLAGS[letter]]
    # memcached declares --verbose so that --verbose=3 is taken, and counts it once.
    return Option(letter, row.long, takes_value(row), allows_value=letter == "v")


def _answer(letter: str, program: str) -> str:
    # A server that starts needs none of these texts.
    from pymc.config.help_text import help_text, licence_text, version_line

    return {"h": help_text, "i": licence_text, "V": version_line}[letter](program)


def _understood(row: Row, said_as: str, text: str, value: Any) -> str:
    said = f"-o {said_as}=" if said_as in row.options else f"-{row.flag} " if row.flag else ""
    shown = row.shown(value) if row.shown else shown_amount(value, row.unit)
    return f"WARNING: {said}{text}: understood as {shown}"


def _reader_of(option: str) -> Reader:
    return ROWS[OPTIONS[option]].reader


class _Reading:
    """Settings while they are being read."""

    def __init__(self, program: str) -> None:
        self.values: dict[str, Any] = {**DEFAULTS, "program": program}
        self.given: set[str] = set()
        self.warnings: list[str] = []

    def settings(self) -> Settings:
        """What was read, still unchecked."""
        values = {**self.values, "given": frozenset(self.given), "warnings": tuple(self.warnings)}
        return Settings(**values)

    def take_environment(self, environ: Mapping[str, str]) -> None:
        """Takes the settings that come from variables."""
        for name, row in ROWS.items():
            if row.env and row.env in environ:
                self._set(name, row.env, READ, environ[row.env])

    def take_flag(self, letter: str, text: str | None) -> None:
        """Takes one flag, or answers when it asks for a text."""
        if letter in _ACTIONS:
            raise StartupAnswer(_answer(letter, self.values["program"]))
        if letter == _EXTENDED.letter:
            self._take_suboptions(text or "")
        else:
            name = FLAGS[letter]
            row = ROWS[name]
            self._set(name, row.long or letter, row.flag_value, text)

    def warn_of_words(self, words: Sequence[str]) -> None:
        """Words that are no options mean nothing: scripts that hold such start all the same."""
        if words:
            self.warnings.append(f"WARNING: no option, passed over: {' '.join(words)}")

    def _take_suboptions(self, text: str) -> None:
        """Takes the parts of `-o`, as getsubopt splits them: only a last comma may be idle."""
        listed = ""
        for part in text.removesuffix(",").split(",") if text else []:
            option, equals, value = part.partition("=")
            if listed and not equals:
                self._set(OPTIONS[listed], listed, READ, part)
            elif option in OPTIONS:
                listed = option if isinstance(_reader_of(option), Names) else ""
                name = OPTIONS[option]
                self._set(name, option, ROWS[name].options[option], value if equals else None)
            elif option in BUNDLES:
                self._take_bundle(option)
            else:
                hint = nearest(option.strip().lower(), [*OPTIONS, *BUNDLES])
                raise StartupError(f'Illegal suboption "{part}"', hint=hint)

    def _take_bundle(self, option: str) -> None:
        if option in DEPRECATED:
            self.warnings.append(DEPRECATED[option])
        changes = dict(BUNDLES[option])
        # The older defaults leave a chunk size alone that somebody asked for.
        if option == "no_modern" and "slab_chunk_max_bytes" in self.given:
            del changes["slab_chunk_max_bytes"]
        self.values.update(changes)

    def _set(self, name: str, said_as: str, value: Any, text: str | None) -> None:
        """Sets a setting, and those that change with it, to `value` or to what `text` means."""
        row = ROWS[name]
        if value is READ:
            value = row.reader(said_as, text, self.values)
            if text is not None and is_read_in_part(row.reader, text):
                self.warnings.append(_understood(row, said_as, text, value))
        self.values[name] = value
        self.given.add(name)
        for other, its_value in row.also.items():
            self.values[other] = value if its_value is READ else its_value
        if name == "workers" and value > _WORKERS_ADVISED_MAX:
            self.warnings.append(_MANY_WORKERS)


if __name__ == "__main__":
    sys.exit(main())
