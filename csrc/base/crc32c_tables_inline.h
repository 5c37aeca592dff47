// Tables of crc32c.c, made by the preprocessor: each is linear, so the entries of 1, 2, 4 ... 128
// give the others.
#pragma once

#include <stdint.h>

#define PART(value, bit, entry) (((value) >> (bit) & 1u) * (entry))
#define MIX(value, a, b, c, d, e, f, g, h)                                                         \
    (PART(value, 0, a) ^ PART(value, 1, b) ^ PART(value, 2, c) ^ PART(value, 3, d)                 \
     ^ PART(value, 4, e) ^ PART(value, 5, f) ^ PART(value, 6, g) ^ PART(value, 7, h))
#define FOUR(of, from) of((from)), of((from) + 1u), of((from) + 2u), of((from) + 3u)
#define SIXTEEN(of, from)                                                                          \
    FOUR(of, from), FOUR(of, (from) + 4u), FOUR(of, (from) + 8u), FOUR(of, (from) + 12u)
#define QUARTER(of, from)                                                                          \
    SIXTEEN(of, from), SIXTEEN(of, (from) + 16u), SIXTEEN(of, (from) + 32u),                       \
        SIXTEEN(of, (from) + 48u)
#define TABLE(of) QUARTER(of, 0u), QUARTER(of, 64u), QUARTER(of, 128u), QUARTER(of, 192u)

// The register after one byte, begun with that byte.
#define AFTER_BYTE(value)                                                                          \
    MIX(value, 0xf26b8303u, 0xe13b70f7u, 0xc79a971fu, 0x8ad958cfu, 0x105ec76fu, 0x20bd8edeu,       \
        0x417b1dbcu, 0x82f63b78u)

// The register after 256 zero bytes, by each of its four bytes before them.
#define AFTER_ZEROS_0(value)                                                                       \
    MIX(value, 0xdcb17aa4u, 0xbc8e83b9u, 0x7cf17183u, 0xf9e2e306u, 0xf629b0fdu, 0xe9bf170bu,       \
        0xd69258e7u, 0xa8c8c73fu)
#define AFTER_ZEROS_1(value)                                                                       \
    MIX(value, 0x547df88fu, 0xa8fbf11eu, 0x541b94cdu, 0xa837299au, 0x558225c5u, 0xab044b8au,       \
        0x53e4e1e5u, 0xa7c9c3cau)
#define AFTER_ZEROS_2(value)                                                                       \
    MIX(value, 0x4a7ff165u, 0x94ffe2cau, 0x2c13b365u, 0x582766cau, 0xb04ecd94u, 0x6571edd9u,       \
        0xcae3dbb2u, 0x902bc195u)
#define AFTER_ZEROS_3(value)                                                                       \
    MIX(value, 0x25bbf5dbu, 0x4b77ebb6u, 0x96efd76cu, 0x2833d829u, 0x5067b052u, 0xa0cf60a4u,       \
        0x4472b7b9u, 0x88e56f72u)

static const uint32_t byte_table[256] = {TABLE(AFTER_BYTE)};
__attribute__((unused)) static const uint32_t zeros_table[4][256] = {
    {TABLE(AFTER_ZEROS_0)}, {TABLE(AFTER_ZEROS_1)}, {TABLE(AFTER_ZEROS_2)}, {TABLE(AFTER_ZEROS_3)}};

#undef PART
#undef MIX
#undef FOUR
#undef SIXTEEN
#undef QUARTER
#undef TABLE
