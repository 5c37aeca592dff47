"""What C knows of the table of settings; the build makes csrc's generated/live.def of it."""

from pymc.config.settings import DEFAULTS, SHARED_ROWS


def live_def() -> str:
    """A row for each setting that stands in the arena: its name there, and its number at start."""
    rows = [
        f"LIVE({shared.name_of(name)}, {shared.encode(DEFAULTS[name], False)})"
        for name, shared in SHARED_ROWS.items()
    ]
    head = "// Made from the rows in pymc/config: LIVE(name, value at start)."
    return "\n".join([head, *rows]) + "\n"
