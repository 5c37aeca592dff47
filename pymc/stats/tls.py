"""`stats tls`: the certificates in use, and what came of handshakes. Each value is one word."""

from pymc.core.store import Store
from pymc.server_context import ServerContext
from pymc.stats.report import report_parts, templates
from pymc.tls.facts import days_left, from_text, one_word
from pymc.tls.material import Material

# The lines in order; pymc/stats/report.py says how to read it.
TLS = """
certificate_subject text - Whom the server's certificate names; blanks as %20.
certificate_issuer text - Who issued it.
certificate_sans text - Its alternative names with their kinds, separated by commas.
certificate_serial text - Its serial number, in hexadecimal digits.
certificate_sha256 text - Its fingerprint.
certificate_key text - The kind and size of its key.
certificate_not_after gauge seconds When it ends, in seconds since 1970.
certificate_days_left gauge days Whole days until then; negative when it is over.
certificate_chain gauge certificates Certificates that the server sends, its own included.
ca_certificates gauge certificates CAs that clients' certificates may come from (ssl_ca_cert).
ca_subject?ca text - The one among those still valid that ends first.
ca_not_after?ca gauge seconds When that one ends, in seconds since 1970.
ca_days_left?ca gauge days Whole days until then.
crl_next_update?crl gauge seconds When the first list of ssl_crl ends, in seconds since 1970.
crl_revoked?crl gauge certificates Certificates that the lists name.
loaded_generations counter times Certificates were loaded, the start included.
loaded_seconds_ago gauge seconds How long those in use have been.
load_refusals counter times Certificates were to be loaded and could not be used.
kernel_tls text - Whether the kernel encrypts: yes or no.
...
"""


def tls_reply(server: ServerContext, store: Store, material: Material, now: float) -> bytes:
    """All lines with the END; `now` is the wall clock in seconds."""
    facts = from_text(material.facts_text())
    values: dict[str, object] = {
        **store.counters(),
        "certificate_subject": one_word(facts.subject) or "none",
        "certificate_issuer": one_word(facts.issuer) or "none",
        "certificate_sans": one_word(facts.sans) or "none",
        "certificate_serial": facts.serial,
        "certificate_sha256": facts.sha256,
        "certificate_key": facts.key,
        "certificate_not_after": facts.not_after,
        "certificate_days_left": days_left(facts.not_after, now),
        "certificate_chain": facts.chain_length,
        "ca_certificates": facts.ca_count,
        "ca_subject": one_word(facts.ca_subject),
        "ca_not_after": facts.ca_not_after,
        "ca_days_left": days_left(facts.ca_not_after, now),
        "crl_next_update": facts.crl_next_update,
        "crl_revoked": facts.revoked_count,
        "loaded_generations": material.generation,
        "loaded_seconds_ago": server.arena.seconds() - material.loaded_seconds,
        "load_refusals": material.refusals,
        "kernel_tls": "yes" if material.uses_kernel else "no",
    }
    holds = (("ca", bool(facts.ca_not_after)), ("crl", bool(facts.crl_next_update)))
    conditions = tuple(name for name, is_so in holds if is_so)
    return b"".join(report_parts(templates(TLS, "tls", conditions), values, {})) + b"END\r\n"
