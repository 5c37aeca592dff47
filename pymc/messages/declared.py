"""The messages that Python processes send: who to whom, and what happens when nobody is there."""

from enum import Enum, IntEnum

from pymc.messages.form import BYTES, NUMBER, NUMBERS, Delivery, Message, choice


class CrawlerState(IntEnum):
    """What the note about the crawler says."""

    IDLE = 0
    ASKED = 1
    OWN = 2


class CrawlMessage(Message):
    """Search these classes for expired items; None means all."""

    classes: tuple[int, ...] | None

    delivery = Delivery(
        word=b"crawl",
        fields=(NUMBERS,),
        sender="worker",
        receiver="keeper",
        answer="none; NOTE_CRAWLER is ASKED from the sending until the search ends",
        when_dead="the next keeper reads it; one that had read it takes the search along",
        when_stuck="it waits until the watchdog has replaced the keeper",
        when_full="the client is answered BUSY",
    )


class MoveMessage(Message):
    """Move a page from one class to another."""

    from_class: int
    to_class: int

    delivery = Delivery(
        word=b"move",
        fields=(NUMBER, NUMBER),
        sender="worker",
        receiver="keeper",
        answer="none; NOTE_SLAB_MOVE is set from the sending until the move ends",
        when_dead="the next keeper reads it; one that had read it takes the move along",
        when_stuck="it waits until the watchdog has replaced the keeper",
        when_full="the client is answered BUSY",
    )


class WakeMessage(Message):
    """A setting changed that the keeper acts on: look now, not in a second."""

    delivery = Delivery(
        word=b"wake",
        sender="worker",
        receiver="keeper",
        answer="none",
        when_dead="the next keeper looks as soon as it starts",
        when_stuck="its successor looks as soon as it starts",
        when_full="nothing is lost: the keeper looks once a second anyway",
    )


class AnswerMessage(Message):
    """Answer this command line on the first descriptor; say on the second how that ended."""

    line: bytes

    delivery = Delivery(
        word=b"answer",
        fields=(BYTES,),
        descriptors=2,
        sender="worker",
        receiver="keeper",
        answer="AnswerEnded on the second descriptor, without a limit: a client may read slowly",
        when_dead="the second descriptor reaches its end, and the worker cuts its client off",
        when_stuck="the client waits until the watchdog has killed the keeper",
        when_full="the worker answers by itself, in slices",
    )


class End(Enum):
    """How an answer of the keeper ended."""

    DONE = b"done"
    # It broke off in the middle.
    BROKEN = b"broken"
    # Nothing was sent; the worker answers by itself.
    REFUSED = b"refused"


class AnswerEnded(Message):
    """The keeper has finished with the connection that an AnswerMessage lent to it."""

    end: End

    delivery = Delivery(
        word=b"ended",
        fields=(choice(End),),
        sender="keeper",
        receiver="worker",
        answer="none",
        when_dead="the keeper sees the end of the descriptor and stops answering",
        when_stuck="it waits in the socket; the watchdog replaces the worker",
        when_full="cannot be: it is the only message of its socket",
    )


# What comes into the keeper's inbox, and what comes back for an AnswerMessage.
TO_KEEPER: tuple[type[Message], ...] = (CrawlMessage, MoveMessage, WakeMessage, AnswerMessage)
TO_ASKER: tuple[type[Message], ...] = (AnswerEnded,)
