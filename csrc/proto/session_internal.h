// What the files of the protocol's room share: what sessions have in common, values that are coming
// in, and how a session waits.
#pragma once

#include "link/link_copy_inline.h"
#include "proto/reply_inline.h"
#include "proto/session_inline.h"
#include "proto/token_inline.h"
#include "store/store.h"

#define KEY_BYTES_MAX ITEM_KEY_BYTES_MAX
#define LINE_BYTES_MAX 2048
// Values up to this size wait in the input until they are whole. Larger ones wait until so much of
// them is there, since a value that is only announced shall take no item memory; then they go
// straight into their item.
#define VALUE_BUFFERED_MAX 8192

struct command;
struct command_slot;

// "user:password" lines; NULL when there are none.
struct session_users {
    char *lines;
    uint32_t bytes;
};

struct proto {
    struct store *store;
    struct flash_reader *reader;         // NULL without a flash tier.
    struct session_flash *flash_free;    // Room for sessions that read, kept for the next one.
    struct log *log;                     // NULL: none.
    struct command *command_rows;        // By number.
    struct command_slot *commands;       // The same by their words, see commands_find().
    struct session_users text_users;     // Who may log in with -Y ...
    struct session_users sasl_users;     // ... and with -S.
    char version[64];
};

// From MODE_PARKED on the session takes no input.
enum session_mode { MODE_COMMAND, MODE_VALUE, MODE_SWALLOW, MODE_PARKED, MODE_DELAYED, MODE_CLOSE };

static inline struct store *session_store(const struct session *session) {
    return session->proto->store;
}
// Whether its turn is over once `more` requests that are not counted yet are answered.
static inline bool session_has_had_its_turn(const struct session *session, uint64_t more) {
    return UNLIKELY(session->requests_until)
           && (session->proto->store->proc->counters[COUNTER_requests] + more
                   >= session->requests_until
               || session->proto->store->watch.is_ripe);
}
// A request was answered: counted once, however often it was begun.
static inline void session_count_request(const struct session *session) {
    count(session->proto->store->proc, COUNTER_requests, 1);
}

// An expiry as the client gave it, on the cache's clock: 0 never, 1 at once. Text clients have 32
// bits with a sign, binary ones without.
static inline uint32_t session_expiry(const struct session *session, int64_t client) {
    const struct store *store = session_store(session);
    if (client == 0) {
        return 0;
    }
    if (client < 0) {
        return 1;
    }
    if (client > 60 * 60 * 24 * 30) {
        int64_t seconds = client - arena_epoch_unix_seconds(store->arena);
        return seconds <= 2 ? 1 : (uint32_t)seconds;
    }
    return store->proc->now_seconds + (uint32_t)client;
}

// Before authentication: handles the command whose line is [line, line_end) and whose value, if it
// has one, begins at `body`. Returns false when the value is not all there yet; *consumed says how
// much of the body is done with.
bool session_authenticate(struct session *session, const char *line, const char *line_end,
                          const char *body, size_t body_bytes, struct reply *reply,
                          size_t *consumed);

// Whether there is such a user; takes the same time whatever differs.
bool session_is_known_user(const struct session_users *users, const char *user, uint32_t user_bytes,
                           const char *password, uint32_t password_bytes);
// A client said who it is, and it was not right: counts that, and has the answer, which is in the
// reply by the end of the step, held back for longer each time.
void session_note_failed_login(struct session *session);
// It was right: from here on the session may do what its rights say. The answer is held back as
// well while passwords are tried from its address.
void session_note_good_login(struct session *session);

// Shows a line of a conversation in the log, as memcached's -vv does.
void session_show(const struct session *session, char sign, const char *text, int bytes);
// Notes an error for watchers, who want it: the command's word, its key if it has one, and the
// answer.
void session_watch_error(struct session *session, struct token command, struct token key,
                         struct token reason);
// Whether an answer says that something went wrong.
bool session_is_error(const char *answer, size_t bytes);

