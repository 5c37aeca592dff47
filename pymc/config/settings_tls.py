"""The table of settings, fourth part: TLS."""

from pymc.config.c_numbers import whole_signed, whole_unsigned
from pymc.config.readers import KILOBYTE, Number
from pymc.config.row import READ, setting
from pymc.config.settings_flash import UINT_MAX, FlashSettings

_NO_TLS = "TLS is not built yet"


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
        idle=_NO_TLS,
    )
    tls_key_path: str | None = setting(
        None,
        "file with the private key, unless it is in the chain's file",
        options={"ssl_key": READ},
        stats=("ssl_key", 802),
        shown_with="tls_enabled",
        shown=_shown_path,
        idle=_NO_TLS,
    )
    tls_verify_mode: int = setting(
        0,
        "clients' certificates: 0 none, 1 asked for, 2 required, 3 asked for once",
        reader=Number(whole_signed, 0, 3, outside="Invalid {name}. Use help to see valid options."),
        options={"ssl_verify_mode": READ},
        stats=("ssl_verify_mode", 803),
        shown_with="tls_enabled",
        idle=_NO_TLS,
    )
    tls_key_format: int = setting(
        1,
        "format of the private key: 1 PEM, 2 DER",
        reader=Number(whole_signed),
        options={"ssl_keyformat": READ},
        stats=("ssl_keyformat", 804),
        shown_with="tls_enabled",
        idle=_NO_TLS,
    )
    tls_ciphers: str | None = setting(
        None,
        "list of ciphers to allow",
        options={"ssl_ciphers": READ},
        stats=("ssl_ciphers", 805),
        shown_with="tls_enabled",
        idle=_NO_TLS,
    )
    tls_ca_path: str | None = setting(
        None,
        "file with the CA certificates that clients' ones must come from",
        options={"ssl_ca_cert": READ},
        stats=("ssl_ca_cert", 806),
        shown_with="tls_enabled",
        idle=_NO_TLS,
    )
    tls_wbuf_bytes: int = setting(
        16 * KILOBYTE,
        "kilobytes of output buffer for encryption",
        unit="bytes",
        reader=Number(whole_unsigned, 0, UINT_MAX, KILOBYTE),
        options={"ssl_wbuf_size": READ},
        stats=("ssl_wbuf_size", 807),
        shown_with="tls_enabled",
        idle=_NO_TLS,
    )
    tls_session_cache: bool = setting(
        False,
        "let clients resume TLS sessions",
        options={"ssl_session_cache": True},
        stats=("ssl_session_cache", 808),
        shown_with="tls_enabled",
        idle=_NO_TLS,
    )
    tls_kernel: bool = setting(
        False,
        "let the kernel encrypt where it can",
        options={"ssl_kernel_tls": True},
        stats=("ssl_kernel_tls", 809),
        shown_with="tls_enabled",
        idle=_NO_TLS,
    )
    tls_version_min: int = setting(
        2,
        "lowest version: 0 TLS 1.0, 1 TLS 1.1, 2 TLS 1.2, 3 TLS 1.3",
        reader=Number(whole_signed, 0, 3, outside="Invalid {name}. Use help to see valid options."),
        options={"ssl_min_version": READ},
        stats=("ssl_min_version", 810),
        shown_with="tls_enabled",
        shown=_shown_tls_version,
        idle=_NO_TLS,
    )
