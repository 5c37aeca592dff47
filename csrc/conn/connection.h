// What others see of connections: their records, the states of README.md's table, and answers to
// administrative commands.
#pragma once

#include <stdbool.h>
#include <stdint.h>

// What all connections of one worker share.
struct conns;
struct connection;

// The states of the machine in README.md. A connection is in one of them; whatever else is true of
// it stands in the flags of struct connection.
enum conn_state {
    CONN_READING,           // Its input is read and answered.
    CONN_YIELDED,           // Its kept input holds commands: it goes on when others had their turn.
    CONN_SENDING,           // Replies wait for the client to take them.
    CONN_SENDING_AHEAD,     // The same; meanwhile the rest of its get's line is received and kept.
    CONN_CLOSING,           // Closed when the replies that wait are sent.
    CONN_DELAYED,           // The answer to a failed login is held back.
    CONN_ON_FLASH,          // The command under way waits for a read from flash.
    CONN_ON_BUCKET,         // The command under way waits for a bucket that another process holds.
    CONN_PARKED,            // An administrative command waits for conn_answer().
    CONN_PARKED_SENDING,    // The same, and replies or a part of the answer wait for the client.
    CONN_HANDSHAKE,         // Its transport agrees with the client on how to go on.
    CONN_WATCHING,          // It gets the lines of a log stream; what it says is thrown away.
    CONN_WATCHING_SENDING,    // The same, and lines wait for the client to take them.
    CONN_CLOSED,              // Nothing happens any more; freed at the end of the turn.
    CONN_STATES
};
// The state's name without CONN_, for tests and messages.
const char *conn_state_name(int state);
// Whether the table has a way from one state to the other.
bool conn_may_move(int from, int to);

// One connection as `stats conns` shows it.
struct connection_record {
    uint32_t worker;
    uint32_t id;    // Unique in the server while the connection lives.
    uint32_t last_command_seconds;
    uint16_t port;    // Of the peer; 0 for unix sockets.
    uint16_t listen_port;
    uint8_t family;    // 4, 6, or 1 for unix.
    uint8_t state;     // enum connection_state
    uint8_t is_encrypted;
    uint8_t has_identity;    // server_identity_read() has whom it talks to.
    uint8_t address[16];
    uint8_t listen_address[16];
};
// What a record shows, in memcached's distinctions.
enum connection_state {
    CONNECTION_FREE,
    CONNECTION_READ,
    CONNECTION_NREAD,
    CONNECTION_SWALLOW,
    CONNECTION_WRITE,
    CONNECTION_PARKED,
    CONNECTION_IO_QUEUE,
    CONNECTION_WATCH
};

// An administrative command that waits for an answer; its connection is parked until then.
struct conn_request {
    uint64_t connection;    // For the answer; never used twice.
    const char *line;    // The command line without its line end; borrowed until the answer. Of a
                         // binary client: what follows `stats `.
    uint32_t line_bytes;
    bool is_binary;       // The answer must be packets of the binary protocol ...
    char opaque[4];       // ... with this number.
    bool is_pipelined;    // There were commands before it whose replies left together, or wait.
};

// How an answer goes on.
enum conn_answer_kind {
    CONN_ANSWER_DONE,    // The command is answered; the connection goes on.
    CONN_ANSWER_MORE,    // More follows; the connection is named as a stream when this is sent.
    CONN_ANSWER_CLOSE    // Send, then close.
};
