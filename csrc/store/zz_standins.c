// Stand-ins until the real functions are there.
#include "store/store_flash.h"
#include "store/store_writeout.h"
#include "flash/flash_internal.h"
#include <stdlib.h>

__attribute__((weak)) uint64_t store_flash_entry(struct store *store, uint64_t hash) {
    abort();
}
__attribute__((weak)) bool store_has_flash(const struct store *store) {
    abort();
}
__attribute__((weak)) int store_flash_view(struct store *store, const struct flash_read *read, const char *key, uint32_t key_bytes, uint64_t hash, struct store_view *view) {
    abort();
}
__attribute__((weak)) void store_rule_out(struct store *store, uint64_t entry) {
    abort();
}
__attribute__((weak)) void store_rule_out_none(struct store *store) {
    abort();
}
__attribute__((weak)) bool store_flash_note_read(struct store *store, const struct flash_read *read, const struct store_view *view, uint64_t hash) {
    abort();
}
__attribute__((weak)) int store_bring_back(struct store *store, const struct flash_read *read, const struct store_view *view, const char *key, uint64_t hash) {
    abort();
}
__attribute__((weak)) int store_batch_create(struct store *store, struct store_batch **batch_out) {
    abort();
}
__attribute__((weak)) void store_batch_destroy(struct store_batch *batch) {
    abort();
}
__attribute__((weak)) int store_batch_begin(struct store_batch *batch, int bucket) {
    abort();
}
__attribute__((weak)) struct flash_buffer *store_batch_buffer(struct store_batch *batch) {
    abort();
}
__attribute__((weak)) uint32_t store_batch_records(const struct store_batch *batch) {
    abort();
}
__attribute__((weak)) uint64_t store_batch_seal(struct store_batch *batch) {
    abort();
}
__attribute__((weak)) void store_batch_commit(struct store_batch *batch, int write_status, struct store_commit_result *out) {
    abort();
}
__attribute__((weak)) void store_writeout_step(struct store *store, struct store_batch **batches, uint32_t class_id, struct store_ahead *ahead, const struct store_admission *admission, uint32_t ahead_chunks, uint32_t chunks, struct store_writeout_result *out) {
    abort();
}
__attribute__((weak)) void store_compact_step(struct store *store, struct flash_scan *scan, struct store_batch *batch, const struct store_compaction *rules, uint32_t records, struct store_compact_result *out) {
    abort();
}
__attribute__((weak)) bool store_flash_page_is_dead(const struct store *store, uint32_t page) {
    abort();
}
__attribute__((weak)) uint32_t store_flash_dump_step(struct store *store, struct flash_scan *scan, int kind, char *place, uint32_t place_bytes, bool *more_out) {
    abort();
}
