// What a new item looks like, and what is too large.
#include "link/link_value_inline.h"
#include "store/store_shape_inline.h"

// memcached's own test of what fits below -I, with its header sizes, so that both refuse the same
// values.
static bool is_above_item_limit(const struct store *store, const struct store_write *write,
                                uint64_t value_bytes) {
    uint64_t counted = 48 + (live_get(store->arena, LIVE_cas_enabled) ? 8 : 0) + write->key_bytes
                       + 1 + (write->client_flags ? 4 : 0) + value_bytes + 2;
    return counted > (uint64_t)live_get(store->arena, LIVE_item_bytes_max);
}

int store_shape_of(const struct store *store, const struct store_write *write, uint32_t value_bytes,
                   uint32_t extra_state, struct store_shape *out) {
    if (is_above_item_limit(store, write, value_bytes)) {
        return STORE_TOO_LARGE;
    }
    uint32_t state = extra_state | (write->client_flags ? ITEM_CLIENT_FLAGS : 0)
                     | (write->expiry_seconds || write->invalidate ? ITEM_EXPIRES : 0)
                     | (write->has_cas_new && link_has_cas(store) ? ITEM_OWN_CAS : 0)
                     | (write->key_is_binary ? ITEM_BINARY_KEY : 0)
                     | (write->token_sent ? ITEM_TOKEN_SENT : 0);
    uint32_t chunk_bytes = slab_chunk_bytes(&store->slab, store->largest_class);
    uint32_t head = ITEM_HEADER_BYTES + item_optional_bytes(state) + write->key_bytes;
    // An inline item must be able to get every optional field later without outgrowing the largest
    // chunk.
    uint32_t all_fields = item_optional_bytes(ITEM_EXPIRES | ITEM_CLIENT_FLAGS | ITEM_OWN_CAS);
    out->is_large =
        (uint64_t)ITEM_HEADER_BYTES + all_fields + write->key_bytes + value_bytes > chunk_bytes;
    if (out->is_large) {
        // All optional fields from the start: a large item is never copied to make room for one.
        state |= ITEM_EXPIRES | ITEM_CLIENT_FLAGS | ITEM_OWN_CAS;
        uint32_t payload = link_part_payload_bytes(store);
        uint32_t parts = (value_bytes + payload - 1) / payload;
        head = ITEM_HEADER_BYTES + item_optional_bytes(state) + write->key_bytes;
        out->total_bytes = ((head + 3) & ~3u) + (uint32_t)sizeof(struct item_large) + parts * 4;
        if (out->total_bytes > chunk_bytes) {
            return STORE_TOO_LARGE;
        }
    } else {
        out->total_bytes = head + value_bytes;
    }
    out->head_bytes = head;
    out->state = state;
    return STORE_STORED;
}

void store_fill_head(struct store *store, uint32_t ref, const struct store_write *write,
                     uint32_t value_bytes, const struct store_shape *shape) {
    struct item *item = link_item(store, ref);
    uint32_t state = shape->state;
    SHARED_STORE(item->time_seconds, store->proc->now_seconds);
    SHARED_STORE(item->sizes, item_pack_sizes(shape->is_large ? 0 : value_bytes, write->key_bytes));
    SHARED_STORE(item->order_low, 0);
    SHARED_STORE(item->order_high, 0);
    if (state & ITEM_EXPIRES) {
        item_set_expiry(item, write->expiry_seconds);
    }
    if (state & ITEM_CLIENT_FLAGS) {
        item_set_client_flags(item, state, write->client_flags);
    }
    racy_write(item_key(item, state), write->key, write->key_bytes);
    if (shape->is_large) {
        struct item_large *large = item_large_of(item, state);
        SHARED_STORE(large->value_bytes, value_bytes);
        SHARED_STORE(large->part_count, 0);
        state |= ITEM_LARGE;
    }
    item_set_state(item, state);
}

bool store_fits(const struct store *store, const struct store_write *write) {
    struct store_shape shape;
    struct store_write shaped = store_write_shaped(write);
    return store_shape_of(store, &shaped, write->value_bytes, 0, &shape) == STORE_STORED;
}
