// Requests and responses of the binary protocol as the log shows them with -vv: a line for each.
#include <stdio.h>

#include "proto/binary/binary_internal.h"

#define KEY_SHOWN_BYTES_MAX KEY_BYTES_MAX

// A key may hold what would look like a line of its own.
static int put_key(char *place, const char *key, uint32_t key_bytes) {
    static const char hex[] = "0123456789abcdef";
    int used = 0;
    for (uint32_t i = 0; i < key_bytes; i++) {
        unsigned char c = (unsigned char)key[i];
        if (c > ' ' && c < 0x7f && c != '\\') {
            place[used++] = (char)c;
            continue;
        }
        place[used++] = '\\';
        place[used++] = 'x';
        place[used++] = hex[c >> 4];
        place[used++] = hex[c & 15];
    }
    return used;
}

static void show_request(const struct session *session, const char *in, size_t bytes) {
    const struct binary_opcode *opcode = &binary_opcodes[(unsigned char)in[1]];
    char line[64 + 4 * KEY_SHOWN_BYTES_MAX];
    int used = snprintf(line, 64, "binary 0x%02x %s ", (unsigned)(unsigned char)in[1],
                        opcode->name ? opcode->name : "unknown");
    size_t key_at = BINARY_HEADER_BYTES + (size_t)(unsigned char)in[4];
    uint32_t key_bytes = binary_u16(in + 2);
    if (key_bytes <= KEY_SHOWN_BYTES_MAX && key_at + key_bytes <= bytes) {
        used += put_key(line + used, in + key_at, key_bytes);
    }
    session_show(session, '<', line, used);
}

static void show_response(const struct session *session, const char *head) {
    char line[64];
    int used = snprintf(line, sizeof line, "binary 0x%02x status 0x%04x, %u bytes",
                        (unsigned)(unsigned char)head[1], (unsigned)binary_u16(head + 6),
                        (unsigned)binary_u32(head + 8));
    session_show(session, '>', line, used);
}

size_t binary_logged_step(struct session *session, const char *in, size_t bytes,
                          struct reply *reply, int *stop_out) {
    const char *answer = reply->at;
    size_t consumed_bytes = binary_step(session, in, bytes, reply, stop_out);
    if (consumed_bytes >= BINARY_HEADER_BYTES) {
        show_request(session, in, bytes);
    }
    if (reply->at - answer >= BINARY_HEADER_BYTES) {
        show_response(session, answer);
    }
    return consumed_bytes;
}
