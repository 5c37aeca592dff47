"""What is said of certificates and lists that are over soon."""

import pytest

from pymc.supervisor.certificates import warnings_of
from pymc.tls.facts import DAY_SECONDS, Facts

NOW = 2_000_000_000.0


@pytest.mark.parametrize(
    ("facts", "lines"),
    [
        (Facts(not_after=int(NOW) + 14 * DAY_SECONDS), []),
        (
            Facts(subject="CN=s", not_after=int(NOW) + 14 * DAY_SECONDS - 1),
            ["warning: the certificate CN=s expires in 13 days"],
        ),
        (
            Facts(subject="CN=s", not_after=int(NOW) - 1),
            ["warning: the certificate CN=s has expired"],
        ),
        (
            Facts(not_after=int(NOW) * 2, ca_subject="CN=ca", ca_not_after=int(NOW) + DAY_SECONDS),
            ["warning: the CA CN=ca expires in 1 days"],
        ),
        (
            Facts(not_after=int(NOW) * 2, crl_next_update=int(NOW) + 7200),
            [
                "warning: a list of ssl_crl is valid for 2 more hours; after that clients of its CA"
                " are refused"
            ],
        ),
        (
            Facts(not_after=int(NOW) * 2, crl_next_update=int(NOW) - 1),
            ["warning: a list of ssl_crl has expired: clients of its CA are refused"],
        ),
        (Facts(not_after=int(NOW) * 2, warnings="a\nb"), ["a", "b"]),
    ],
)
def test_warnings(facts: Facts, lines: list[str]) -> None:
    assert warnings_of(facts, NOW) == lines
