// Fuzzes session_feed() with requests of the binary protocol: two conversations on one store, once
// fed whole and once in pieces, must answer alike.
//
// Input: the first byte (fuzz_talks.h; with 64 in it clients have to log in), then codes with what
// follows them:
//   0x00 to 0x3f    a request with this opcode: a byte of wishes (enum wish), one that chooses the
//                   key, one that chooses the value, and what the wishes ask for
//   0x40 to 0x7f    so many bytes as they are, up to 63
//   0x80            the other conversation goes on
//   0x81 n          n seconds pass
//   other           nothing
#include "fuzz_talks.h"

#include <endian.h>

#define ASKS_LOGIN 64
#define RAW_FIRST 0x40
#define SWITCH 0x80
#define TIME 0x81
#define HEADER_BYTES 24
#define SASL_AUTH 0x21
#define SASL_STEP 0x22
#define VALUE_UNIT_BYTES 157

enum wish {
    HAS_CAS = 1,         // The next byte is the CAS number.
    HAS_EXPIRY = 2,      // The next byte is the time, 0xff for all bits.
    HAS_VALUE = 4,       // A value, also where none may be.
    WRONG_EXTRAS = 8,    // The next byte is how many, of zeroes.
    WRONG_FIELD = 16,    // The next two bytes are where in the header, and what is there.
    LONG_VALUE = 32,     // The value is longer: its byte counts pieces.
    NO_KEY = 64,
    LONG_KEY = 128
};

struct program {
    const uint8_t *at;
    const uint8_t *end;
};

static uint8_t take(struct program *program) {
    return program->at < program->end ? *program->at++ : 0;
}

static uint32_t extras_of(uint8_t opcode) {
    switch (opcode) {
    case 0x01:
    case 0x02:
    case 0x03:
    case 0x11:
    case 0x12:
    case 0x13: return 8;
    case 0x05:
    case 0x06:
    case 0x15:
    case 0x16: return 20;
    case 0x1c:
    case 0x1d:
    case 0x1e:
    case 0x23:
    case 0x24: return 4;
    default: return 0;
    }
}

static void put_extras(struct program *program, uint8_t wishes, char *extras, uint32_t bytes) {
    memset(extras, 0, bytes);
    if (bytes == 20) {
        extras[7] = 3;
        extras[15] = 9;
    }
    if ((wishes & HAS_EXPIRY) && bytes >= 4) {
        uint8_t expiry = take(program);
        memset(extras + bytes - 4, expiry == 0xff ? 0xff : 0, 4);
        extras[bytes - 1] = (char)expiry;
    }
}

static uint32_t put_key(uint8_t wishes, uint8_t choice, char *key) {
    if (wishes & NO_KEY) {
        return 0;
    }
    if (wishes & LONG_KEY) {
        memset(key, 'k', 256);
        return 230 + choice % 26;
    }
    static const char *const words[] = {"a", "b", "key", "c d", "reset", "PLAIN", "items"};
    const char *word = words[choice % (sizeof words / sizeof *words)];
    memcpy(key, word, strlen(word));
    return (uint32_t)strlen(word);
}

static void add_value(struct bytes *to, uint8_t wishes, uint8_t choice, uint32_t bytes) {
    for (uint32_t i = 0; i < bytes; i++) {
        char c = wishes & LONG_VALUE ? (char)('v' + i % 3) : (char)('0' + choice % 10);
        append(to, &c, 1);
    }
}

static void add_request(struct bytes *to, struct program *program, uint8_t opcode) {
    char header[HEADER_BYTES] = {(char)0x80, (char)opcode};
    char extras[256];
    char key[256];
    uint8_t wishes = take(program);
    uint32_t key_bytes = put_key(wishes, take(program), key);
    uint8_t choice = take(program);
    uint32_t value_bytes = wishes & HAS_VALUE ? choice % 8 : 0;
    value_bytes = wishes & LONG_VALUE ? (uint32_t)choice * VALUE_UNIT_BYTES : value_bytes;
    uint32_t extras_bytes = wishes & WRONG_EXTRAS ? take(program) : extras_of(opcode);
    put_extras(program, wishes, extras, extras_bytes);
    uint16_t key_field = htobe16((uint16_t)key_bytes);
    uint32_t body_field = htobe32(extras_bytes + key_bytes + value_bytes);
    memcpy(header + 2, &key_field, sizeof key_field);
    header[4] = (char)extras_bytes;
    memcpy(header + 8, &body_field, sizeof body_field);
    memset(header + 12, choice, 4);
    header[23] = wishes & HAS_CAS ? (char)take(program) : 0;
    if (wishes & WRONG_FIELD) {
        uint8_t place = take(program);
        header[place % HEADER_BYTES] = (char)take(program);
    }
    append(to, header, sizeof header);
    append(to, extras, extras_bytes);
    append(to, key, key_bytes);
    if (opcode == SASL_AUTH || opcode == SASL_STEP) {
        append(to, "\0u\0pxxxx", value_bytes < 8 ? value_bytes : 0);
        value_bytes = value_bytes < 8 ? 0 : value_bytes;
    }
    add_value(to, wishes, choice, value_bytes);
}

static void fuzz_prepare(struct world *world, uint8_t first) {
    static const char users[] = "u:p\n";
    if (first & ASKS_LOGIN) {
        set_live(world->arena, "sasl_enabled", 1);
        PYMC_CHECK(proto_set_sasl(world->proto, users, sizeof users - 1) == PYMC_OK);
    }
}

static void fuzz_run(struct world *world, const uint8_t *bytes, size_t byte_count) {
    struct program program = {bytes, bytes + byte_count};
    struct bytes segment = {0};
    int who = 0;
    while (program.at < program.end) {
        uint8_t code = take(&program);
        if (code < RAW_FIRST && segment.used < STREAM_BYTES_MAX) {
            add_request(&segment, &program, code);
        } else if (code < SWITCH) {
            for (uint32_t n = code - RAW_FIRST; code > RAW_FIRST && n > 0; n--) {
                char raw = (char)take(&program);
                append(&segment, &raw, 1);
            }
        } else if (code == SWITCH) {
            end_segment(world, &who, &segment, 0);
        } else if (code == TIME) {
            uint8_t seconds = take(&program);
            end_segment(world, &who, &segment, seconds ? seconds : 256);
        }
    }
    end_segment(world, &who, &segment, 0);
    free(segment.at);
}
