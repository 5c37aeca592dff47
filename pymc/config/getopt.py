"""Walks a command line the way GNU getopt_long does, with its messages."""

from collections.abc import Iterator, Mapping, Sequence

from pymc.config.errors import StartupError, nearest
from pymc.record import Record


class Option(Record):
    """A flag letter, the long name that stands for it or "", and whether a value follows."""

    letter: str
    long: str
    takes_value: bool
    # The long name may carry `=value`, which is not looked at.
    allows_value: bool = False


class CommandLine:
    """One program's options; knows how they may be written."""

    def __init__(self, program: str, options: Sequence[Option]) -> None:
        """Messages begin with `program`; ambiguous names are listed in the order of `options`."""
        self._program = program
        self._letters: Mapping[str, Option] = {option.letter: option for option in options}
        self._longs = {option.long: option for option in options if option.long}
        # The words that were no options, once walk() is through.
        self.passed_over: list[str] = []

    def walk(
        self, words: Sequence[str], *, stops_at_operand: bool = False
    ) -> Iterator[tuple[str, str | None]]:
        """Yields (letter, value) from left to right, so that effects come in that order.

        Words that are no options are passed over, or end the walk if `stops_at_operand`. Raises
        StartupError (exit code 1) where getopt_long would complain.
        """
        rest = iter(words)
        for word in rest:
            if word == "--":
                self.passed_over.extend(rest)
            elif word.startswith("--"):
                yield self._long(word[2:], rest)
            elif word.startswith("-") and len(word) > 1:
                yield from self._cluster(word[1:], rest)
            else:
                self.passed_over.append(word)
                if stops_at_operand:
                    self.passed_over.extend(rest)

    def _cluster(self, letters: str, rest: Iterator[str]) -> Iterator[tuple[str, str | None]]:
        """Flags written together, such as `-vv`, `-m64` or `-dm 64`."""
        for place, letter in enumerate(letters):
            option = self._letters.get(letter)
            if option is None:
                raise self._wrong(f"invalid option -- '{letter}'")
            if not option.takes_value:
                yield letter, None
                continue
            value = letters[place + 1 :] or next(rest, None)
            if value is None:
                raise self._wrong(f"option requires an argument -- '{letter}'")
            yield letter, value
            return

    def _long(self, text: str, rest: Iterator[str]) -> tuple[str, str | None]:
        name, equals, value = text.partition("=")
        option = self._longs.get(name) or self._abbreviated(name, text)
        if not option.takes_value:
            if equals and not option.allows_value:
                raise self._wrong(f"option '--{option.long}' doesn't allow an argument")
            return option.letter, None
        given = value if equals else next(rest, None)
        if given is None:
            raise self._wrong(f"option '--{option.long}' requires an argument")
        return option.letter, given

    def _abbreviated(self, name: str, text: str) -> Option:
        found = [option for long, option in self._longs.items() if long.startswith(name)]
        if not found:
            raise self._wrong(f"unrecognized option '--{text}'", nearest(name, self._longs))
        if len(found) > 1:
            names = " ".join(f"'--{option.long}'" for option in found)
            raise self._wrong(f"option '--{text}' is ambiguous; possibilities: {names}")
        return found[0]

    def _wrong(self, message: str, hint: str = "") -> StartupError:
        return StartupError(f'{self._program}: {message}\nIllegal argument "?"', hint=hint)
