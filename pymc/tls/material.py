"""Certificates, keys and rules in memory that forked processes share.

One process writes, the supervisor, or the child that reads the files for it; workers only look and
say which generation they use. There are two copies, so that nobody reads half of a change: the one
that counts stays as it is until another one counts, and is wiped then.
"""

from contextlib import suppress

from pymc.config import EXIT_USAGE, Settings, StartupError
from pymc.config.settings_tls import KEY_IS_DER
from pymc.core.arena import Arena
from pymc.core.errors import CoreError, InvalidArgumentError
from pymc.core.tls import TlsContext, TlsMaterial, TlsRules, Verify
from pymc.record import replace
from pymc.tls.files import PART_NAMES, Part, error_in, parts_of

# Of all files and the facts about them.
COPY_BYTES = 12 << 20
_PAGE_BYTES = 4096
_WORD_BYTES = 8
_LOOKS_MAX = 100
# Words at the start of the memory. A round is one attempt to load new material.
_GENERATION, _ROUNDS_BEGUN, _ROUNDS_DONE, _LOADED_SECONDS, _REFUSALS, _USES_KERNEL = range(6)
# Which generation each worker uses.
_USED = 16
# What the last two rounds came to.
_RESULTS_AT = _PAGE_BYTES
_RESULT_BYTES = 1024
_COPIES_AT = 2 * _PAGE_BYTES
# In a copy: the number of bytes of each part, then the parts.
_NAMES = (*PART_NAMES, "facts")
_HEAD_WORDS = len(_NAMES)
OK = "OK"


