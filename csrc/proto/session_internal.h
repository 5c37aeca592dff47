// The session's state and what the protocol's files share.
#pragma once

#include "link/link_copy_inline.h"
#include "proto/reply_inline.h"
#include "proto/token_inline.h"
#include "space/space_take_inline.h"
#include "store/store_mark_inline.h"
#include "tier/tier_read.h"

#define KEY_BYTES_MAX 250
#define LINE_BYTES_MAX 2048
// Values up to this size wait in the input until they are whole. Larger ones wait until so much of
// them is there, since a value that is only announced shall take no item memory; then they go
// straight into their item.
#define VALUE_BUFFERED_MAX 8192
#define META_RETURNS_MAX 20
#define OPAQUE_BYTES_MAX 32

struct proto {
    struct store *store;
    struct flash_reader *reader;         // NULL without a flash tier.
    struct session_flash *flash_free;    // Room for sessions that read, kept for the next one.
    struct log *log;                     // NULL: none.
    char *auth_lines;
    uint32_t auth_bytes;
    char version[64];
};

enum session_mode { MODE_COMMAND, MODE_VALUE, MODE_SWALLOW, MODE_PARKED, MODE_CLOSE };
enum get_kind { GET_NONE, GET_PLAIN, GET_CAS, GET_TOUCH, GET_TOUCH_CAS };

// A parsed meta command line.
struct meta_request {
    const char *key;
    uint32_t key_bytes;
    uint32_t key_text_bytes;    // As the client sent it, for `k`.
    const char *key_text;
    uint64_t flags_seen;    // Bit per letter, see META_BIT().
    uint32_t return_count;
    struct token returns[META_RETURNS_MAX];    // Flags in request order.
    int32_t expiry;                            // T
    int32_t vivify_expiry;                     // N
    int32_t recache;                           // R, an expiry like the other two.
    uint32_t client_flags;                     // F
    char mode;                                 // M
    uint64_t cas_compare;                      // C
    uint64_t cas_new;                          // E
    uint64_t delta;                            // D
    uint64_t initial;                          // J
    char binary_key[192];
};
#define META_BIT(letter) (1ull << ((letter) - 'A'))
static inline bool meta_has(const struct meta_request *request, char letter) {
    return request->flags_seen & META_BIT(letter);
}

// A value on its way in, with all that is needed to finish its command.
struct session_value {
    struct store_write write;
    struct store_making making;
    uint32_t trailer_seen;    // Bytes of the closing \r\n that came already.
    bool trailer_bad;
    bool is_quiet;    // noreply
    bool is_meta;
    char key[256];
    struct meta_request meta;
    char meta_line[];    // What meta.returns points into.
};

struct session {
    struct proto *proto;
    struct session_value *value;
    struct session_flash *flash;    // Its reads from flash; NULL while it has none.
    const char *admin_line;
    const char *fetched_until;    // Input up to here has had its memory prefetched; valid during
                                  // one feed.
    uint64_t swallow_bytes;
    uint64_t arrived_bytes;    // So many have surely come behind the input; valid during one feed.
    uint32_t admin_bytes;
    uint32_t get_expiry;
    uint64_t requests_until;    // The process's count of requests at which its turn ends; 0: no
                                // such end.
    uint8_t mode;
    uint8_t get_kind;     // Not GET_NONE: the input stands inside the key list of a get.
    bool awaits_value;    // The input ends within a value that waits there for its rest.
    bool is_waiting;      // The command under way waits for a read or a bucket, and has left no
                          // trace.
    bool is_busy;         // It waits for a bucket.
    bool has_vivified;    // Before it had to wait it made the item that it answers from.
    bool has_begun;       // Its first byte was seen.
    bool is_authenticated;
    bool get_is_broken;             // The rest of the get's line is thrown away.
    bool is_verbose;                // Command lines are shown (-vv); found out once per feed.
    uint32_t busy_rounds;           // How often the command under way met a busy bucket ...
    uint32_t busy_since_seconds;    // ... and since when.
    int log_id;                     // What they are shown with, as memcached does: the descriptor.
};

