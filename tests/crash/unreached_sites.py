"""The stores to shared memory before which no story dies, each with the reason for it."""

# Beginnings of Site.key: "room/file.c[@unit] function". An entry that is not needed any more, and a
# site that no story reaches and that is not here, turn the suite red.
_SERVER = "connections are not part of a story: whole servers are killed in test_server_kills.py"
_DEVICE_ERRORS = "the switch by which tests ask for bad devices; nothing is decided by it"
_DEVICE_COUNTS = "counted by threads that wait for the device, on errors or slow answers only"
_THREADS = "memory of the process, by a thread that is never armed"
_LATE = "a mark and counts of a device that does not answer in time; nothing else goes with them"
_DAMAGE = "a count of damaged records, which no story makes"
_WAITS = (
    "only who meets a lock that is held comes here: test_races.py; nothing depends on the words"
)
_RACES = "only when another process changes the bucket between two looks; then all is as before"
_FULL_CHAIN = "only when a chain of the index takes no more entries: test_index.py"
_DOORS = "doors for tests"
_LARGE_ON_FLASH = "large values that are read again and again on flash"
_BINARY = "counts alone: binary commands store by the same functions as those of the stories"
_CORRUPT = "only for items that cannot be, which no story makes: test_corrupt.py"

UNREACHED = {
    "conn/": _SERVER,
    "server/": _SERVER,
    "shm/lock_inline.h@server/": _SERVER,
    "shm/proc_inline.h@tls/": _SERVER,
    "tls/tls_ticket_keys.c tls_tickets_rotate": (
        "no story has TLS; the supervisor dies before each in test_ticket_rotation.py"
    ),
    "shm/proc_inline.h@conn/": _SERVER,
    "shm/proc_inline.h@server/": _SERVER,
    "flash/flash_io.c flash_fault_set": _DEVICE_ERRORS,
    "flash/flash_io.c fault_met": _DEVICE_ERRORS,
    "flash/flash_uring.c is_delayed": _DEVICE_ERRORS,
    "flash/flash_io.c flash_io": _DEVICE_COUNTS,
    "flash/flash_writer.c flash_buffer_finish": _DEVICE_ERRORS,
    "flash/flash_io.c note_full": _DEVICE_COUNTS,
    "flash/flash_io.c flash_probe_room": "only where a file system is full: test_paths.py",
    "flash/flash_complete.c note_device": _DEVICE_COUNTS,
    "flash/flash_internal.h@flash/flash_io.c flash_note_time": _DEVICE_COUNTS,
    "flash/flash_threads.c hand_back": _THREADS,
    "flash/flash_threads.c take": _THREADS,
    "flash/flash_late.c give_up": _LATE,
    "flash/flash_complete.c flash_reader_complete": _DAMAGE,
    "flash/flash_index_format.c relink": "a chain on flash that gets shorter: test_flash_index.py",
    "flash/flash_scan.c count_damage": _DAMAGE,
    "shm/notes.c note_write": "one word of the keeper's for stats and commands; it decides nothing",
    "shm/lock.c ": _WAITS,
    "shm/lock_inline.h@shm/lock.c lock_try": "buckets' words held while their memory goes back",
    "shm/proc_inline.h@shm/lock.c count": _WAITS,
    "shm/arena_pages.c arena_take_slice": "for systems without MADV_POPULATE_WRITE",
    "slab/slab_page.c slab_drain_cancel_resting": (
        "before a refusal, when somebody at rest empties pages: test_neighbours.py"
    ),
    "shm/proc_inline.h@proto/reply.c count": "values are copied only when all claims are taken",
    "shm/proc_inline.h@store/store_dump.c count": _WAITS,
    "shm/proc_inline.h@proto/execute_flash.c count": _LATE,
    "shm/proc_inline.h@proto/session_auth.c count": "no story logs in",
    "proto/addresses.c ": "an entry is one word that decides nothing: no story logs in",
    "shm/proc_inline.h@proto/session_rights.c count": "every story may use every command",
    "shm/lock_inline.h@proto/execute_flash.c lock_give": _RACES,
    "shm/lock_inline.h@proto/execute_get.c lock_give": _RACES,
    "shm/lock_inline.h@proto/meta/meta_get.c lock_give": _RACES,
    "shm/lock_inline.h@proto/text/text_get.c lock_give": _RACES,
    "shm/lock_inline.h@proto/binary/binary_get.c lock_give": _RACES,
    "shm/proc_inline.h@proto/binary/": _BINARY,
    "link/link_handle_inline.h@proto/binary/binary_get.c class_count": _BINARY,
    "table/table_resize.c pair_lock": "only who meets a bucket that is held: test_busy.py",
    "link/link_doors.c ": _DOORS,
    "shm/lock_inline.h@link/link_doors.c lock_give": _DOORS,
    "shm/proc_inline.h@link/link_lock.c count": _CORRUPT,
    "table/table_inline.h@link/link_look.c table_count": _CORRUPT,
    "link/link_look.c ": _CORRUPT,
    "item/item_inline.h@link/link_look.c item_set_state": _CORRUPT,
    "shm/lock_inline.h@link/link_look.c lock_give": _RACES,
    "item/item_inline.h@store/store_mark.c item_set_numbers": (
        "an item that has a field for a number gets another number in place; a torn one is a number"
    ),
    "shm/lock_inline.h@store/store_crawl.c lock_give": _RACES,
    "shm/lock_inline.h@store/store_delete.c lock_give": _RACES,
    "shm/lock_inline.h@store/store_join.c lock_give": _RACES,
    "item/item_inline.h@store/store_join.c item_set_expiry": (
        "a value joined under the lock, or a piece in parts that becomes an item: not linked yet"
    ),
    "shm/lock_inline.h@store/store_read.c lock_give": _RACES,
    "shm/lock_inline.h@store/store_replace.c lock_give": _RACES,
    "tier/tier_read.c make": _LARGE_ON_FLASH,
    "item/item_inline.h@tier/tier_read.c item_set_state": _LARGE_ON_FLASH,
    "shm/proc_inline.h@tier/tier_buffers.c count": _DEVICE_COUNTS,
    "space/space_evict.c renew": "with flash, when items are to go that are not written yet",
    "link/link_txn_inline.h@link/link_insert.c link_txn": _FULL_CHAIN,
    "shm/lock_inline.h@space/space_chain.c lock_give": _FULL_CHAIN,
    "shm/proc_inline.h@space/space_chain.c count": _FULL_CHAIN,
    "shm/proc_inline.h@proto/prefix.c count": "more prefixes than the table takes",
    "shm/lock_inline.h@store/store_dump.c lock_give": (
        "a bucket that changes at each look: test_dump_changes.py"
    ),
}
