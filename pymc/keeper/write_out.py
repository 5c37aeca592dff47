"""Write-out: keeps a copy on flash of the items that memory will give up next."""

import time

from pymc.core.flash import Bucket, Flash
from pymc.core.snapshots import read_class, read_slab
from pymc.core.store import Store
from pymc.core.writeout import ClassCounts, WriteOut
from pymc.keeper.flash_health import Health
from pymc.keeper.streams import Stream, Writer
from pymc.live_settings import MILLION
from pymc.policy.admission import Admission, AdmissionSettings, WriteRate, admit
from pymc.policy.flash_index import index_entries_max
from pymc.policy.write_out import (
    ClassUse,
    ClassWork,
    MemoryUse,
    Trend,
    WriteOutSettings,
    follow,
    is_nearly_full,
    plan,
)

_LOOK_SECONDS = 0.025
# Up to this while nothing is stored or evicted.
_CALM_SECONDS = 0.2
_RATE_SECONDS = 1.0
_ITEMS_PER_TURN = 4096
_ITEMS_PER_STEP = 1024
# A class is looked at again after this part of the time that its window lasts.
_WINDOW_PART = 0.125
_CLASS_SECONDS_MIN = 0.002
_CLASS_SECONDS_MAX = 0.25
# How long records may wait for others to be written with.
_SEAL_SECONDS_MIN = 0.004
_SEAL_SECONDS_MAX = 1.0
# As fast as clients could fill memory: until then nobody has to look.
_FILL_BYTES_PER_SECOND = 4 << 30
_PAGE_BYTES = 1 << 20
# Items that are old enough are looked for this often.
_AGE_WALK_SECONDS = 1.0


