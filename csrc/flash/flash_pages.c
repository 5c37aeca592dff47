// Steps of pages, and what policies see of them. Only the keeper takes steps.
#include "flash/flash_buffers_internal.h"
#include "shm/proc_internal.h"

bool flash_page_has_buffers(const struct flash *flash, uint32_t page) {
    for (uint32_t number = 0; number < flash->root->buffer_count; number++) {
        const struct flash_buffer *buffer = &flash->buffers[number];
        if (SHARED_LOAD(buffer->state) != FLASH_BUFFER_FREE && SHARED_LOAD(buffer->page) == page) {
            return true;
        }
    }
    return false;
}

uint32_t flash_page_count(const struct flash *flash) {
    return flash->root->page_count;
}
uint32_t flash_path_count(const struct flash *flash) {
    return flash->root->path_count;
}
uint64_t flash_page_bytes(const struct flash *flash) {
    return flash->root->page_bytes;
}
uint64_t flash_wbuf_bytes(const struct flash *flash) {
    return flash->root->wbuf_bytes;
}
uint32_t flash_record_bytes_max(const struct flash *flash) {
    uint64_t room = flash->root->wbuf_bytes - FLASH_BLOCK_BYTES;
    return room < FLASH_RECORD_BYTES_MAX ? (uint32_t)room : FLASH_RECORD_BYTES_MAX;
}

static uint64_t used_bytes(const struct flash_page_info *info) {
    if (info->objects >= info->objects_written) {
        return info->objects_written ? info->written_bytes : 0;
    }
    return (uint64_t)((double)info->written_bytes * info->objects / info->objects_written);
}

void flash_page_read(const struct flash *flash, uint32_t page, struct flash_page_info *out) {
    const struct flash_page *row = &flash->pages[page];
    out->state = SHARED_LOAD(row->state);
    out->version = SHARED_LOAD(row->version);
    out->written_bytes = SHARED_LOAD(row->written_bytes);
    out->newest_order = SHARED_LOAD(row->newest_order);
    uint32_t expires_seconds = SHARED_LOAD(row->expires_seconds);
    out->expires_seconds = expires_seconds == UINT32_MAX ? 0 : expires_seconds;
    out->objects_written = SHARED_LOAD(row->objects_written);
    out->objects = SHARED_LOAD(row->objects);
    out->objects_read = SHARED_LOAD(row->objects_read);
    out->bucket = SHARED_LOAD(row->bucket);
    out->label = row->label;
    out->path = row->path;
    out->is_writable = flash_path_is_writable(flash, row);
    out->used_bytes = used_bytes(out);
}

void flash_pages_sum(const struct flash *flash, struct flash_pages_total *out) {
    *out = (struct flash_pages_total){0};
    for (uint32_t page = 0; page < flash->root->page_count; page++) {
        struct flash_page_info info;
        if (SHARED_LOAD(flash->pages[page].state) != FLASH_PAGE_FREE) {
            flash_page_read(flash, page, &info);
            out->used++;
            out->used_bytes += info.used_bytes;
        }
    }
}

uint64_t flash_flushed_entries(const struct flash *flash) {
    uint64_t entries = 0;
    for (uint32_t page = 0; page < flash->root->page_count; page++) {
        const struct flash_page *row = &flash->pages[page];
        if (SHARED_LOAD(row->newest_order) <= SHARED_LOAD(flash->arena->header->flush_order)) {
            entries += SHARED_LOAD(row->objects);
        }
    }
    return entries;
}

// A free page of this label on the path, one whose blocks are there if any is.
static uint32_t free_page(const struct flash *flash, int label, uint32_t path) {
    uint32_t fresh = FLASH_PAGES_MAX;
    for (uint32_t page = 0; page < flash->root->page_count; page++) {
        const struct flash_page *row = &flash->pages[page];
        if (row->state != FLASH_PAGE_FREE || row->label != label || row->path != path
            || !flash_path_is_writable(flash, row)) {
            continue;
        }
        if (row->has_blocks) {
            return page;
        }
        fresh = fresh == FLASH_PAGES_MAX ? page : fresh;
    }
    return fresh;
}

