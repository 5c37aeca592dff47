"""Replays the fuzzers' seeds without the fuzzers: whole and in pieces the answers are the same."""

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from pymc.core.ffi import lib
from tests.fuzz.binary_program import ASKS_LOGIN, Segment, binary_segments
from tests.support.core.driver import MIB, Cache, Handle
from tests.support.core.talk import Talk

CORPUS = Path(__file__).parent / "corpus"
SEEDS = sorted(f"{path.parent.name}/{path.name}" for path in CORPUS.glob("*/*"))
# As fuzz_talks.h and fuzz_text.c have them.
LADDER = (48, 64, 96, 128, 192, 256, 512, 1024)
ITEM_BYTES_MAX = 24_000
SWITCH, RUN, TIME = 2, 3, 4
RUN_UNIT_BYTES = 64
LINE_BYTES_SAFE = 1900


def text_segments(program: bytes) -> Iterator[Segment]:
    """What a program of fuzz_text.c means."""
    segment = b""
    codes = iter(program)
    for code in codes:
        if code == RUN:
            segment += b"v" * RUN_UNIT_BYTES * next(codes, 0)
        elif code in (SWITCH, TIME):
            yield segment, next(codes, 0) if code == TIME else None
            segment = b""
        else:
            segment += bytes([code])
    yield segment, None


def feed_segment(talk: Talk, segment: bytes, dice: random.Random | None) -> None:
    while segment and not talk.is_closed:
        piece = len(segment)
        # A long line without its end closes a conversation: such a line is not cut further.
        room = LINE_BYTES_SAFE - len(talk.pending)
        if dice and room > 64:
            piece = dice.randrange(1, min(room, len(segment)) + 1)
        talk.feed(segment[:piece], drains=dice is None or dice.random() < 0.5)
        segment = segment[piece:]
    talk.drain()


def play(segments: list[Segment], dice: random.Random | None, *, asks_login: bool) -> list[bytes]:
    """What both conversations were answered; pieces are cut as the dice say."""
    with Cache(limit_bytes=48 * MIB, chunk_bytes=LADDER, bucket_start=1) as cache:
        cache.set_live("item_bytes_max", ITEM_BYTES_MAX)
        store = cache.open()
        now = 100
        store.set_now(now)
        talks = [Talk(store), Talk(store)]
        if asks_login:
            cache.set_live("sasl_enabled", 1)
            assert lib.proto_set_sasl(talks[0].proto, b"u:p\n", 4) == lib.PYMC_OK
        who = 0
        for segment, seconds in segments:
            feed_segment(talks[who], segment, dice)
            if seconds is None:
                who = 1 - who
            else:
                now += seconds
                store.set_now(now)
                store.turn()
        answers = [talk.received for talk in talks]
        finish(store, talks)
        return answers


def finish(store: Handle, talks: list[Talk]) -> None:
    for talk in talks:
        talk.close()
    store.limbo_step(1 << 20)
    store.check()


@pytest.mark.parametrize("seed", SEEDS)
def test_pieces_change_nothing(seed: str) -> None:
    first, *program = (CORPUS / seed).read_bytes()
    is_binary = seed.startswith("binary/")
    segments = list((binary_segments if is_binary else text_segments)(bytes(program)))
    asks_login = is_binary and bool(first & ASKS_LOGIN)
    whole = play(segments, None, asks_login=asks_login)
    for number in range(3):
        assert play(segments, random.Random(number), asks_login=asks_login) == whole


def test_the_corpus_is_small() -> None:
    sizes = [path.stat().st_size for path in CORPUS.glob("*/*")]
    assert len(sizes) < 500
    assert sum(sizes) < 200_000
