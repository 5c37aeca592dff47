// What the fuzzers of session_feed() share: two conversations on one store, once fed whole and once
// in pieces, must answer alike. Each fuzzer says what a program is: see fuzz_run().
//
// The first byte of an input seeds the splits and chooses the store. With one bit of it set the
// second store has a flash tier, and all goes there after each segment: an item there answers as
// one in memory does. Time stands still then: when an item was read last is not noted on flash.
#pragma once

#define _GNU_SOURCE
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/check_inline.h"
#include "flash/flash_buffers.h"
#include "proto/session.h"
#include "shm/live.h"
#include "store/store_maintain.h"
#include "tier/tier.h"

#define SESSIONS 2
#define STREAM_BYTES_MAX (1u << 20)
#define REPLY_BYTES_MAX (64u << 20)
#define LINE_BYTES_SAFE 1900
#define CLASSES 8
#define FLASH_PAGE_BYTES (2u << 20)
#define FLASH_PAGES 6

struct bytes {
    char *at;
    size_t used;
    size_t room;
};

struct talk {
    struct session *session;
    struct reply *reply;
    struct bytes pending;
    struct bytes replies;
    bool is_closed;
};

struct world {
    struct arena *arena;
    struct store *store;
    struct flash *flash;    // NULL: all stays in memory.
    struct flash_reader *reader;
    int log_fd;
    struct proto *proto;
    struct talk talks[SESSIONS];
    uint32_t now_seconds;
    uint32_t random;    // 0: segments are fed whole.
    bool time_stands;
    bool keeps_buffers;    // What was copied last waits to be written.
};

static void append(struct bytes *to, const char *from, size_t count) {
    if (to->used + count > to->room) {
        to->room = (to->used + count) * 2 + 256;
        to->at = realloc(to->at, to->room);
        PYMC_CHECK(to->at);
    }
    memcpy(to->at + to->used, from, count);
    to->used += count;
}

static uint32_t next_random(struct world *world) {
    world->random = world->random * 1664525u + 1013904223u;
    return world->random >> 8;
}

static void set_live(struct arena *arena, const char *name, int64_t value) {
    for (uint32_t i = 0; i < live_count(); i++) {
        if (strcmp(live_name(i), name) == 0) {
            live_write(arena, i, value);
        }
    }
}

// The log is a file without a name.
static void describe_flash(struct world *world, struct flash_path *path, char *name,
                           size_t name_bytes, struct flash_geometry *geometry) {
    world->log_fd = memfd_create("log", MFD_CLOEXEC);
    PYMC_CHECK(world->log_fd >= 0);
    snprintf(name, name_bytes, "/proc/self/fd/%d", world->log_fd);
    *path = (struct flash_path){.name = name, .bytes = (uint64_t)FLASH_PAGE_BYTES * FLASH_PAGES};
    *geometry = (struct flash_geometry){.paths = path,
                                        .path_count = 1,
                                        .page_bytes = FLASH_PAGE_BYTES,
                                        .wbuf_bytes = FLASH_PAGE_BYTES,
                                        .item_bytes_hint = 512,
                                        .index_bytes_max = 4u << 20};
}

static void reader_open(struct world *world) {
    struct flash_reader_options options = {
        .kind = FLASH_READER_AUTO, .depth = 8, .threads = 1, .memory_bytes = 1u << 20};
    if (world->flash) {
        struct proc *proc = store_proc(world->store);
        PYMC_CHECK(flash_reader_open(world->flash, proc, &options, &world->reader) == PYMC_OK);
        proto_set_reader(world->proto, world->reader);
    }
}

// Hands reads over and collects them when one is done.
static void wait_for_flash(struct world *world) {
    struct pollfd wait = {.fd = flash_reader_fd(world->reader), .events = POLLIN};
    uint64_t told;
    flash_reader_submit(world->reader);
    while (!flash_reader_has_done(world->reader)) {
        PYMC_CHECK(poll(&wait, 1, 10000) == 1);
        PYMC_CHECK(read(wait.fd, &told, sizeof told) == sizeof told);
    }
    flash_reader_reap(world->reader, 0);
}

// Writes every buffer that has records.
static void write_buffers(struct world *world) {
    struct flash_buffer_info info;
    for (uint32_t number = 0; number < flash_buffer_count(world->flash); number++) {
        flash_buffer_read(world->flash, number, &info);
        if (info.state == FLASH_BUFFER_FILLING && !info.is_closed) {
            flash_buffer_close(world->flash, number);
        }
        if (info.state != FLASH_BUFFER_FREE
            && flash_buffer_seal(world->flash, store_proc(world->store), number)) {
            tier_buffer_finish(world->store, number, flash_buffer_write(world->flash, number));
        }
    }
}

