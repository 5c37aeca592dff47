"""The certificates of a start: read before root's rights go, and tried when there is memory."""

from pymc.config import Settings
from pymc.core.arena import Arena
from pymc.core.tls import kernel_lacks
from pymc.logs import say
from pymc.tls.checker import CHECK_SECONDS, start_check, start_try
from pymc.tls.material import OK, Material, refused


def load_material(settings: Settings) -> Material:
    """Reads and checks the files that the settings name. Raises StartupError.

    In memcached's words where the start would fail with memcached as well.
    """
    named = {"the certificate chain": settings.tls_chain_path}
    if settings.tls_chain_path is not None:
        named["the key"] = settings.tls_key_path or settings.tls_chain_path
    for title, path in named.items():
        if path is None:
            raise refused(f"Error loading {title}: (null) : ssl_chain_cert and ssl_key are needed")
    material = Material(settings)
    check = start_check(settings, material, None)
    verdict = check.wait(CHECK_SECONDS)
    if verdict != OK:
        raise refused(verdict)
    # What changes from here on is noticed by the supervisor, however long the start takes.
    material.seen_at_start = check.seen
    material.publish(0)
    return material


def try_material(settings: Settings, material: Material, arena: Arena) -> None:
    """Makes a context as workers will, in a child. Raises StartupError.

    Where the kernel cannot do what ssl_kernel_tls asks of it, that is said, and it is done here.
    """
    # There was no clock before.
    material.note_loaded(arena.seconds())
    if settings.tls_kernel:
        if lack := kernel_lacks():
            say(f"warning: ssl_kernel_tls: {lack}; the server encrypts by itself")
        else:
            material.let_kernel_encrypt()
    verdict = start_try(settings, material, arena).wait(CHECK_SECONDS)
    if verdict != OK:
        raise refused(verdict)
