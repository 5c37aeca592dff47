"""Certificates in shared memory: which copy counts, who uses it, and that the other one is gone."""

import pytest

from pymc.config import StartupError
from pymc.core.arena import Arena
from pymc.core.errors import InvalidArgumentError
from pymc.launch import certificates
from pymc.launch.certificates import load_material, try_material
from pymc.tls.facts import from_text
from pymc.tls.files import look_at
from pymc.tls.material import OK, Material
from tests.support.certificate_files import CertificateFiles


def texts_of(files: CertificateFiles, serial: bytes = b"") -> dict[str, bytes]:
    return {"chain": files.pair.chain_pem, "key": files.pair.key_pem, "facts": b"serial " + serial}


@pytest.fixture
def material(files: CertificateFiles) -> Material:
    made = Material(files.settings)
    made.write_next(texts_of(files, b"1"))
    assert made.publish(7) == 1
    return made


def test_what_was_published_counts(material: Material, files: CertificateFiles) -> None:
    assert (material.generation, material.loaded_seconds) == (1, 7)
    material.write_next(texts_of(files, b"2"))
    assert from_text(material.facts_text()).serial == "1"
    material.publish(9)
    assert from_text(material.facts_text()).serial == "2"
    assert (material.generation, material.loaded_seconds) == (2, 9)


def test_the_copy_that_does_not_count_is_wiped(material: Material, files: CertificateFiles) -> None:
    before = files.pair.key_pem
    files.renew()
    material.write_next(texts_of(files, b"2"))
    material.publish(9)
    memory = bytes(material._memory)
    assert before in memory and files.pair.key_pem in memory
    material.wipe_other()
    memory = bytes(material._memory)
    assert before not in memory and files.pair.key_pem in memory
    # And so is what never counted.
    material.write_next(texts_of(files, b"3"))
    assert bytes(material._memory).count(files.pair.key_pem) == 2
    material.wipe_other()
    assert bytes(material._memory).count(files.pair.key_pem) == 1
    assert from_text(material.facts_text()).serial == "2"


def test_locked_memory_is_wiped_as_well(material: Material, files: CertificateFiles) -> None:
    material.write_next({**texts_of(files), "key": b"another key"})
    # As the system refuses it there.
    material._forget = -1
    material.wipe_other()
    assert b"another key" not in bytes(material._memory)


def test_workers_make_contexts_of_it(material: Material, arena: Arena) -> None:
    assert material.late_workers(2) == [0, 1]
    context, generation = material.make_context(arena)
    context.release()
    context.release()
    material.note_used(1, generation)
    assert material.late_workers(2) == [0]


@pytest.mark.parametrize("is_wiped", [False, True])
def test_a_context_of_a_copy_that_changed_meanwhile_is_made_anew(
    material: Material,
    arena: Arena,
    files: CertificateFiles,
    monkeypatch: pytest.MonkeyPatch,
    is_wiped: bool,
) -> None:
    real, tried = material.try_context, []

    def slow(arena: Arena, generation: int) -> object:
        tried.append(generation)
        if len(tried) == 1:
            material.write_next(texts_of(files, b"2"))
            material.publish(9)
            if is_wiped:
                material.wipe_other()
        return real(arena, generation)

    monkeypatch.setattr(material, "try_context", slow)
    context, generation = material.make_context(arena)
    context.release()
    assert (tried, generation) == ([1, 2], 2)


def test_what_cannot_be_used_says_why(arena: Arena, files: CertificateFiles) -> None:
    material = Material(files.settings)
    material.write_next({**texts_of(files), "key": files.root.server().key_pem})
    material.publish(1)
    with pytest.raises(InvalidArgumentError):
        material.make_context(arena)


def test_rounds_and_their_results(material: Material) -> None:
    assert (material.rounds_begun, material.rounds_done, material.refusals) == (0, 0, 0)
    material.begin_round()
    assert (material.rounds_begun, material.rounds_done) == (1, 0)
    material.end_round("é" * 2000)
    assert material.rounds_done == 1
    assert set(material.result_of(1)) <= set("é")
    material.begin_round()
    material.end_round(OK)
    assert (material.result_of(2), material.refusals) == (OK, 1)
    assert material.result_of(1) != OK


