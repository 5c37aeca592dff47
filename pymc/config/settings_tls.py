"""The table of settings, fourth part: TLS."""

from pymc.config.c_numbers import whole_signed, whole_unsigned
from pymc.config.readers import KILOBYTE, Number, NumberOrWord
from pymc.config.row import READ, setting
from pymc.config.settings_flash import UINT_MAX, FlashSettings
from pymc.config.shared import SHARED

KEY_IS_PEM = 1
KEY_IS_DER = 2
_DAY_SECONDS = 86400


def _shown_path(path: str | None) -> str:
    return path or "(null)"


def _shown_tls_version(number: int) -> str:
    return f"tlsv1.{number}"


class TlsSettings(FlashSettings):
    """How connections are encrypted."""

    tls_enabled: bool = setting(
        False,
        "encrypt connections with TLS",
        flag="Z",
        flag_value=True,
        long="enable-ssl",
        stats=("ssl_enabled", 800),
        shown_with="tls_enabled",
    )
    tls_chain_path: str | None = setting(
        None,
        "file with the certificate chain, PEM",
        options={"ssl_chain_cert": READ},
        stats=("ssl_chain_cert", 801),
        shown_with="tls_enabled",
        shown=_shown_path,
    )
    tls_key_path: str | None = setting(
        None,
        "file with the private key, unless it is in the chain's file",
        options={"ssl_key": READ},
        stats=("ssl_key", 802),
        shown_with="tls_enabled",
        shown=_shown_path,
    )
    tls_verify_mode: int = setting(
        0,
        "clients' certificates: 0 none, 1 asked for, 2 required, 3 asked for once",
        reader=Number(whole_signed, 0, 3, outside="Invalid {name}. Use help to see valid options."),
        options={"ssl_verify_mode": READ},
        stats=("ssl_verify_mode", 803),
        shown_with="tls_enabled",
    )
    tls_key_format: int = setting(
        KEY_IS_PEM,
        "format of the private key: PEM or 1, DER or 2",
        reader=NumberOrWord(whole_signed, words={"PEM": KEY_IS_PEM, "DER": KEY_IS_DER}),
        options={"ssl_keyformat": READ},
        stats=("ssl_keyformat", 804),
        shown_with="tls_enabled",
    )
    tls_ciphers: str | None = setting(
        None,
        "list of ciphers to allow",
        options={"ssl_ciphers": READ},
        stats=("ssl_ciphers", 805),
        shown_with="tls_enabled",
    )
    tls_ca_path: str | None = setting(
        None,
        "file with the CA certificates that clients' ones must come from",
        options={"ssl_ca_cert": READ},
        stats=("ssl_ca_cert", 806),
        shown_with="tls_enabled",
    )
    tls_wbuf_bytes: int = setting(
        16 * KILOBYTE,
        "kilobytes that are encrypted before they are sent",
        default_text="up to 128",
        unit="bytes",
        reader=Number(whole_unsigned, 0, UINT_MAX, KILOBYTE),
        options={"ssl_wbuf_size": READ},
        stats=("ssl_wbuf_size", 807),
        shown_with="tls_enabled",
    )
    tls_session_cache: bool = setting(
        False,
        "let clients resume TLS sessions, with tickets that all workers know",
        options={"ssl_session_cache": True},
        stats=("ssl_session_cache", 808),
        shown_with="tls_enabled",
    )
    tls_kernel: bool = setting(
        False,
        "let the kernel encrypt where it can",
        options={"ssl_kernel_tls": True},
        stats=("ssl_kernel_tls", 809),
        shown_with="tls_enabled",
    )
    tls_version_min: int = setting(
        2,
        "lowest version: 0 TLS 1.0, 1 TLS 1.1, 2 TLS 1.2, 3 TLS 1.3",
        reader=Number(whole_signed, 0, 3, outside="Invalid {name}. Use help to see valid options."),
        options={"ssl_min_version": READ},
        stats=("ssl_min_version", 810),
        shown_with="tls_enabled",
        shown=_shown_tls_version,
    )
    tls_allowed_ids_path: str | None = setting(
        None,
        "pymc only: file with the identities of clients that may connect, one a line: a SPIFFE "
        "URI that may end in *, or a DNS name that may begin with *., and what it may do",
        options={"ssl_allowed_ids": READ},
        stats=("ssl_allowed_ids", 1200),
        shown_with="tls_enabled",
    )
    tls_crl_path: str | None = setting(
        None,
        "pymc only: file with lists of revoked client certificates, PEM",
        options={"ssl_crl": READ},
        stats=("ssl_crl", 1201),
        shown_with="tls_enabled",
    )
    tls_handshake_timeout_seconds: int = setting(
        5,
        "pymc only: seconds that a client has for its TLS handshake",
        unit="seconds",
        reader=Number(whole_unsigned, 1, 3600),
        options={"ssl_handshake_timeout": READ},
        stats=("ssl_handshake_timeout", 1202),
        shown_with="tls_enabled",
        shared=SHARED,
    )
    tls_ticket_seconds: int = setting(
        3600,
        "pymc only: seconds after which sessions are resumed with a new ticket key; the last key "
        "before it still counts",
        unit="seconds",
        reader=Number(whole_unsigned, 1, _DAY_SECONDS),
        options={"ssl_ticket_seconds": READ},
        stats=("ssl_ticket_seconds", 1203),
        shown_with="tls_enabled",
    )
