"""Long pipelines of random commands, and the proof that every value in their replies is whole."""

import random
import re

from tests.support.core.driver import MIB, Handle

COMMANDS = 250
KEYS = 1500
VALUE_HEAD = re.compile(rb"VALUE (\S+) \d+ (\d+)\r\n")


def value_of(key: bytes, generation: int, value_bytes: int) -> bytes:
    word = b"%s=%d;" % (key, generation)
    return (word * (value_bytes // len(word) + 1))[: max(value_bytes, len(word))]


def is_whole(key: bytes, value: bytes) -> bool:
    """Tells whether somebody stored this value under this key."""
    if key.startswith(b"n"):
        return value.strip().isdigit()
    word = value.partition(b";")[0] + b";"
    return word.startswith(key + b"=") and (word * (len(value) // len(word) + 1)).startswith(value)


def check_values(sent: bytes) -> int:
    """Every value in a reply is one that was stored under its key; how many there were."""
    place = count = 0
    while head := VALUE_HEAD.search(sent, place):
        place = head.end() + int(head[2])
        value = sent[head.end() : place]
        assert sent[place : place + 2] == b"\r\n", (head[1], value[:80])
        assert is_whole(head[1], value), (head[1], value[:80])
        count += 1
    return count


def write_command(dice: random.Random, key: bytes, number: bytes) -> bytes:
    chance = dice.random()
    if chance < 0.6:
        size = dice.choices((20, 100, 290, 1500, 20_000), (30, 30, 30, 5, 1))[0]
        value = value_of(key, dice.randrange(1 << 30), size)
        return b"set %s 0 %d %d\r\n%s\r\n" % (key, dice.choice((0, 500)), len(value), value)
    if chance < 0.7:
        return b"delete %s\r\n" % key
    if chance < 0.76:
        return b"set %s 0 0 1\r\n5\r\n" % number
    if chance < 0.88:
        return b"incr %s %d\r\n" % (number, dice.choice((1, 7, 99, 10**6)))
    if chance < 0.94:
        return b"touch %s %d\r\n" % (key, dice.choice((0, 500)))
    if chance < 0.98:
        return b"md %s I T300\r\n" % key
    return b"flush_all\r\n" if dice.random() < 0.02 else b"gat 600 %s\r\n" % key


def pipeline(dice: random.Random, slot: int) -> bytes:
    """Some hundred commands; keys that begin with c<slot> are used by this slot alone."""
    commands = []
    for i in range(COMMANDS):
        key = b"k%d" % dice.randrange(KEYS)
        number = b"n%d" % dice.randrange(30)
        chance = dice.random()
        if chance < 0.5:
            commands.append(write_command(dice, key, number))
        elif chance < 0.52:
            rush = [b"c%d.%d.%d" % (slot, i, j) for j in range(20)]
            commands += [b"set %s 0 0 1\r\nx\r\n" % one for one in rush]
            commands += [b"delete %s\r\n" % one for one in rush]
        else:
            commands.append(b"get %s %s k%d\r\n" % (key, number, dice.randrange(KEYS)))
    return b"".join(commands)


def keep_house(dice: random.Random, store: Handle, limit_bytes: int) -> None:
    """What the keeper does in a server, at random."""
    chance = dice.random()
    if chance < 0.2:
        store.limbo_step(50)
    elif chance < 0.3:
        classes = store.slab().classes
        move = store.move_begin(dice.randrange(1, classes + 1), dice.randrange(classes + 1))
        if move is not None and not any(store.move_step(move, 500) for _ in range(20)):
            store.move_cancel(move)
    elif chance < 0.4:
        store.crawl(1000)
    elif chance < 0.45:
        store.release_pool(2)
    elif chance < 0.5:
        store.set_limit(limit_bytes - dice.randrange(2) * MIB)
    store.turn()
