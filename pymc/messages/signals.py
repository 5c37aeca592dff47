"""Signals that processes send each other as messages: what each means, and to whom."""

import signal

from pymc.record import Record


class SignalMessage(Record):
    """A signal from one process to another; nothing is answered but by what happens."""

    number: signal.Signals
    sender: str
    receiver: str
    meaning: str
    when_stuck: str


# A child that is only starting, and has no loop yet, ends by SIGTERM and ignores SIGHUP: see
# csrc/base/process.c.
STOP_CHILD = SignalMessage(
    signal.SIGTERM,
    sender="supervisor",
    receiver="worker, keeper",
    meaning="end: close what is open and exit with 0",
    when_stuck="killed after STOP_SECONDS; after STOP_SECONDS_MAX nobody waits for it",
)
USERS_CHANGED = SignalMessage(
    signal.SIGHUP,
    sender="supervisor",
    receiver="worker",
    meaning="the users of -Y and -S were read again and stand in shared memory",
    when_stuck="it stays pending; who is only starting reads them when it is ready",
)
CERTIFICATES_CHANGED = SignalMessage(
    signal.SIGHUP,
    sender="supervisor",
    receiver="worker",
    meaning="new certificates count and stand in shared memory",
    when_stuck="it stays pending; the round ends without its confirmation, and says so",
)
KILL_CHILD = SignalMessage(
    signal.SIGKILL,
    sender="supervisor",
    receiver="worker, keeper",
    meaning="end at once: it did not go on, or did not stop",
    when_stuck="who waits for a device stays until the device answers; another takes its place",
)
CHILD_CHANGED = SignalMessage(
    signal.SIGCHLD,
    sender="the system",
    receiver="supervisor",
    meaning="a child ended, was stopped or goes on",
    when_stuck="children that ended are noticed when the supervisor goes on",
)
SHUT_DOWN = SignalMessage(
    signal.SIGINT,
    sender="worker (`shutdown`), operator",
    receiver="supervisor",
    meaning="end the server",
    when_stuck="it stays pending",
)
SHUT_DOWN_GRACEFULLY = SignalMessage(
    signal.SIGUSR1,
    sender="worker (`shutdown graceful`), operator",
    receiver="supervisor",
    meaning="end the server, and say so in the log",
    when_stuck="it stays pending",
)
END_SERVER = SignalMessage(
    signal.SIGTERM,
    sender="operator",
    receiver="supervisor",
    meaning="end the server",
    when_stuck="it stays pending",
)
READ_USERS = SignalMessage(
    signal.SIGHUP,
    sender="operator",
    receiver="supervisor",
    meaning="read the files of -Y and -S and the certificates again",
    when_stuck="it stays pending",
)
# Not SIGHUP, which would read the users as well.
REFRESH_CERTIFICATES = SignalMessage(
    signal.SIGRTMIN,
    sender="worker (`refresh_certs`)",
    receiver="supervisor",
    meaning="read the certificates again; what comes of it stands in shared memory",
    when_stuck="it stays pending; the client is told when it takes too long",
)

# How long a child may take to end, and how long the server takes at most.
STOP_SECONDS = 0.7
STOP_SECONDS_MAX = 4.0

# The supervisor blocks these for ever and waits for them, one after the other.
TO_SUPERVISOR = (
    CHILD_CHANGED,
    END_SERVER,
    SHUT_DOWN,
    READ_USERS,
    SHUT_DOWN_GRACEFULLY,
    REFRESH_CERTIFICATES,
)
WAITED_SIGNALS = tuple(message.number for message in TO_SUPERVISOR)
