"""The texts of `-h`, `-i` and `-V`, made from the table of settings."""

import textwrap
from collections.abc import Iterator

from pymc import VERSION
from pymc.config.features import FEATURES_NOT_BUILT
from pymc.config.row import READ, Row
from pymc.config.settings import BUNDLES, DEFAULTS, FLAGS, ROWS, takes_value
from pymc.config.stats_lines import shown_value

# The order of memcached's -h; tools look for the lines, people for the place.
_FLAG_ORDER = "pUsaAldrumMckvhiVPfnLDtRCbBISFXWYeZoN"
_TEXT_COLUMN = 26
_COLUMNS = 100
_ACTIONS = {
    "h": ("help", "print this help and exit"),
    "i": ("license", "print the licence and exit"),
    "V": ("version", "print the version and exit"),
    "o": ("extended", "extended options, with commas between them; most have a no_ form:"),
}
_BUNDLE_HELP = {
    "modern": "accepted; these options are the defaults already",
    "no_modern": "the defaults of memcached 1.4: plain queues, no background work, nothing moves",
}
_LICENCE = """
pymc is a work of its own. It speaks memcached's protocols and takes memcached's options, but
contains no code of memcached or of libevent, and is not made by their authors.

It comes without any warranty. The terms of use are those of the LICENSE file that is
distributed with it; without such a file all rights stay with the authors of pymc.
"""


def version_line(program: str) -> str:
    """The whole of `-V` and the first line of `-h`."""
    return f"{program} {VERSION}\n"


def licence_text(program: str) -> str:
    """The text of `-i`."""
    return version_line(program) + _LICENCE


def help_text(program: str) -> str:
    """The text of `-h`: each flag and each suboption on a line that begins with its name."""
    lines = [line for letter in _FLAG_ORDER for line in _flag_lines(letter)]
    lines += _entry(
        "certs dev <dir>",
        "in place of all flags: make certificates there to try TLS with, and print command lines"
        " of servers and clients that use them",
    )
    return version_line(program) + "".join(f"{line}\n" for line in lines)


def _flag_lines(letter: str) -> Iterator[str]:
    if letter in _ACTIONS:
        long, text = _ACTIONS[letter]
        yield from _entry(f"-{letter}, --{long}", text)
    else:
        name = FLAGS[letter]
        yield from _entry(_flag_name(ROWS[name]), _described(name))
    if letter == "o":
        yield from _option_lines()


def _flag_name(row: Row) -> str:
    if not row.long:
        return f"-{row.flag} <{row.argument}>"
    value = f"=<{row.argument}>" if takes_value(row) else ""
    return f"-{row.flag}, --{row.long}{value}"


def _option_lines() -> Iterator[str]:
    for name, row in ROWS.items():
        if row.options and row.help:
            yield from _entry(f"   - {next(iter(row.options))}:", _described(name))
    for option in BUNDLES:
        if option in _BUNDLE_HELP:
            yield from _entry(f"   - {option}:", _BUNDLE_HELP[option])


def _described(name: str) -> str:
    """The help of a setting with its default and what it does not do here."""
    row = ROWS[name]
    text = row.help
    default = row.default_text
    is_read = takes_value(row) or READ in row.options.values()
    if default is None and is_read and DEFAULTS[name] not in (None, ()):
        default = _default_text(name)
    if default:
        text += f" (default: {default})"
    for feature in FEATURES_NOT_BUILT:
        if feature.setting == name:
            text += f" [{feature.note}]"
    return text


def _default_text(name: str) -> str:
    value, row = DEFAULTS[name], ROWS[name]
    if isinstance(value, float):
        return row.shown(value) if row.shown else shown_value(value)
    return str(value // row.scale) if isinstance(value, int) else str(value)


def _entry(left: str, text: str) -> list[str]:
    """One entry with its text in the second column, wrapped."""
    wrapped = textwrap.wrap(text, _COLUMNS - _TEXT_COLUMN)
    first = f"{left:<{_TEXT_COLUMN - 1}} {wrapped[0]}"
    return [first] + [" " * _TEXT_COLUMN + line for line in wrapped[1:]]