bool flash_path_takes_writes(const struct flash *flash, uint32_t path) {
    const struct flash_path_state *state = &flash->paths[path];
    return !SHARED_LOAD(state->is_out) && !SHARED_LOAD(state->is_late)
           && SHARED_LOAD(state->is_full) != FLASH_FULL_ALL;
}

static void forget_contents(struct flash_page *row) {
    SHARED_STORE(row->written_bytes, 0);
    SHARED_STORE(row->newest_order, 0);
    SHARED_STORE(row->expires_seconds, 0);
    SHARED_STORE(row->objects_written, 0);
    SHARED_STORE(row->objects, 0);
    SHARED_STORE(row->objects_read, 0);
    SHARED_STORE(row->is_ending, 0);
}

uint32_t flash_page_open(struct flash *flash, struct proc *proc, int bucket, uint32_t path) {
    PYMC_CHECK(path < flash->root->path_count);
    if (!flash_path_takes_writes(flash, path)) {
        return FLASH_PAGES_MAX;
    }
    uint32_t page = free_page(flash, bucket, path);
    if (page == FLASH_PAGES_MAX && bucket != FLASH_DEFAULT) {
        page = free_page(flash, FLASH_DEFAULT, path);
    }
    if (page == FLASH_PAGES_MAX) {
        return page;
    }
    struct flash_page *row = &flash->pages[page];
    uint64_t version = flash->root->version + 1;
    SHARED_STORE(flash->root->version, version);
    FAULT_POINT(proc, "flash.open.numbered");
    forget_contents(row);
    SHARED_STORE(row->bucket, (uint8_t)bucket);
    SHARED_STORE(row->version, version);
    FAULT_POINT(proc, "flash.open.before");
    SHARED_RELEASE(row->state, FLASH_PAGE_OPEN);
    FAULT_POINT(proc, "flash.open.after");
    count(proc, COUNTER_ext_page_allocs, 1);
    return page;
}

void flash_page_close(struct flash *flash, struct proc *proc, uint32_t page) {
    struct flash_page *row = &flash->pages[page];
    if (row->state != FLASH_PAGE_OPEN || flash_page_has_buffers(flash, page)) {
        return;
    }
    if (row->written_bytes + flash->root->wbuf_bytes > flash->root->page_bytes) {
        SHARED_STORE(row->has_blocks, 1);
    }
    FAULT_POINT(proc, "flash.close.before");
    SHARED_RELEASE(row->state, FLASH_PAGE_FULL);
    FAULT_POINT(proc, "flash.close.after");
}

void flash_page_drain(struct flash *flash, struct proc *proc, uint32_t page) {
    struct flash_page *row = &flash->pages[page];
    if (row->state != FLASH_PAGE_OPEN && row->state != FLASH_PAGE_FULL) {
        return;
    }
    FAULT_POINT(proc, "flash.drain.before");
    SHARED_RELEASE(row->state, FLASH_PAGE_DRAINING);
    FAULT_POINT(proc, "flash.drain.after");
}

void flash_page_free(struct flash *flash, struct proc *proc, uint32_t page) {
    struct flash_page *row = &flash->pages[page];
    if (row->state == FLASH_PAGE_FREE || row->state == FLASH_PAGE_BAD
        || flash_page_has_buffers(flash, page)) {
        return;
    }
    bool is_out = SHARED_LOAD(flash->paths[row->path].is_out);
    FAULT_POINT(proc, "flash.free.before");
    SHARED_RELEASE(row->state, is_out ? FLASH_PAGE_BAD : FLASH_PAGE_FREE);
    FAULT_POINT(proc, "flash.free.after");
    SHARED_STORE(row->version, 0);
    forget_contents(row);
    SHARED_STORE(row->bucket, FLASH_DEFAULT);
}
