// How the paths stand: their counts, in and out of service, what the keeper notes, writes that
// outlive a process.
#include "flash/flash_internal.h"

bool flash_path_is_direct(const struct flash *flash, uint32_t path) {
    return flash->is_direct[path];
}

void flash_path_read(const struct flash *flash, uint32_t path, struct flash_path_info *out) {
    const struct flash_path_state *state = &flash->paths[path];
    *out = (struct flash_path_info){
        .read_errors = SHARED_LOAD(state->read_errors),
        .write_errors = SHARED_LOAD(state->write_errors),
        .slow_reads = SHARED_LOAD(state->slow_reads),
        .late_reads = SHARED_LOAD(state->late_reads),
        .times_late = SHARED_LOAD(state->times_late),
        .bad_records = SHARED_LOAD(state->bad_records),
        .full_writes = SHARED_LOAD(state->full_writes),
        .why = (int)SHARED_LOAD(state->why),
        .since_seconds = SHARED_LOAD(state->since_seconds),
        .full = (int)SHARED_LOAD(state->is_full),
        .wanted = (int)SHARED_LOAD(state->wanted),
        .is_out = SHARED_LOAD(state->is_out) != 0,
        .is_late = SHARED_LOAD(state->is_late) != 0,
        .is_direct = flash->is_direct[path],
        .is_allocated = flash->is_allocated[path],
    };
    out->reads = SHARED_LOAD(state->scanned_records);
    for (uint32_t slot = 0; slot < flash->arena->header->slots; slot++) {
        out->reads += SHARED_LOAD(flash_reads(flash, slot)[path]);
    }
}

void flash_path_want(struct flash *flash, uint32_t path, int wanted) {
    PYMC_CHECK(path < flash->root->path_count);
    SHARED_STORE(flash->paths[path].wanted, (uint32_t)wanted);
}

void flash_path_take_out(struct flash *flash, struct proc *proc, uint32_t path) {
    SHARED_STORE(flash->paths[path].is_out, 1);
    FAULT_POINT(proc, "flash.path.out");
    for (uint32_t page = 0; page < flash->root->page_count; page++) {
        struct flash_page *row = &flash->pages[page];
        if (row->path != path) {
            continue;
        }
        if (row->state == FLASH_PAGE_FREE) {
            SHARED_RELEASE(row->state, FLASH_PAGE_BAD);
        } else {
            flash_page_drain(flash, proc, page);
        }
    }
}

void flash_path_bring_in(struct flash *flash, struct proc *proc, uint32_t path) {
    // Who finds a free page on a path that is out does not take it; and a successor that finds the
    // path out makes its pages BAD again.
    for (uint32_t page = 0; page < flash->root->page_count; page++) {
        struct flash_page *row = &flash->pages[page];
        if (row->path == path && row->state == FLASH_PAGE_BAD) {
            SHARED_RELEASE(row->state, FLASH_PAGE_FREE);
        }
    }
    FAULT_POINT(proc, "flash.path.in");
    SHARED_RELEASE(flash->paths[path].is_out, 0);
}

bool flash_path_set_late(struct flash *flash, uint32_t path, bool is_late) {
    struct flash_path_state *state = &flash->paths[path];
    uint32_t was = !is_late;
    if (SHARED_LOAD(state->is_late) != was
        || !SHARED_CAS(state->is_late, &was, (uint32_t)is_late, ACQ_REL)) {
        return false;
    }
    if (is_late) {
        SHARED_ADD(state->times_late, 1, RELAXED);
    }
    return true;
}

void flash_path_close_pages(struct flash *flash, struct proc *proc, uint32_t path) {
    for (uint32_t page = 0; page < flash->root->page_count; page++) {
        const struct flash_page *row = &flash->pages[page];
        if (row->path == path && !flash_path_is_writable(flash, row)) {
            flash_page_close(flash, proc, page);
        }
    }
}

void flash_path_set_full(struct flash *flash, uint32_t path, int full) {
    SHARED_STORE(flash->paths[path].is_full, (uint32_t)full);
}

void flash_path_note(struct flash *flash, uint32_t path, int why, uint32_t since_seconds) {
    SHARED_STORE(flash->paths[path].since_seconds, since_seconds);
    SHARED_STORE(flash->paths[path].why, (uint32_t)why);
}

uint32_t flash_path_find_page(const struct flash *flash, uint32_t path, int state,
                              bool without_blocks) {
    for (uint32_t page = 0; page < flash->root->page_count; page++) {
        const struct flash_page *row = &flash->pages[page];
        if (row->path == path && row->state == state
            && !(without_blocks && SHARED_LOAD(row->has_blocks))) {
            return page;
        }
    }
    return FLASH_PAGES_MAX;
}

void flash_writing_note(struct flash *flash, struct proc *proc, uint32_t path, bool is_writing) {
    struct flash_local *local = flash_local(flash, proc->slot_index);
    uint64_t bit = 1ull << path;
    SHARED_RELEASE(local->writing, is_writing ? local->writing | bit : local->writing & ~bit);
}

uint64_t flash_writing_elsewhere(const struct flash *flash, uint32_t slot_index) {
    uint64_t writing = 0;
    for (uint32_t slot = 0; slot < flash->arena->header->slots; slot++) {
        writing |= slot == slot_index ? 0 : SHARED_ACQUIRE(flash_local(flash, slot)->writing);
    }
    return writing;
}

void flash_writing_forget(struct flash *flash, uint32_t slot_index) {
    SHARED_STORE(flash_local(flash, slot_index)->writing, 0);
}
