// Fuzzes session_feed(): two conversations on one store, once fed whole and once in pieces, must
// answer alike.
//
// Input: the first byte (fuzz_talks.h), then a program of bytes and escapes:
//   \x02        the other conversation goes on
//   \x03 n      n * 64 bytes of 'v'
//   \x04 n      n seconds pass
//   other       itself
// Everything up to an escape \x02 or \x04 is one segment; the pieces of a segment are fed without a
// pause.
#include "fuzz_talks.h"

#define ESCAPE_SWITCH 2
#define ESCAPE_RUN 3
#define ESCAPE_TIME 4
#define RUN_UNIT_BYTES 64

static void fuzz_prepare(struct world *world, uint8_t first) {
    (void)world;
    (void)first;
}

static void fuzz_run(struct world *world, const uint8_t *program, size_t program_bytes) {
    struct bytes segment = {0};
    int who = 0;
    for (size_t i = 0; i <= program_bytes; i++) {
        uint8_t code = i < program_bytes ? program[i] : ESCAPE_SWITCH;
        uint8_t argument = i + 1 < program_bytes ? program[i + 1] : 0;
        if (code == ESCAPE_RUN) {
            char run_of[RUN_UNIT_BYTES];
            memset(run_of, 'v', sizeof run_of);
            for (int n = 0; n < argument && segment.used < STREAM_BYTES_MAX; n++) {
                append(&segment, run_of, sizeof run_of);
            }
            i++;
        } else if (code == ESCAPE_SWITCH) {
            end_segment(world, &who, &segment, 0);
        } else if (code == ESCAPE_TIME) {
            end_segment(world, &who, &segment, argument ? argument : 256);
            i++;
        } else {
            append(&segment, (const char *)&code, 1);
        }
    }
    free(segment.at);
}

static const char *const tokens[] = {
    "get ",
    "gets ",
    "gat 10 ",
    "gats 0 ",
    "set ",
    "add ",
    "replace ",
    "append ",
    "prepend ",
    "cas ",
    "incr ",
    "decr ",
    "delete ",
    "touch ",
    "flush_all",
    "mg ",
    "ms ",
    "md ",
    "ma ",
    "me ",
    "mn\r\n",
    "quit\r\n",
    "stats\r\n",
    "verbosity 1\r\n",
    " noreply",
    "\r\n",
    " k",
    " a",
    " b",
    " 0 0 5\r\nvalue\r\n",
    " 0 0 1\r\n7\r\n",
    " 10",
    " -1",
    " 0",
    " v",
    " t",
    " c",
    " s",
    " f",
    " h",
    " l",
    " q",
    " N30",
    " R20",
    " T40",
    " T0",
    " I",
    " x",
    " MA",
    " MP",
    " ME",
    " MR",
    " D5",
    " J3",
    " C2",
    " E900",
    " O1 k",
    " Zm9v b",
    " 0 0 9000\r\n\x03\x8c",
    " 0 0 20032\r\n\x03\xff\x03\x3a\r\n",
    " 18446744073709551615",
    "\x02",
    "\x04\x05",
    "\x03\x10",
};

size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t most);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t most, unsigned int seed);
// Half of the time puts a word of the protocol somewhere; otherwise leaves it to libFuzzer.
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t most, unsigned int seed) {
    srand(seed);
    if (rand() % 2 || size == 0) {
        return LLVMFuzzerMutate(data, size, most);
    }
    for (int n = rand() % 6; n >= 0; n--) {
        const char *token = tokens[(size_t)rand() % (sizeof tokens / sizeof *tokens)];
        size_t bytes = strlen(token);
        size_t at = 1 + (size_t)rand() % size;
        if (size + bytes > most || at > size) {
            break;
        }
        memmove(data + at + bytes, data + at, size - at);
        memcpy(data + at, token, bytes);
        size += bytes;
    }
    return size;
}
