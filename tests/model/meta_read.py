"""mg: what a reading meta command answers and changes, by the reference."""

from dataclasses import replace

from tests.model.conversation import Command, Flags, cas_of, expiry, put, ttl
from tests.model.reference import Reference
from tests.support.core.driver import Mode, Outcome, Write


def meta_get(key: bytes, flags: Flags) -> Command:
    """mg with v f s t c k O q, and N R T E."""

    def answer(reference: Reference) -> bytes:
        is_new = False
        if reference.find(key) is None and flags.has("N"):
            want = Write(Mode.ADD, 0, expiry(reference, flags.number("N")))
            want.token_sent, want.cas_new = True, flags.number("E")
            is_new = put(reference, key, b"", want) == Outcome.STORED
        # An item that is over at once still goes to the one who made it.
        if not is_new and reference.find(key) is None:
            return b"" if flags.has("q") else b"EN" + flags.returned(key) + b"\r\n"
        return _hit(reference, key, flags, is_new)

    return Command(b"mg %s%s\r\n" % (key, flags.text()), answer)


def _hit(reference: Reference, key: bytes, flags: Flags, is_new: bool) -> bytes:
    entry = reference.entries[key]
    has_token = entry.is_token_sent and not is_new
    recache = flags.number("R")
    is_near_end = recache is not None and 0 < entry.expiry_seconds < reference.now_seconds + recache
    wins = is_new or (not has_token and (entry.is_stale or is_near_end))
    out = b"VA %d" % len(entry.value) if flags.has("v") else b"HD"
    for word in flags.words:
        if word[0] == "T":
            # What stands behind T sees what it changed.
            entry = replace(entry, expiry_seconds=expiry(reference, flags.number("T")))
        out += Flags((word,)).returned(
            key,
            f=entry.flags,
            s=len(entry.value),
            t=ttl(reference, entry),
            c=cas_of(reference, key),
        )
    out += b" Z" * has_token + b" X" * entry.is_stale + b" W" * wins + b"\r\n"
    reference.entries[key] = replace(entry, is_token_sent=entry.is_token_sent or wins)
    return out + (entry.value + b"\r\n" if flags.has("v") else b"")
