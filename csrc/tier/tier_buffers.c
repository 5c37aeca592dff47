// Buffers that were written: what a device refused is forgotten.
#include "flash/flash_buffers.h"
#include "flash/flash_index.h"
#include "link/link_image_inline.h"
#include "tier/tier.h"

uint32_t tier_buffer_finish(struct store *store, uint32_t number, int status) {
    uint32_t lost = 0;
    if (status == PYMC_OS_ERROR) {
        uint64_t at = 0;
        uint64_t address;
        const struct flash_record *record;
        while ((record = flash_buffer_next(store->flash, number, &at, &address))) {
            struct link_image image;
            if (link_image_of(record, &image)) {
                uint64_t hash = link_hash(store, image.key, image.key_bytes);
                lost += flash_remove(store->flash, store->proc, hash, address);
            }
        }
        struct flash_buffer_info info;
        flash_buffer_read(store->flash, number, &info);
        bool is_rescued = info.bucket != FLASH_DEFAULT && info.bucket != FLASH_CHUNKED
                          && info.bucket != FLASH_LOW_TTL;
        count(store->proc, is_rescued ? COUNTER_ext_compact_lost : COUNTER_ext_write_lost, lost);
    }
    flash_buffer_finish(store->flash, store->proc, number, status);
    return lost;
}