class WriteOutJob:
    """The keeper's job; each step looks at some thousand items at most."""

    def __init__(self, store: Store, flash: Flash, writer: Writer, health: Health) -> None:
        """Borrows all of them."""
        self._store = store
        self._arena = store.arena
        self._flash = flash
        self._writer = writer
        self._health = health
        self._out = WriteOut(store)
        self._counts = ClassCounts(store)
        buckets = (Bucket.DEFAULT, Bucket.CHUNKED, Bucket.LOW_TTL)
        self._streams = {bucket: Stream(writer, bucket) for bucket in buckets}
        self._trend = Trend()
        self._work: list[ClassWork] = []
        self._class_due: dict[int, float] = {}
        self._look_due = 0.0
        self._look_seconds = _LOOK_SECONDS
        self._events = 0
        self._rate = WriteRate()
        self._rate_base = (0.0, 0, 0, 0, 0.0)

    @property
    def streams(self) -> frozenset[int]:
        """Streams that have used memory, and so want pages."""
        used = {bucket for bucket, stream in self._streams.items() if stream.is_used}
        return frozenset({Bucket.DEFAULT, *used})

    def waits_seconds(self) -> float:
        """How long it has waited for a free page."""
        return max(stream.waits_seconds() for stream in self._streams.values())

    def step(self) -> float:
        """Looks at the items that are due; the seconds to rest."""
        now = time.monotonic()
        if now >= self._look_due:
            self._look(now)
        if not self._work or not self._health.is_any_left or self._index_is_full():
            self._seal_old(now, 0.0)
            return self._idle_seconds()
        is_stuck, is_tired = self._work_through(now)
        self._seal_old(now, _seal_seconds(self._work))
        if is_stuck:
            # The end of an I/O, or a page that becomes free, comes first.
            return _LOOK_SECONDS
        if is_tired:
            return 0.0
        next_due = min(self._class_due.get(one.class_id, now) for one in self._work)
        return max(_CLASS_SECONDS_MIN, min(next_due, self._look_due) - now)

    def _work_through(self, now: float) -> tuple[bool, bool]:
        """One turn over the classes: whether it is stuck without a batch, or has done enough."""
        if not self._streams[Bucket.DEFAULT].is_used and not self._change_batch(Bucket.DEFAULT):
            return True, False
        left = _ITEMS_PER_TURN
        admission = self._admission()
        for work in self._work:
            if self._class_due.get(work.class_id, 0.0) > now:
                continue
            self._set_rules(admission, work)
            while left > 0:
                step = self._out.step(work.class_id, work.ahead_chunks, min(left, _ITEMS_PER_STEP))
                left -= max(step.examined, 1)
                if step.full_bucket >= 0:
                    if not self._change_batch(Bucket(step.full_bucket)):
                        return True, False
                elif step.is_ahead:
                    self._class_due[work.class_id] = now + _class_seconds(work)
                    if not work.is_short:
                        # Items that were too young may be old enough by then.
                        self._out.forget(work.class_id)
                    break
            if left <= 0:
                return False, True
        return False, False

    def _index_is_full(self) -> bool:
        """Whether more entries would take memory that is for items."""
        is_full = self._flash.index_entries >= index_entries_max(self._arena.live("limit_bytes"))
        if is_full:
            self._health.index_was_full()
        return is_full

    def _change_batch(self, bucket: Bucket) -> bool:
        stream = self._streams[bucket]
        stream.seal()
        batch = stream.open()
        self._out.set_batch(bucket, batch)
        return batch is not None

    def _seal_old(self, now: float, age_seconds: float) -> None:
        for bucket, stream in self._streams.items():
            if stream.filling is not None and now - stream.filling_since >= age_seconds:
                stream.seal()
                self._out.set_batch(bucket, None)

    def _set_rules(self, admission: AdmissionSettings, work: ClassWork) -> None:
        rules: Admission = admit(admission, self._rate, is_short=work.is_short)
        self._out.set_rules(
            item_bytes_min=rules.item_bytes_min,
            idle_seconds_min=rules.idle_seconds_min,
            ttl_seconds_min=rules.ttl_seconds_min,
            low_ttl_seconds=rules.low_ttl_seconds,
            compress_bytes_min=rules.compress_bytes_min,
            unread_percent=rules.unread_percent,
        )

    def _admission(self) -> AdmissionSettings:
        live = self._arena.live
        return AdmissionSettings(
            item_bytes_min=live("ext_item_size_bytes"),
            item_age_seconds=live("ext_item_age_seconds"),
            low_ttl_seconds=live("ext_low_ttl_seconds"),
            compress_bytes_min=live("ext_compress_min_bytes"),
            unread_percent=live("ext_admit_unread_percent"),
        )

    def _settings(self) -> WriteOutSettings:
        live = self._arena.live
        return WriteOutSettings(
            item_bytes_min=live("ext_item_size_bytes"),
            item_age_seconds=live("ext_item_age_seconds"),
            free_share=live("slab_automove_freeratio_millionths") / MILLION,
        )

    def _max_sleep(self) -> float:
        return max(self._arena.live("ext_max_sleep_us") / MILLION, _CLASS_SECONDS_MIN)

    def _idle_seconds(self) -> float:
        """The rest while nothing is to be written: no longer than memory could fill up in."""
        slab = read_slab(self._store)
        left = max(slab.pages_limit - slab.pages_used, 0) * _PAGE_BYTES
        wanted = max(left / _FILL_BYTES_PER_SECOND, _LOOK_SECONDS)
        return min(wanted, self._max_sleep())

    def _look(self, now: float) -> None:
        """Reads the classes, as far as it matters, and plans anew."""
        settings = self._settings()
        slab = read_slab(self._store)
        bare = MemoryUse(now, slab.pages_used, slab.pages_limit)
        before = self._trend
        is_quiet = not is_nearly_full(follow(before, bare), settings)
        if is_quiet and settings.item_age_seconds == AdmissionSettings().item_age_seconds:
            self._trend, self._work = follow(before, bare), []
            self._look_due = now
            return
        classes = tuple(self._classes(slab.classes))
        missed = self._store.counters()["ext_unclean_evictions"]
        use = MemoryUse(now, slab.pages_used, slab.pages_limit, classes, missed)
        self._trend = follow(before, use)
        self._work = plan(self._trend, settings)
        for work in self._work:
            # A class may be used up faster than it was when it was left alone.
            due = self._class_due.get(work.class_id, 0.0)
            self._class_due[work.class_id] = min(due, now + _class_seconds(work))
        events = sum(one.evicted + one.stored for one in classes)
        is_calm = events == self._events
        self._look_seconds = (
            min(self._look_seconds * 2, _CALM_SECONDS) if is_calm else _LOOK_SECONDS
        )
        self._events = events
        # The first look knows no rates; memory may be full before the usual next one.
        self._look_due = now + (self._look_seconds if self._trend.rates else _CLASS_SECONDS_MIN)
        self._follow_rate(now, missed)

    def _classes(self, classes: int) -> list[ClassUse]:
        found = []
        for class_id in range(1, classes + 1):
            one = read_class(self._store, class_id)
            if one.pages:
                evicted, stored = self._counts.read(class_id)
                chunks = one.pages * one.chunks_per_page
                found.append(
                    ClassUse(class_id, one.chunk_bytes, chunks, one.free_chunks, evicted, stored)
                )
        return found

    def _follow_rate(self, now: float, missed: int) -> None:
        then, written, missed_then, added, busy = self._rate_base
        passed = now - then
        if passed < _RATE_SECONDS:
            return
        fresh = (
            now,
            self._writer.written_bytes,
            missed,
            self._writer.linked,
            self._writer.busy_seconds,
        )
        self._rate_base = fresh
        if then:
            self._rate = WriteRate(
                (fresh[1] - written) / passed,
                max(fresh[2] - missed_then, 0) / passed,
                (fresh[3] - added) / passed,
                min((fresh[4] - busy) / passed, 1.0),
            )


def _class_seconds(work: ClassWork) -> float:
    """How long a class that is ahead may be left alone."""
    if not work.is_short:
        return _AGE_WALK_SECONDS
    return max(_CLASS_SECONDS_MIN, min(work.lasts_seconds * _WINDOW_PART, _CLASS_SECONDS_MAX))


def _seal_seconds(work: list[ClassWork]) -> float:
    """How long records wait for company: a part of the time in which they are evicted."""
    lasts = min(one.lasts_seconds for one in work)
    return max(_SEAL_SECONDS_MIN, min(lasts / 4, _SEAL_SECONDS_MAX))