def test_too_much_is_refused(material: Material) -> None:
    with pytest.raises(ValueError, match="12 MiB"):
        material.write_next({"ca": bytes(12 << 20)})


def test_a_start_reads_checks_and_tries(files: CertificateFiles, arena: Arena) -> None:
    material = load_material(files.settings)
    assert material.generation == 1
    assert material.seen_at_start == look_at(material.parts)
    assert from_text(material.facts_text()).serial == f"{files.pair.certificate.serial_number:x}"
    try_material(files.settings, material, arena)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"tls_chain_path": None}, "Error loading the certificate chain: (null) : "),
        ({"tls_chain_path": "/nope"}, "Error loading the certificate chain: /nope : No such file"),
        ({"tls_key_path": "/nope"}, "Error loading the key: /nope : No such file"),
        ({"tls_ca_path": "/nope"}, "Error loading the CA certificate: /nope : No such file"),
        ({"tls_crl_path": "/nope"}, "Error loading the revocation list: /nope : No such file"),
        ({"tls_allowed_ids_path": "/no"}, "Error loading the allowed identities: /no : No such"),
        ({"tls_ca_path": "/"}, "Error loading the CA certificate: / : Is a directory"),
        ({"tls_ca_path": "/dev/null"}, "the CA certificate: /dev/null : not a regular file"),
        ({"tls_key_path": None}, "/chain.pem : there is no private key in it"),
        ({"tls_key_format": 2}, "/key.pem : there is no private key in it that can be read as DER"),
    ],
)
def test_a_start_without_good_files(
    files: CertificateFiles, changes: dict[str, object], said: str
) -> None:
    with pytest.raises(StartupError) as caught:
        load_material(files.with_settings(**changes))
    assert said in caught.value.message
    assert caught.value.exit_code == 64


def test_an_empty_file_of_identities_lets_nobody_think_that_all_are_allowed(
    files: CertificateFiles,
) -> None:
    files.write("ids", b"\n")
    with pytest.raises(StartupError, match="the file is empty"):
        load_material(files.with_settings(tls_allowed_ids_path=str(files.folder / "ids")))


def test_a_key_that_only_fits_pymc_s_check_is_found_by_the_try(
    files: CertificateFiles, arena: Arena
) -> None:
    material = Material(files.settings)
    material.write_next({"chain": b"nonsense", "key": b"nonsense"})
    material.publish(1)
    with pytest.raises(StartupError):
        try_material(files.settings, material, arena)


def test_what_the_core_refuses_is_named_as_the_operator_calls_it(
    files: CertificateFiles, arena: Arena
) -> None:
    files.write("ids", b"spiffe://test/a\nspiffe://test/b fly\n")
    settings = files.with_settings(
        tls_allowed_ids_path=str(files.folder / "ids"), tls_verify_mode=2
    )
    with pytest.raises(StartupError) as caught:
        try_material(settings, load_material(settings), arena)
    start = f"Error loading the allowed identities: {files.folder}/ids : line 2: "
    assert caught.value.message.startswith(start)
    settings = files.with_settings(tls_ciphers="foo")
    with pytest.raises(StartupError) as caught:
        try_material(settings, load_material(settings), arena)
    assert caught.value.message == "Error setting the provided cipher(s): foo"


@pytest.mark.parametrize("lack", ["", "no module of that name"])
def test_the_kernel_encrypts_where_it_can(
    files: CertificateFiles,
    arena: Arena,
    lack: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    said: list[str] = []
    monkeypatch.setattr(certificates, "kernel_lacks", lambda: lack)
    monkeypatch.setattr(certificates, "say", said.append)
    settings = files.with_settings(tls_kernel=True)
    material = load_material(settings)
    try_material(settings, material, arena)
    assert material.uses_kernel is not bool(lack)
    warning = f"warning: ssl_kernel_tls: {lack}; the server encrypts by itself"
    assert said == ([warning] if lack else [])
