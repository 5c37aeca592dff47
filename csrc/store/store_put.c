// Storing in all modes: a value that is all in memory, or one that came in pieces.
#include "link/link_copy_inline.h"
#include "store/store_write_internal.h"

// A look before anything is made: it saves the work where the command is put off anyhow.
// store_decide_and_link() looks again under the lock, and decides.
static int look_for_old(struct store *store, const struct store_write *write, uint64_t hash) {
    struct link_view view;
    if (!store->flash) {
        return STORE_MISS;
    }
    int found = link_find(store, write->key, write->key_bytes, hash, &view);
    return found == STORE_MISS && link_may_be_on_flash(store, hash) ? STORE_ON_FLASH : found;
}

int store_put(struct store *store, const struct store_write *write, const char *value,
              struct store_result *result) {
    uint64_t hash = link_hash(store, write->key, write->key_bytes);
    *result = (struct store_result){.value_bytes = write->value_bytes};
    int old = UNLIKELY(store_needs_old(write)) ? look_for_old(store, write, hash) : STORE_MISS;
    if (store_is_put_off(old)) {
        return old;
    }
    return write->mode >= STORE_APPEND ? store_put_joined(store, write, value, result)
                                       : store_put_new(store, write, value, hash, result);
}

int store_commit(struct store *store, const struct store_write *write, struct store_making *making,
                 struct store_result *result) {
    *result = (struct store_result){.value_bytes = write->value_bytes};
    return write->mode >= STORE_APPEND ? store_commit_joined(store, write, making, result)
                                       : store_commit_new(store, write, making, result);
}
