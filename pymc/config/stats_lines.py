"""The lines of `stats settings`, in memcached's order and spelling."""

from collections.abc import Callable, Mapping
from typing import Any

from pymc.config.settings import ROWS, Settings

Number = int | float | str

# Keys that no one setting stands for: their place, and their text from settings and live values.
_DERIVED: dict[str, tuple[int, Callable[[Settings, Mapping[str, Number]], str]]] = {
    "oldest": (70, lambda settings, live: str(live.get("oldest_live_seconds", 0))),
    "num_threads_per_udp": (
        150,
        lambda settings, live: str(1 if "," in ",".join(settings.listen) else settings.workers),
    ),
    "auth_enabled_ascii": (
        230,
        lambda settings, live: settings.auth_file_path or "no",
    ),
    "inline_ascii_response": (520, lambda settings, live: "no"),
    "client_flags_size": (920, lambda settings, live: "4"),
}


def settings_lines(settings: Settings, live: Mapping[str, Number]) -> list[tuple[str, str]]:
    """Key and text of each line of `stats settings`.

    `live` holds the present values of settings that commands can change, by their names here and
    in their own units, and `oldest_live_seconds`; what is missing is as at the start. TLS keys are
    there only when TLS is on, proxy keys never. Keys that only pymc has stand behind memcached's,
    at places from 1000 on.
    """
    placed = {place: (key, text(settings, live)) for key, (place, text) in _DERIVED.items()}
    for name, row in ROWS.items():
        if not row.stats_key or (row.shown_with and not getattr(settings, row.shown_with)):
            continue
        value = getattr(settings, name)
        if row.live and name in live:
            value = type(value)(live[name])
        text = row.shown(value) if row.shown else shown_value(value)
        placed[row.stats_position] = (row.stats_key, text)
    return [placed[place] for place in sorted(placed)]


def shown_value(value: Any) -> str:
    """A value as memcached spells it."""
    if value is None:
        return "NULL"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.2f}" if isinstance(value, float) else str(value)
