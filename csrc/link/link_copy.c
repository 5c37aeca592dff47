// Keys' entries in the index of flash, as one process sees them.
#include <stdlib.h>

#include "link/link_copy_inline.h"

int link_flash_open(struct store *store) {
    if (!store->flash) {
        return PYMC_OK;
    }
    store->on_flash = aligned_alloc(64, (sizeof *store->on_flash + 63) & ~(size_t)63);
    if (!store->on_flash) {
        return PYMC_NO_MEMORY;
    }
    *store->on_flash = (struct link_flash_local){0};
    return PYMC_OK;
}

void link_flash_close(struct store *store) {
    if (store->on_flash) {
        free(store->on_flash->unpacked.bytes);
        free(store->on_flash->packed.bytes);
        free(store->on_flash);
    }
}

bool link_scratch_room(struct link_scratch *space, uint32_t bytes) {
    if (bytes > space->size) {
        char *larger = realloc(space->bytes, bytes);
        if (!larger) {
            return false;
        }
        space->bytes = larger;
        space->size = bytes;
    }
    return true;
}

uint64_t link_flash_entry(struct store *store, uint64_t hash) {
    const struct link_flash_local *local = store->on_flash;
    uint64_t entries[FLASH_CANDIDATES_MAX];
    uint32_t found = flash_find(store->flash, store->proc, hash, entries);
    for (uint32_t i = 0; i < found; i++) {
        bool is_ruled_out = false;
        for (uint32_t k = 0; k < local->ruled_out_count; k++) {
            is_ruled_out |= flash_entry_address(store->flash, entries[i]) == local->ruled_out[k];
        }
        if (!is_ruled_out) {
            return entries[i];
        }
    }
    return 0;
}

bool link_may_be_on_flash(struct store *store, uint64_t hash) {
    return store->flash && link_flash_entry(store, hash) != 0;
}

void link_pass_by(struct store *store, uint64_t entry) {
    struct link_flash_local *local = store->on_flash;
    if (local->ruled_out_count < FLASH_CANDIDATES_MAX) {
        local->ruled_out[local->ruled_out_count++] = flash_entry_address(store->flash, entry);
    }
}

void link_rule_out(struct store *store, uint64_t entry) {
    link_pass_by(store, entry);
    count(store->proc, COUNTER_ext_other_key, 1);
}

void link_forget_entry(struct store *store, uint64_t entry, uint64_t hash) {
    flash_remove(store->flash, store->proc, hash, flash_entry_address(store->flash, entry));
}

void link_rule_out_none(struct store *store) {
    if (store->on_flash) {
        store->on_flash->ruled_out_count = 0;
    }
}

uint32_t link_invalidate_copy(struct store *store, struct item *item, uint32_t state,
                              uint64_t hash) {
    if (!store->flash) {
        return state;
    }
    if (!item) {
        flash_remove_all(store->flash, store->proc, hash);
        return 0;
    }
    if (state & ITEM_ON_FLASH) {
        flash_remove_all(store->flash, store->proc, hash);
        FAULT_POINT(store->proc, "store.copy.invalidated");
        link_count_copy(store, item_order(item), -1);
        state &= ~(uint32_t)ITEM_ON_FLASH;
        item_set_state(item, state);
    }
    return state;
}
