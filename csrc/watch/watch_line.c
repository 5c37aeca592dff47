// What a record looks like as a line: memcached's words and their order.
#include <arpa/inet.h>

#include "watch/watch_internal.h"

// In line, so that the length of a literal is known.
static inline __attribute__((always_inline)) char *put_bytes(char *at, const char *bytes,
                                                             size_t count_bytes) {
    memcpy(at, bytes, count_bytes);
    return at + count_bytes;
}

static inline __attribute__((always_inline)) char *put_text(char *at, const char *text) {
    return put_bytes(at, text, strlen(text));
}

static char *put_number(char *at, uint64_t value) {
    char digits[20];
    uint32_t used = 0;
    do {
        digits[used++] = (char)('0' + value % 10);
        value /= 10;
    } while (value);
    while (used) {
        *at++ = digits[--used];
    }
    return at;
}

// With leading zeroes.
static char *put_six_digits(char *at, uint32_t value) {
    for (int i = 5; i >= 0; i--) {
        at[i] = (char)('0' + value % 10);
        value /= 10;
    }
    return at + 6;
}

static char *put_signed(char *at, int64_t value) {
    if (value < 0) {
        *at++ = '-';
        return put_number(at, (uint64_t)-value);
    }
    return put_number(at, (uint64_t)value);
}

static inline __attribute__((always_inline)) char *put_field(char *at, const char *name,
                                                             uint64_t value) {
    return put_number(put_text(at, name), value);
}

static bool is_plain(unsigned char c) {
    return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || c == '-'
           || c == '.' || c == '_' || c == '~';
}

// Encoded as in a URI, so that no byte can end a word or a line.
static char *put_encoded(char *at, const char *bytes, uint32_t count_bytes) {
    static const char hex[] = "0123456789ABCDEF";
    for (uint32_t i = 0; i < count_bytes; i++) {
        unsigned char c = (unsigned char)bytes[i];
        if (is_plain(c)) {
            *at++ = (char)c;
        } else {
            *at++ = '%';
            *at++ = hex[c >> 4];
            *at++ = hex[c & 15];
        }
    }
    return at;
}

static const char *word(const char *const *words, size_t count_words, uint32_t number) {
    return number < count_words ? words[number] : "unknown";
}
#define WORD(words, number) word(words, sizeof(words) / sizeof *(words), number)

static const char *const commands[] = {"null",    "add", "set",    "replace", "append",
                                       "prepend", "cas", "delete", "md"};

static char *put_key(char *at, const struct watch_record *record, const char *key) {
    return put_encoded(put_text(at, " key="), key, record->key_bytes);
}

static char *put_get(char *at, const struct watch_record *record, const char *key) {
    static const char *const found[] = {"not_found", "found", "flushed", "expired"};
    at = put_key(put_text(at, "item_get"), record, key);
    at = put_text(put_text(at, " status="), WORD(found, record->status));
    at = put_field(at, " clsid=", record->class_id);
    at = put_field(at, " cfd=", record->connection);
    return put_field(at, " size=", record->size_bytes);
}

static char *put_store(char *at, const struct watch_record *record, const char *key) {
    static const char *const stored[] = {"not_stored", "stored",    "exists",
                                         "not_found",  "too_large", "no_memory"};
    at = put_key(put_text(at, "item_store"), record, key);
    at = put_text(put_text(at, " status="), WORD(stored, record->status));
    at = put_text(put_text(at, " cmd="), WORD(commands, record->command));
    at = put_field(at, " ttl=", (uint32_t)record->ttl_seconds);
    at = put_field(at, " clsid=", record->class_id);
    at = put_field(at, " cfd=", record->connection);
    return put_field(at, " size=", record->size_bytes);
}

static char *put_leaving(char *at, const struct watch_record *record, const char *key) {
    bool is_write = record->kind == WATCH_EXTWRITE;
    at = put_key(put_text(at, is_write ? "extwrite" : "eviction"), record, key);
    at = put_text(at, record->is_fetched ? " fetch=yes" : " fetch=no");
    at = put_signed(put_text(at, " ttl="), record->ttl_seconds);
    at = put_field(at, " la=", record->idle_seconds);
    at = put_field(at, " clsid=", record->class_id);
    return is_write ? put_field(at, " bucket=", record->command)
                    : put_field(at, " size=", record->size_bytes);
}

static char *put_deleted(char *at, const struct watch_record *record, const char *key) {
    at = put_key(put_text(at, "deleted"), record, key);
    at = put_text(put_text(at, " cmd="), WORD(commands, record->command));
    at = put_field(at, " clsid=", record->class_id);
    return put_field(at, " size=", record->size_bytes);
}

static char *put_client(char *at, const struct watch_record *record, const char *address) {
    char text[INET6_ADDRSTRLEN] = "unix";
    if (record->family != 1) {
        inet_ntop(record->family == 6 ? AF_INET6 : AF_INET, address, text, sizeof text);
    }
    at = put_text(put_text(at, " rip="), text);
    at = put_field(at, " rport=", record->port);
    const char *transport = record->family == 1 ? "local" : record->is_datagram ? "udp" : "tcp";
    return put_text(put_text(at, " transport="), transport);
}

static char *put_connection(char *at, const struct watch_record *record, const char *tail) {
    static const char *const reasons[] = {"error", "normal", "idle_timeout", "shutdown"};
    bool is_new = record->kind == WATCH_CONN_NEW;
    at = put_client(put_text(at, is_new ? "conn_new" : "conn_close"), record, tail);
    if (!is_new) {
        at = put_text(put_text(at, " reason="), WORD(reasons, record->status));
    }
    at = put_field(at, " cfd=", record->connection);
    return record->text_bytes
               ? put_encoded(put_text(at, " identity="), tail + 16, record->text_bytes)
               : at;
}

static char *put_error(char *at, const struct watch_record *record, const char *tail) {
    const char *key = tail + 16;
    const char *text = key + record->key_bytes;
    const char *blank = memchr(text, ' ', record->text_bytes);
    const char *end = text + record->text_bytes;
    const char *reason = blank ? blank + 1 : end;
    at = put_text(at, "error cmd=");
    at = put_encoded(at, text, (uint32_t)((blank ? blank : end) - text));
    at = put_key(at, record, key);
    at = put_encoded(put_text(at, " reason="), reason, (uint32_t)(end - reason));
    at = put_client(at, record, tail);
    return record->connection == WATCH_NO_CONNECTION ? at
                                                     : put_field(at, " cfd=", record->connection);
}

char *watch_put_line(char *at, const struct watch_record *record, const char *tail) {
    at = put_text(put_field(at, "ts=", record->time_us / 1000000), ".");
    at = put_six_digits(at, (uint32_t)(record->time_us % 1000000));
    at = put_text(put_field(at, " gid=", record->gid), " type=");
    switch (record->kind) {
    case WATCH_ITEM_GET: at = put_get(at, record, tail); break;
    case WATCH_ITEM_STORE: at = put_store(at, record, tail); break;
    case WATCH_EVICTION:
    case WATCH_EXTWRITE: at = put_leaving(at, record, tail); break;
    case WATCH_DELETED: at = put_deleted(at, record, tail); break;
    case WATCH_CONN_NEW:
    case WATCH_CONN_CLOSE: at = put_connection(at, record, tail); break;
    case WATCH_ERROR: at = put_error(at, record, tail); break;
    default: at = put_bytes(at, tail, record->text_bytes); break;
    }
    *at++ = '\n';
    return at;
}
