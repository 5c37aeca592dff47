"""The keys of an answer to stats, in their order."""

import re

# What memcached has only when it was built with its proxy.
PROXY = re.compile("proxy_")


def keys(reply: bytes) -> list[str]:
    lines = reply.decode().split("\r\n")
    assert lines[-2:] == ["END", ""]
    assert all(re.fullmatch(r"STAT \S+ .+", line) for line in lines[:-2])
    return [line.split(" ")[1] for line in lines[:-2]]