// All that may go goes to flash, as long as there is room, and leaves memory. Every other time the
// last records stay in a write buffer, where look-ups find them as well.
static void to_flash(struct world *world) {
    struct space_admission rules = {.compress_bytes_min = 200};
    struct tier_writeout_result result;
    bool has_room = true;
    for (uint32_t class_id = 1; class_id <= CLASSES && has_room; class_id++) {
        struct tier_ahead ahead = {0};
        do {
            tier_writeout_step(world->store, class_id, &ahead, &rules, UINT32_MAX, 1u << 20,
                               &result);
            if (result.full_bucket >= 0) {
                write_buffers(world);
                has_room = flash_buffer_begin(world->flash, store_proc(world->store), 0,
                                              result.full_bucket)
                           == PYMC_OK;
            }
        } while (result.full_bucket >= 0 && has_room);
    }
    world->keeps_buffers = !world->keeps_buffers;
    if (!world->keeps_buffers) {
        write_buffers(world);
    }
    tier_drop_clean(world->store);
}

static void world_open(struct world *world, uint32_t random, uint64_t limit_bytes, bool has_flash) {
    static const uint32_t chunk_bytes[] = {48, 64, 96, 128, 192, 256, 512, 1024};
    struct store_geometry geometry = {.limit_bytes = limit_bytes,
                                      .limit_bytes_max = limit_bytes,
                                      .class_count = CLASSES,
                                      .chunk_bytes = chunk_bytes,
                                      .bucket_start = 1};
    struct arena_options options = {.reserve_bytes = store_reserve_bytes(&geometry, 2) + (4u << 20),
                                    .slots = 2,
                                    .boot_unix_seconds = 1700000000};
    memset(world, 0, sizeof *world);
    char name[64];
    struct flash_path path;
    struct flash_geometry flash_geometry;
    uint32_t failed;
    if (has_flash) {
        describe_flash(world, &path, name, sizeof name, &flash_geometry);
        options.reserve_bytes += flash_reserve_bytes(&flash_geometry, options.slots);
    }
    world->random = random;
    world->now_seconds = 100;
    PYMC_CHECK(arena_create(&options, &world->arena) == PYMC_OK);
    PYMC_CHECK(store_create(world->arena, &geometry) == PYMC_OK);
    // So that values too large for an item fit into an input.
    set_live(world->arena, "item_bytes_max", 24000);
    PYMC_CHECK(!has_flash
               || flash_create(world->arena, &flash_geometry, &world->flash, &failed) == PYMC_OK);
    PYMC_CHECK(store_open(world->arena, world->flash, 0, PROC_WORKER, &world->store) == PYMC_OK);
    PYMC_CHECK(proto_open(world->store, "9.9.9", &world->proto) == PYMC_OK);
    reader_open(world);
    proc_set_now(store_proc(world->store), world->now_seconds);
    for (int i = 0; i < SESSIONS; i++) {
        PYMC_CHECK(session_create(world->proto, &world->talks[i].session) == PYMC_OK);
        PYMC_CHECK(reply_create(32768, 4, &world->talks[i].reply) == PYMC_OK);
    }
}

static void world_close(struct world *world) {
    for (int i = 0; i < SESSIONS; i++) {
        session_destroy(world->talks[i].session);
        reply_destroy(world->proto, world->talks[i].reply);
        free(world->talks[i].pending.at);
        free(world->talks[i].replies.at);
    }
    link_limbo_step(world->store, UINT32_MAX);
    store_check(world->store);
    proto_close(world->proto);
    flash_reader_close(world->reader);
    store_close(world->store);
    arena_close(world->arena);
    if (world->flash) {
        flash_close(world->flash);
        close(world->log_fd);
    }
}

static void drain(struct world *world, struct talk *talk) {
    static char *place;
    if (!place) {
        place = malloc(REPLY_BYTES_MAX);
    }
    int64_t count = reply_drain(world->proto, talk->reply, place, REPLY_BYTES_MAX);
    PYMC_CHECK(count >= 0);
    append(&talk->replies, place, (size_t)count);
}