// Statistics per prefix.
enum prefix_what { PREFIX_GET, PREFIX_SET, PREFIX_DELETE };
void prefix_count_now(struct store *store, const char *key, uint32_t key_bytes, int what,
                      bool is_hit);
static inline void prefix_count(struct store *store, const char *key, uint32_t key_bytes, int what,
                                bool is_hit) {
    if (UNLIKELY(live_get(store->arena, LIVE_detail_enabled))) {
        prefix_count_now(store, key, key_bytes, what, is_hit);
    }
}

// A value on its way in, with all that is needed to finish its command. A parser that needs more
// begins its own structure with one.
struct session_value {
    struct store_write write;
    struct store_making making;
    uint32_t line_end_bytes;    // What closes the value: 2 bytes \r\n, or 0.
    uint32_t trailer_seen;      // So many of them came already.
    bool trailer_bad;
    bool is_quiet;           // Says nothing, whatever comes of it.
    bool forgets_refused;    // As execute_put() has it.
    // Answers the command; `outcome` is what execute_put() would return.
    void (*answer)(const struct session_value *value, int outcome,
                   const struct store_result *result, struct reply *reply);
    char key[256];
};
// How a value of which `body_bytes` are there gets into the store.
enum session_value_way {
    VALUE_IS_WHOLE,      // It is all there, with its line end: execute_put().
    VALUE_MAY_WAIT,      // It can stay in the input until more comes.
    VALUE_COMES_LATER    // session_value_begin(). Also when its line end is missing, so that it
                         // makes no difference how it came; and when it is too large, since that is
                         // answered at once.
};
enum session_value_way session_value_way(const struct session *session,
                                         const struct store_write *write, uint32_t line_end_bytes,
                                         const char *line_start, const char *body,
                                         size_t body_bytes);
// Sets up a value that was allocated and has a line end, but for `answer` and the flags.
void session_value_init(struct session_value *value, const struct store_write *write);
// Turns to receiving the value, NULL when there was no memory for it; when room cannot be had,
// answers and swallows it. Owns: the session. When the session is parked it is freed.
void session_value_begin(struct session *session, struct session_value *value, struct reply *reply);
// Goes on with a value that is coming in pieces. Returns the bytes consumed.
size_t session_value_feed(struct session *session, const char *in, size_t bytes,
                          struct reply *reply);
void session_value_drop(struct session *session);
// The bytes that come next are thrown away.
void session_swallow(struct session *session, uint64_t bytes);

// A session's reads from flash. A command that meets flash is done over again when its read is
// done: reads are found by the address of their record. They are given back by session_settle() or
// when the session has nothing more to do.
#define FLASH_READS_MAX 32
struct session_flash {
    struct flash_read *reads[FLASH_READS_MAX];
    struct flash_read *waits_for;    // NULL: any.
    uint32_t held;                   // Bit per place of `reads` that is in use ...
    uint32_t looked_at;              // ... that the command under way has looked at ...
    uint32_t for_get;                // ... and that counts as a get's.
    uint32_t rounds;                 // How often the command under way was sent to look again.
    struct session_flash *next_free;
};

// Whether the session can read from flash at all.
bool session_can_read(struct session *session);
// The read of the entry that the command under way needs, done; NULL when the session is parked
// until it may be. Requires: session_can_read(). `is_get`: it is counted as a get's, once.
struct flash_read *session_need_read(struct session *session, uint64_t entry, bool is_get);
// What the command under way has looked at is of no use to it.
void session_release_looked(struct session *session);
// Whether the command under way, sent to look again once more, may do so.
bool session_may_look_again(struct session *session);
// The command under way, or one key of a get, is answered: gives back the reads it has looked at.
void session_settle(struct session *session);
// While the session is parked: begins the read that a later get of the key will want.
void session_look_ahead(struct session *session, const char *key, uint32_t key_bytes,
                        uint64_t hash);
// A bucket that the command needs is busy. Returns true when the session is parked: leave no trace
// and return. False when the command has waited for BUSY_SECONDS_MAX: it is to be given up.
bool session_put_off(struct session *session);
