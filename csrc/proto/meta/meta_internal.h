// The meta protocol's commands, for commands.def, and what their files share.
#pragma once

#include "proto/commands_internal.h"
#include "proto/execute_internal.h"

#define META_RETURNS_MAX 20
// Flags of one line; more are refused.
#define META_FLAGS_MAX 17
#define META_SET_FLAGS_MAX 16

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

// Parses the words behind a meta command. Returns NULL, or the error line to answer with.
const char *meta_parse(const struct token *tokens, uint32_t words, uint32_t flags_from,
                       char command, struct meta_request *request);
// The expiry of an item that mg or ma makes: of T and N the one that comes last.
uint32_t meta_expiry_of_new(const struct session *session, const struct meta_request *request);
// Appends ` k<key>[ b]`: the key as the client sent it, or as the item that was made with it has
// it.
char *meta_put_key(char *at, const struct meta_request *request);
char *meta_put_item_key(char *at, const struct meta_request *request, bool is_binary);
// Appends ` t<seconds to live>`.
char *meta_put_ttl(char *at, const struct session *session, uint32_t expiry_seconds);
// Appends a flag as it came, behind a blank.
char *meta_put_flag(char *at, const struct token *flag);

void meta_get(struct session *session, struct token *tokens, uint32_t words, int variant,
              struct reply *reply);
enum command_took meta_set(struct session *session, const struct command_line *line,
                           struct token *tokens, uint32_t words, int variant, struct reply *reply,
                           size_t *body_consumed);
void meta_delete(struct session *session, struct token *tokens, uint32_t words, int variant,
                 struct reply *reply);
void meta_arith(struct session *session, struct token *tokens, uint32_t words, int variant,
                struct reply *reply);
void meta_debug(struct session *session, struct token *tokens, uint32_t words, int variant,
                struct reply *reply);
void meta_no_op(struct session *session, struct token *tokens, uint32_t words, int variant,
                struct reply *reply);
// While the session is parked: begins the reads that whole mg lines at the start of the input will
// want.
void meta_look_ahead(struct session *session, const char *in, const char *end);