class Material:
    """What all processes of a server know of its certificates. Made before the first fork."""

    def __init__(self, settings: Settings) -> None:
        """Holds nothing yet."""
        # Most servers start without it.
        import mmap

        self.parts: tuple[Part, ...] = parts_of(settings)
        # What the files were when they were first read; empty as long as nobody has.
        self.seen_at_start = ""
        self._rules = rules_of(settings)
        self._key_is_der = settings.tls_key_format == KEY_IS_DER
        self._memory = mmap.mmap(-1, _COPIES_AT + 2 * COPY_BYTES)
        self._forget = mmap.MADV_REMOVE
        # Keys do not belong into core files.
        with suppress(OSError):
            self._memory.madvise(mmap.MADV_DONTDUMP)
        self._bytes = memoryview(self._memory)
        # One store a word: nobody sees half of one.
        self._words = self._bytes[:_COPIES_AT].cast("Q")

    # For everybody.

    @property
    def generation(self) -> int:
        """How often material was loaded; 0 when none is there yet."""
        return self._words[_GENERATION]

    @property
    def loaded_seconds(self) -> int:
        """When that was, by the cache's clock."""
        return self._words[_LOADED_SECONDS]

    @property
    def refusals(self) -> int:
        """How often what was there to load could not be used."""
        return self._words[_REFUSALS]

    @property
    def uses_kernel(self) -> bool:
        """Whether the kernel encrypts, as was wanted and found out at the start."""
        return bool(self._words[_USES_KERNEL])

    @property
    def rounds_begun(self) -> int:
        """Attempts to load new material that have begun."""
        return self._words[_ROUNDS_BEGUN]

    @property
    def rounds_done(self) -> int:
        """Attempts that have ended."""
        return self._words[_ROUNDS_DONE]

    def result_of(self, number: int) -> str:
        """What that attempt came to: OK, or one line that says why not.

        Requires: it has ended, and it is one of the last two.
        """
        start = self._result_at(number)
        return (
            bytes(self._bytes[start : start + _RESULT_BYTES])
            .partition(b"\0")[0]
            .decode("utf-8", "ignore")
        )

    def facts_text(self) -> bytes:
        """What is known of the certificates in use, as pymc.tls.facts writes it."""
        for _ in range(_LOOKS_MAX):
            generation = self.generation
            text = bytes(self._parts_of(generation)["facts"])
            if self.generation == generation:
                return text
        return b""

    # For workers.

    def make_context(self, arena: Arena) -> tuple[TlsContext, int]:
        """Makes a context of the material that counts; also says which generation that is.

        Raises InvalidArgumentError with one line.
        """
        while True:
            generation = self.generation
            try:
                context = self.try_context(arena, generation)
            except CoreError:
                # Of a copy that is being wiped nothing can be made.
                if self.generation != generation:
                    continue
                raise
            if self.generation == generation:
                return context, generation
            context.release()

    def note_used(self, worker: int, generation: int) -> None:
        """Says that this worker's new connections use that generation."""
        self._words[_USED + worker] = generation

    # For the supervisor and its child.

    def let_kernel_encrypt(self) -> None:
        """Lets contexts from now on hand encryption to the kernel, which was found to do it."""
        self._words[_USES_KERNEL] = 1

    def try_context(self, arena: Arena, generation: int) -> TlsContext:
        """Makes a context of that generation, which may be the next one.

        Raises InvalidArgumentError with one line.
        """
        parts = self._parts_of(generation)
        material = TlsMaterial(
            chain=parts["chain"],
            key=parts["key"],
            ca=parts["ca"] or None,
            crl=parts["crl"] or None,
            allowed_ids=parts["ids"] or None,
            key_is_der=self._key_is_der,
        )
        try:
            return TlsContext(arena, material, replace(self._rules, uses_kernel=self.uses_kernel))
        except InvalidArgumentError as error:
            raise InvalidArgumentError(self._in_words(str(error))) from None

    def _in_words(self, reason: str) -> str:
        """What the core says of options that it cannot use, with what the operator calls them."""
        what, _, why = reason.partition(": ")
        if what == "ciphers":
            return f"Error setting the provided cipher(s): {self._rules.ciphers}"
        for part in self.parts:
            if part.name == "ids" and what == "identities":
                return str(error_in(part, why))
        return f"Error loading the certificates: {reason}"

    def write_next(self, texts: dict[str, bytes]) -> None:
        """Puts files and facts where the next generation will be. Raises ValueError if too long."""
        if sum(map(len, texts.values())) > COPY_BYTES - _HEAD_WORDS * _WORD_BYTES:
            raise ValueError("the files are longer than 12 MiB together")
        start = self._copy_at(self.generation + 1)
        at = start + _HEAD_WORDS * _WORD_BYTES
        words = self._bytes[start:at].cast("Q")
        for number, name in enumerate(_NAMES):
            text = texts.get(name, b"")
            words[number] = len(text)
            self._bytes[at : at + len(text)] = text
            at += len(text)

    def publish(self, seconds: int) -> int:
        """Lets what write_next() wrote count, and says since when; returns its generation."""
        self._words[_LOADED_SECONDS] = seconds
        self._words[_GENERATION] = self.generation + 1
        return self.generation

    def note_loaded(self, seconds: int) -> None:
        """Says since when what counts does, where that was not known when it began to."""
        self._words[_LOADED_SECONDS] = seconds

    def wipe_other(self) -> None:
        """Erases the copy that does not count: what a failed attempt left, or what was replaced."""
        start = self._copy_at(self.generation + 1)
        head_end = start + _HEAD_WORDS * _WORD_BYTES
        words = self._bytes[start:head_end].cast("Q")
        end = min(head_end + sum(words), start + COPY_BYTES)
        self._bytes[start:end] = bytes(end - start)
        # Where memory is locked it only stays what it is now, zeroes.
        with suppress(OSError):
            self._memory.madvise(self._forget, start, COPY_BYTES)

    def begin_round(self) -> None:
        """Notes that an attempt begins."""
        self._words[_ROUNDS_BEGUN] = self.rounds_begun + 1

    def end_round(self, result: str, *, counts: bool = True) -> None:
        """Notes what the attempt came to; `counts` where a refusal was not counted before."""
        text = result.encode("utf-8", "replace")[: _RESULT_BYTES - 1]
        start = self._result_at(self.rounds_begun)
        self._bytes[start : start + _RESULT_BYTES] = text.ljust(_RESULT_BYTES, b"\0")
        if result != OK and counts:
            self._words[_REFUSALS] = self.refusals + 1
        self._words[_ROUNDS_DONE] = self.rounds_begun

    def late_workers(self, workers: int) -> list[int]:
        """The workers whose new connections do not use what counts yet."""
        generation = self.generation
        used = self._words[_USED : _USED + workers]
        return [worker for worker, its in enumerate(used) if its < generation]

    def _parts_of(self, generation: int) -> dict[str, memoryview]:
        start = self._copy_at(generation)
        at = start + _HEAD_WORDS * _WORD_BYTES
        words = self._bytes[start:at].cast("Q")
        parts = {}
        for name, length in zip(_NAMES, words, strict=True):
            parts[name] = self._bytes[at : at + length]
            at += length
        return parts

    @staticmethod
    def _copy_at(generation: int) -> int:
        return _COPIES_AT + generation % 2 * COPY_BYTES

    @staticmethod
    def _result_at(number: int) -> int:
        return _RESULTS_AT + number % 2 * _RESULT_BYTES


def rules_of(settings: Settings) -> TlsRules:
    """How connections are encrypted, as the settings have it."""
    return TlsRules(
        ciphers=settings.tls_ciphers,
        verify=Verify(settings.tls_verify_mode),
        version_min=settings.tls_version_min,
        resumes=settings.tls_session_cache,
    )


def refused(message: str) -> StartupError:
    """A start that its certificates forbid, with memcached's exit code."""
    return StartupError(message, EXIT_USAGE)
