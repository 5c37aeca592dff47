"""Messages between the server's processes: each declared once, in one form, over bounded queues.

`declared` has a declaration for each message that Python reads or writes, `signals` those that are
signals, `channel` the queues they go through and `form` their bytes. What C processes tell each
other stands beside the code that does it: connections that change their worker in csrc/server,
write buffers that ask for the keeper in csrc/flash. Words in shared memory (live settings, marks
in slots) are no messages: whoever looks sees them, and nobody waits for them.
"""

from pymc.messages.channel import (
    MESSAGE_BYTES_MAX,
    NOTE_BYTES_MAX,
    Inbox,
    Lifeline,
    receive,
    receive_note,
    send,
    send_note,
)
from pymc.messages.declared import (
    AnswerEnded,
    AnswerMessage,
    CrawlerState,
    CrawlMessage,
    End,
    MoveMessage,
    WakeMessage,
)
from pymc.messages.form import Message, UnreadableError

__all__ = [
    "MESSAGE_BYTES_MAX",
    "NOTE_BYTES_MAX",
    "AnswerEnded",
    "AnswerMessage",
    "CrawlMessage",
    "CrawlerState",
    "End",
    "Inbox",
    "Lifeline",
    "Message",
    "MoveMessage",
    "UnreadableError",
    "WakeMessage",
    "receive",
    "receive_note",
    "send",
    "send_note",
]
