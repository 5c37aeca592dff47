"""Replays the fuzzer's seeds without the fuzzer: whole and in pieces the answers are the same."""

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.core.driver import MIB, Cache, Handle
from tests.support.core.talk import Talk

CORPUS = Path(__file__).parent / "corpus" / "text"
SEEDS = sorted(path.name for path in CORPUS.iterdir())
# As fuzz_text.c has them.
LADDER = (48, 64, 96, 128, 192, 256, 512, 1024)
ITEM_BYTES_MAX = 24_000
SWITCH, RUN, TIME = 2, 3, 4
RUN_UNIT_BYTES = 64
LINE_BYTES_SAFE = 1900


def segments(program: bytes) -> Iterator[tuple[bytes, int | None]]:
    """Each segment, and the seconds that pass after it; None lets the other side go on."""
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


def play(program: bytes, dice: random.Random | None) -> list[bytes]:
    """What both conversations were answered; pieces are cut as the dice say."""
    with Cache(limit_bytes=48 * MIB, chunk_bytes=LADDER, bucket_start=1) as cache:
        cache.set_live("item_bytes_max", ITEM_BYTES_MAX)
        store = cache.open()
        now = 100
        store.set_now(now)
        talks = [Talk(store), Talk(store)]
        who = 0
        for segment, seconds in segments(program):
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
    program = (CORPUS / seed).read_bytes()[1:]
    whole = play(program, None)
    for number in range(3):
        assert play(program, random.Random(number)) == whole


def test_the_corpus_is_small() -> None:
    sizes = [path.stat().st_size for path in CORPUS.iterdir()]
    assert len(sizes) < 300
    assert sum(sizes) < 200_000