// Feeds what is pending until the session wants more.
static void feed(struct world *world, struct talk *talk) {
    size_t at = 0;
    int stop = SESSION_REPLY_FULL;
    while (stop != SESSION_NEEDS_INPUT && !talk->is_closed) {
        size_t consumed;
        // A copy of the exact size lets AddressSanitizer see reads behind the input.
        size_t left = talk->pending.used - at;
        char *input = malloc(left + 1);
        memcpy(input, talk->pending.at + at, left);
        input = realloc(input, left ? left : 1);
        stop = session_feed(talk->session, input, left, talk->reply, &consumed);
        PYMC_CHECK(consumed <= left);
        at += consumed;
        if (stop == SESSION_ON_FLASH) {
            wait_for_flash(world);
        }
        if (stop == SESSION_REPLY_FULL || stop == SESSION_CLOSE) {
            drain(world, talk);
        }
        if (stop == SESSION_DELAYED) {
            session_resume(talk->session);
        }
        if (stop == SESSION_PARKED) {
            uint32_t line_bytes;
            const char *line = session_admin_line(talk->session, &line_bytes);
            PYMC_CHECK(line >= input && line + line_bytes <= input + consumed);
            session_resume(talk->session);
        }
        free(input);
        talk->is_closed = stop == SESSION_CLOSE;
    }
    talk->pending.used -= at;
    memmove(talk->pending.at, talk->pending.at + at, talk->pending.used);
}

// Puts bytes straight into a large value, as a socket would, into several of its parts at once.
static size_t feed_directly(struct talk *talk, const char *from, size_t count) {
    size_t done = 0;
    for (int places = 0; places < 4 && done < count && talk->pending.used == 0; places++) {
        char *place;
        bool is_last;
        size_t room = session_direct_place(talk->session, done, &place, &is_last);
        size_t fits = count - done < room ? count - done : room;
        if (fits == 0) {
            break;
        }
        memcpy(place, from + done, fits);
        done += fits;
    }
    if (done) {
        session_direct_filled(talk->session, done);
    }
    return done;
}

static void feed_segment(struct world *world, struct talk *talk, const char *segment,
                         size_t count) {
    while (count > 0 && !talk->is_closed) {
        size_t piece = count;
        if (world->random && next_random(world) % 4 == 0) {
            size_t done = feed_directly(talk, segment, 1 + next_random(world) % count);
            segment += done;
            count -= done;
            if (done) {
                continue;
            }
        }
        // A long line without its end closes a conversation, so such a line must not be split
        // further.
        if (world->random && talk->pending.used + 64 < LINE_BYTES_SAFE) {
            size_t most = next_random(world) % 3 == 0 ? 3 : LINE_BYTES_SAFE - talk->pending.used;
            piece = 1 + next_random(world) % (most < count ? most : count);
        }
        append(&talk->pending, segment, piece);
        segment += piece;
        count -= piece;
        feed(world, talk);
        if (!world->random || next_random(world) % 2) {
            drain(world, talk);
        }
    }
    drain(world, talk);
}

// One conversation goes on with a segment; then time passes, or with 0 the other one goes on.
static void end_segment(struct world *world, int *who, struct bytes *segment, uint32_t seconds) {
    feed_segment(world, &world->talks[*who], segment->at, segment->used);
    segment->used = 0;
    if (world->flash) {
        to_flash(world);
    }
    if (seconds == 0) {
        *who = (*who + 1) % SESSIONS;
        return;
    }
    world->now_seconds += world->time_stands ? 0 : seconds;
    proc_set_now(store_proc(world->store), world->now_seconds);
    store_turn(world->store);
}

// Sets up what the first byte chooses besides.
static void fuzz_prepare(struct world *world, uint8_t first);
// Has the conversations say what the program means.
static void fuzz_run(struct world *world, const uint8_t *program, size_t program_bytes);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size < 1) {
        return 0;
    }
    // With little memory evictions depend on when replies are drained: there only soundness is
    // asked for.
    bool is_tiny = data[0] & 1;
    uint64_t limit_bytes = is_tiny ? 2u << 20 : 48u << 20;
    struct world whole;
    struct world split;
    bool has_flash = data[0] & 2;
    world_open(&whole, 0, limit_bytes, false);
    world_open(&split, data[0] * 2654435761u | 1, limit_bytes, has_flash);
    whole.time_stands = split.time_stands = has_flash;
    fuzz_prepare(&whole, data[0]);
    fuzz_prepare(&split, data[0]);
    fuzz_run(&whole, data + 1, size - 1);
    fuzz_run(&split, data + 1, size - 1);
    for (int i = 0; i < SESSIONS && !is_tiny; i++) {
        const struct bytes *a = &whole.talks[i].replies;
        const struct bytes *b = &split.talks[i].replies;
        if (a->used != b->used || memcmp(a->at, b->at, a->used) != 0) {
            fprintf(stderr, "conversation %d\nwhole: %.*s\nsplit: %.*s\n", i, (int)a->used, a->at,
                    (int)b->used, b->at);
            abort();
        }
        PYMC_CHECK(whole.talks[i].is_closed == split.talks[i].is_closed);
    }
    world_close(&whole);
    world_close(&split);
    return 0;
}
