"""Messages in bytes: each comes back as it was sent, and no bytes bring anything but a refusal."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pymc.messages.declared import (
    TO_ASKER,
    TO_KEEPER,
    AnswerEnded,
    AnswerMessage,
    CrawlMessage,
    End,
    MoveMessage,
    WakeMessage,
)
from pymc.messages.form import (
    NUMBER,
    Delivery,
    FieldForm,
    Message,
    UnreadableError,
    decode,
    encode,
)
from pymc.record import replace

ALL = TO_KEEPER + TO_ASKER
NUMBERS = st.integers(min_value=0, max_value=10**18 - 1)
MESSAGES: st.SearchStrategy[Message] = st.one_of(
    st.builds(CrawlMessage, st.none() | st.lists(NUMBERS).map(tuple)),
    st.builds(MoveMessage, NUMBERS, NUMBERS),
    st.builds(AnswerMessage, st.binary()),
    st.builds(AnswerEnded, st.sampled_from(End)),
    st.just(WakeMessage()),
)


def delivery(word: bytes, fields: tuple[FieldForm, ...]) -> Delivery:
    return replace(MoveMessage.delivery, word=word, fields=fields)


@given(MESSAGES)
def test_each_comes_back_as_it_was_sent(message: Message) -> None:
    assert decode(encode(message), ALL) == message


@given(MESSAGES, st.data())
def test_one_that_is_cut_off_is_refused(message: Message, data: st.DataObject) -> None:
    whole = encode(message)
    cut = whole[: data.draw(st.integers(0, len(whole) - 1))]
    with pytest.raises(UnreadableError):
        decode(cut, ALL)


@given(st.binary(max_size=200), MESSAGES, st.data())
def test_no_bytes_bring_another_error(noise: bytes, message: Message, data: st.DataObject) -> None:
    whole = encode(message)
    at = data.draw(st.integers(0, len(whole)))
    for datagram in (noise, whole[:at] + noise, whole[:at] + noise + whole[at:]):
        try:
            found = decode(datagram, ALL)
        except UnreadableError:
            continue
        # Whatever is read can be sent on.
        assert decode(encode(found), ALL) == found


@pytest.mark.parametrize(
    "datagram",
    [
        b"",
        b"\n",
        b"nothing\n",
        b"crawl",
        b"crawl\n",
        b"crawl\nclasses 1\nx\n",
        b"crawl\nclasses 2\n1,\n",
        b"crawl\nclasses 2\n+1\n",
        b"crawl\nclasses 3\n1_0\n",
        b"crawl\nclasses 2\n 1\n",
        b"crawl\nclasses -1\n1\n",
        b"crawl\nclasses 99999999999999999999\n1\n",
        b"crawl\nclasses\n1\n",
        b"crawl\nclasses 1\n12\n",
        b"move\nfrom_class 1\n1\n",
        b"move\nfrom_class 2\n-1\nto_class 1\n1\n",
        b"ended\nend 4\nDONE\n",
    ],
)
def test_these_are_no_messages(datagram: bytes) -> None:
    with pytest.raises(UnreadableError):
        decode(datagram, ALL)


def test_one_for_somebody_else_is_refused() -> None:
    with pytest.raises(UnreadableError):
        decode(encode(AnswerEnded(End.DONE)), TO_KEEPER)


def test_their_bytes_stay_what_other_versions_know() -> None:
    assert encode(MoveMessage(17, 4)) == b"move\nfrom_class 2\n17\nto_class 1\n4\n"
    assert encode(CrawlMessage((1, 20))) == b"crawl\nclasses 4\n1,20\n"
    assert encode(CrawlMessage(None)) == b"crawl\nclasses 3\nall\n"
    assert encode(CrawlMessage(())) == b"crawl\nclasses 0\n\n"
    assert encode(AnswerMessage(b"a\nb")) == b"answer\nline 3\na\nb\n"
    assert encode(AnswerEnded(End.BROKEN)) == b"ended\nend 6\nbroken\n"
    assert encode(WakeMessage()) == b"wake\n"


class Older(Message):
    """What an old program knows of a message."""

    pages: int

    delivery = delivery(b"take", (NUMBER,))


class Newer(Message):
    """The same message after a field was added."""

    pages: int
    rest: int = 7

    delivery = delivery(b"take", (NUMBER, NUMBER))


def test_a_newer_sender_is_understood_by_an_older_receiver() -> None:
    assert decode(encode(Newer(3, 9)), (Older,)) == Older(3)


def test_an_older_sender_is_understood_by_a_newer_receiver() -> None:
    assert decode(encode(Older(3)), (Newer,)) == Newer(3, 7)


@pytest.mark.parametrize("kind", ALL)
def test_declarations_are_whole(kind: type[Message]) -> None:
    about = kind.delivery
    assert len(about.fields) == len(kind.__match_args__)
    texts = (about.sender, about.receiver, about.answer)
    assert all((*texts, about.when_dead, about.when_stuck, about.when_full))
    assert about.word.isalpha()
    assert [other for other in ALL if other.delivery.word == about.word] == [kind]
