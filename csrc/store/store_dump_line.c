// The lines of dumps: what metadump, mgdump and cachedump say of one item.
#include "base/base64.h"
#include "store/store_dump_inline.h"

static char *put_text(char *at, const char *text) {
    size_t bytes = strlen(text);
    memcpy(at, text, bytes);
    return at + bytes;
}

static char *put_bytes(char *at, const char *bytes, uint32_t count) {
    memcpy(at, bytes, count);
    return at + count;
}

// Millions of lines have five numbers each: printf() took half of a dump's time.
static char *put_number(char *at, uint64_t number) {
    char digits[20];
    uint32_t first = sizeof digits;
    do {
        digits[--first] = (char)('0' + number % 10);
        number /= 10;
    } while (number);
    return put_bytes(at, digits + first, (uint32_t)sizeof digits - first);
}

static char *put_uri(char *at, const char *key, uint32_t key_bytes) {
    static const char hex[] = "0123456789ABCDEF";
    for (uint32_t i = 0; i < key_bytes; i++) {
        unsigned char c = (unsigned char)key[i];
        if ((c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '-'
            || c == '.' || c == '_' || c == '~') {
            *at++ = (char)c;
        } else {
            *at++ = '%';
            *at++ = hex[c >> 4];
            *at++ = hex[c & 15];
        }
    }
    return at;
}

static char *put_key(const struct store_dump_entry *entry, char *at) {
    at = put_text(at, "mg ");
    if (entry->state & ITEM_BINARY_KEY) {
        at += base64_encode(at, entry->key, entry->key_bytes);
        return put_text(at, " b\r\n");
    }
    return put_text(put_bytes(at, entry->key, entry->key_bytes), "\r\n");
}

static char *put_cached(const struct store_dump_entry *entry, uint64_t epoch_seconds, char *at) {
    at = put_bytes(put_text(at, "ITEM "), entry->key, entry->key_bytes);
    at = put_number(put_text(at, " ["), entry->value_bytes);
    at = put_number(put_text(at, " b; "),
                    entry->expiry_seconds ? epoch_seconds + entry->expiry_seconds : 0);
    return put_text(at, " s]\r\n");
}

static char *put_all(const struct store_dump_entry *entry, uint64_t epoch_seconds, char *at) {
    at = put_text(put_uri(put_text(at, "key="), entry->key, entry->key_bytes), " exp=");
    at = entry->expiry_seconds ? put_number(at, epoch_seconds + entry->expiry_seconds)
                               : put_text(at, "-1");
    at = put_number(put_text(at, " la="), epoch_seconds + entry->time_seconds);
    at = put_number(put_text(at, " cas="), entry->cas);
    at = put_text(at, entry->state & ITEM_FETCHED ? " fetch=yes cls=" : " fetch=no cls=");
    at = put_number(put_text(put_number(at, entry->class_id), " size="), entry->item_bytes);
    at = put_number(put_text(at, " flags="), entry->client_flags);
    *at++ = '\n';
    return at;
}

uint32_t store_dump_line(const struct store *store, const struct store_dump_entry *entry, int kind,
                         char *line) {
    uint64_t epoch_seconds = (uint64_t)arena_epoch_unix_seconds(store->arena);
    char *end = kind == STORE_DUMP_MG      ? put_key(entry, line)
                : kind == STORE_DUMP_CACHE ? put_cached(entry, epoch_seconds, line)
                                           : put_all(entry, epoch_seconds, line);
    return (uint32_t)(end - line);
}
