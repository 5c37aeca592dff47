"""Any commands, cut into any records, that arrive and leave in any pieces: the answers are those of
a client without TLS.
"""

import itertools
import ssl

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.core.conn_rig import MANY, Client, Rig
from tests.support.core.driver import MIB, Cache
from tests.support.core.tls_conn import TlsClient, client_context, server_context

SIZES = st.sampled_from([0, 1, 100, 2000, 16_384, 40_000])
KEYS = st.sampled_from([b"a", b"b", b"c"])
COMMANDS = st.one_of(
    st.tuples(KEYS, SIZES).map(
        lambda made: b"set %s 0 0 %d\r\n%s\r\n" % (made[0], made[1], b"v" * made[1])
    ),
    st.lists(KEYS, min_size=1, max_size=6).map(lambda keys: b"get %s\r\n" % b" ".join(keys)),
    st.just(b"mn\r\n"),
    st.just(b"nonsense\r\n"),
)
# What the client writes at once, what arrives at once, what it takes at once.
STEPS = st.lists(
    st.tuples(
        st.sampled_from([1, 17, 500, 5000, 16_384]),
        st.sampled_from([1, 6, 300, 16_000, 100_000]),
        st.sampled_from([0, 1, 50, 5000, 200_000]),
    ),
    min_size=1,
    max_size=12,
)


def plain_answer(said: bytes) -> bytes:
    with Cache(limit_bytes=64 * MIB) as cache:
        rig = Rig(cache, cache.open())
        heard = Client(rig).ask(said)
        rig.close()
    return heard


def in_pieces(data: bytes, size: int) -> list[bytes]:
    # Some dozen pieces tell all that thousands would.
    size = max(size, len(data) // 60)
    return [data[at : at + size] for at in range(0, len(data), size)]


def encrypted_answer(
    said: bytes, steps: list[tuple[int, int, int]], version: ssl.TLSVersion
) -> bytes:
    with Cache(limit_bytes=64 * MIB) as cache:
        rig = Rig(cache, cache.open())
        server = server_context(rig)
        client = TlsClient(rig, server, client_context(version)).greet()
        server.release()
        at = 0
        # Some dozen records tell all that thousands would.
        least = len(said) // 60
        for step, arrives, taken in itertools.cycle(steps):
            written = min(max(step, least), 16_384)
            client.tls.write(said[at : at + written])
            at += written
            for piece in in_pieces(client.out.read(), arrives):
                client.say(piece)
                client.take(taken)
                rig.serve()
                client.listen()
            if at >= len(said):
                break
        client.take(MANY)
        rig.serve()
        heard = client.hear()
        assert client.state == "READING"
        rig.close()
    return heard


@settings(max_examples=40, deadline=None)
@given(
    commands=st.lists(COMMANDS, min_size=1, max_size=12),
    steps=STEPS,
    version=st.sampled_from([ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]),
)
def test_answers_are_those_without_tls(
    commands: list[bytes], steps: list[tuple[int, int, int]], version: ssl.TLSVersion
) -> None:
    said = b"".join(commands)
    assert encrypted_answer(said, steps, version) == plain_answer(said)