static inline struct store *session_store(const struct session *session) {
    return session->proto->store;
}
// Whether its turn is over once `more` requests that are not counted yet are answered.
static inline bool session_has_had_its_turn(const struct session *session, uint64_t more) {
    return UNLIKELY(session->requests_until)
           && session->proto->store->proc->counters[COUNTER_requests] + more
                  >= session->requests_until;
}

// An expiry as the client gave it, on the cache's clock: 0 never, 1 at once.
static inline uint32_t expiry_from_client(const struct store *store, int32_t client) {
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

// Statistics per prefix; called only when LIVE_detail_enabled is on.
void prefix_count(struct store *store, const char *key, uint32_t key_bytes, int what, bool is_hit);
enum prefix_what { PREFIX_GET, PREFIX_SET, PREFIX_DELETE };
static inline void count_prefix(struct store *store, const char *key, uint32_t key_bytes, int what,
                                bool is_hit) {
    if (UNLIKELY(live_get(store->arena, LIVE_detail_enabled))) {
        prefix_count(store, key, key_bytes, what, is_hit);
    }
}

// A session's reads from flash. A command that meets flash is done over again when its read is
// done: reads are found by the address of their record. They are given back by flash_settle() or
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

// Goes on with a key that link_find() has just found missing in memory (`view` is of that
// look-up). Returns
//   STORE_HIT        *read_out == NULL: it is in memory now; else the view is the record's, until
//                    flash_settle();
//   STORE_MISS, STORE_MISS_EXPIRED, STORE_MISS_FLUSHED
//                    it is nowhere; with *read_out == NULL the view is of memory;
//   STORE_ON_FLASH   the session is parked: leave no trace and return;
//   STORE_BUSY       see session_put_off();
//   STORE_NO_MEMORY.
// Where the device does not answer, the key counts as missing. `changes`: then its entry goes,
// since whoever is told that a value to be changed is not there must not find it unchanged later.
int flash_look(struct session *session, const char *key, uint32_t key_bytes, uint64_t hash,
               bool is_get, bool changes, struct link_view *view, struct flash_read **read_out);
// The same, and puts what is found on flash into memory. STORE_HIT: look there (again).
int flash_bring(struct session *session, const char *key, uint32_t key_bytes, uint64_t hash,
                bool is_get);
// A bucket that the command needs is busy (STORE_BUSY). Returns true when the session is parked:
// leave no trace and return. False when the command has waited for BUSY_SECONDS_MAX: answer it with
// REPLY_BUSY.
bool session_put_off(struct session *session);
#define REPLY_BUSY "SERVER_ERROR busy"
// An operation said STORE_ON_FLASH or STORE_BUSY. Returns true when it is to be done over again;
// else the session is parked (is_waiting), or *outcome is STORE_NO_MEMORY or, for REPLY_BUSY,
// STORE_BUSY.
bool flash_retry(struct session *session, const char *key, uint32_t key_bytes, int *outcome);
// For `do outcome = store_...(); while (met_flash(...));`
static inline bool met_flash(struct session *session, const char *key, uint32_t key_bytes,
                             int *outcome) {
    return store_is_put_off(*outcome) && flash_retry(session, key, key_bytes, outcome);
}
// store_delete() that goes on on flash. Returns what it does, STORE_BUSY for REPLY_BUSY; or the
// session is parked.
int flash_delete(struct session *session, const struct store_delete *request);
// Counts a get's read of a record, and brings the item back to memory when it is read often. The
// view may be gone then.
void flash_note_read(struct session *session, const struct flash_read *read,
                     const struct link_view *view, const char *key, uint64_t hash);
// The command under way, or one key of a get, is answered: gives back the reads it has looked at.
void flash_settle(struct session *session);
// While the session is parked: begins the read that a later get of the key will want.
void flash_look_ahead(struct session *session, const char *key, uint32_t key_bytes, uint64_t hash);
// The same for whole mg lines at the start of the input.
void flash_look_ahead_meta(struct session *session, const char *in, const char *end);

// Reads keys of get commands from the input; returns bytes consumed. Sets *stop_out when it cannot
// go on.
size_t text_gets(struct session *session, const char *in, size_t bytes, struct reply *reply,
                 bool *full_out);
// Begins a get-like command whose words stand in the line; leaves the key list to text_gets().
// Returns how many bytes of the line are done with.
size_t text_get_begin(struct session *session, const char *line, const char *end,
                      enum get_kind kind, struct reply *reply);

// Brings the memory of pipelined plain `set` commands nearer, a window of them at a time.
void text_update_prefetch(struct session *session, const char *in, const char *end);

// What a storage command line asks of the input behind it.
enum update_wants { UPDATE_DONE, UPDATE_MORE, UPDATE_STREAM };
// Handles a storage command whose line ends at `body`; `bytes` are there behind it. Consumes from
// the body. UPDATE_MORE: value_may_wait(), or the session is parked (is_waiting).
enum update_wants text_update(struct session *session, struct token *tokens, uint32_t count,
                              const char *body, size_t bytes, struct reply *reply,
                              size_t *body_consumed);
enum update_wants meta_set(struct session *session, const char *line, const char *line_end,
                           const char *body, size_t bytes, struct reply *reply,
                           size_t *body_consumed);
// Whether a value of which `bytes` are there can stay in the input until more comes. One that is
// too large cannot: that is answered at once.
bool value_may_wait(const struct session *session, const struct store_write *write,
                    size_t line_bytes, size_t bytes);
// Goes on with a value that is coming in pieces. Returns the bytes consumed.
size_t value_feed(struct session *session, const char *in, size_t bytes, struct reply *reply);
void value_finish(struct session *session, struct reply *reply);
void value_drop(struct session *session);
// Turns to streaming the value described by `value`; when room cannot be had, answers and swallows
// it.
void value_begin(struct session *session, struct session_value *value, struct reply *reply);
void text_outcome(struct reply *reply, int outcome);
void meta_set_outcome(const struct meta_request *request, int outcome,
                      const struct store_result *result, struct reply *reply);

void text_arith(struct session *session, struct token *tokens, uint32_t count, struct reply *reply);
void text_touch(struct session *session, struct token *tokens, uint32_t count, struct reply *reply);
void text_delete(struct session *session, struct token *tokens, uint32_t count,
                 struct reply *reply);
void text_flush_all(struct session *session, struct token *tokens, uint32_t count,
                    struct reply *reply);

// Parses the words behind a meta command. Returns NULL, or the error line to answer with.
const char *meta_parse(const struct token *tokens, uint32_t count, uint32_t flags_from,
                       char command, struct meta_request *request);
// The expiry of an item that mg or ma makes: of T and N the one that comes last.
uint32_t meta_expiry_of_new(const struct store *store, const struct meta_request *request);
void meta_get(struct session *session, struct token *tokens, uint32_t count, struct reply *reply);
void meta_delete(struct session *session, struct token *tokens, uint32_t count,
                 struct reply *reply);
void meta_arith(struct session *session, struct token *tokens, uint32_t count, struct reply *reply);
void meta_debug(struct session *session, struct token *tokens, uint32_t count, struct reply *reply);
// Appends ` k<key>[ b]`: the key as the client sent it, or as the item that was made with it has
// it.
char *meta_put_key(char *at, const struct meta_request *request);
char *meta_put_item_key(char *at, const struct meta_request *request, bool is_binary);

bool auth_check(const struct proto *proto, const char *user, uint32_t user_bytes,
                const char *password, uint32_t password_bytes);
