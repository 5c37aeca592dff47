// The list of `ssl_allowed_ids`: who may come in, and with which rights.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tls/tls_ids_internal.h"
#include "tls/tls_inline.h"

#define SHOWN_BYTES 60

// One line. `name` is the whole of it, or what stands beside the `*`: before it for SPIFFE, with
// the slash; behind it for DNS, with the dot.
struct rule {
    const char *name;
    uint16_t bytes;
    uint8_t kind;
    uint8_t rights;
    bool is_open;    // It has a `*`.
};

struct tls_ids {
    uint32_t count;
    char *text;    // Where the names of the rules lie.
    struct rule rules[];
};

struct words {
    const char *at;
    const char *end;
};

static bool is_blank(char c) {
    return c == ' ' || c == '\t' || c == '\r';
}

// The next word of a line; its length is 0 at the end. Behind a name commas separate as well.
static uint32_t next_word(struct words *line, bool has_commas, const char **word_out) {
    while (line->at < line->end && (is_blank(*line->at) || (has_commas && *line->at == ','))) {
        line->at++;
    }
    *word_out = line->at;
    while (line->at < line->end && !is_blank(*line->at) && !(has_commas && *line->at == ',')) {
        line->at++;
    }
    return (uint32_t)(line->at - *word_out);
}

static uint8_t right_named(const char *word, uint32_t bytes) {
    static const struct {
        const char *word;
        uint8_t right;
    } rights[] = {{"read", TLS_MAY_READ}, {"write", TLS_MAY_WRITE}, {"admin", TLS_MAY_ADMIN}};
    for (size_t i = 0; i < sizeof rights / sizeof rights[0]; i++) {
        if (strlen(rights[i].word) == bytes && memcmp(rights[i].word, word, bytes) == 0) {
            return rights[i].right;
        }
    }
    return 0;
}

static bool parse_spiffe(const char *name, uint32_t bytes, struct rule *rule) {
    rule->kind = TLS_NAME_SPIFFE;
    rule->is_open = bytes >= 2 && name[bytes - 1] == '*' && name[bytes - 2] == '/';
    rule->bytes = (uint16_t)(rule->is_open ? bytes - 1 : bytes);
    if (!rule->is_open) {
        return tls_name_is_spiffe(name, bytes);
    }
    // With a segment in the star's place it has to be a name.
    char whole[TLS_NAME_BYTES_MAX];
    memcpy(whole, name, bytes);
    whole[bytes - 1] = 'x';
    return tls_name_is_spiffe(whole, bytes);
}

static bool parse_name(const char *name, uint32_t bytes, struct rule *rule) {
    if (bytes > TLS_NAME_BYTES_MAX) {
        return false;
    }
    rule->name = name;
    if (bytes > 7 && memcmp(name, "spiffe:", 7) == 0) {
        return parse_spiffe(name, bytes, rule);
    }
    rule->kind = TLS_NAME_DNS;
    rule->is_open = bytes > 2 && memcmp(name, "*.", 2) == 0;
    rule->name = rule->is_open ? name + 1 : name;
    rule->bytes = (uint16_t)(rule->is_open ? bytes - 1 : bytes);
    return tls_name_is_dns(rule->name + rule->is_open, rule->bytes - rule->is_open);
}

static int refuse(char *reason, uint32_t reason_bytes, uint32_t number, const char *why,
                  const char *word, uint32_t bytes) {
    char shown[SHOWN_BYTES + 1];
    uint32_t count = bytes < SHOWN_BYTES ? bytes : SHOWN_BYTES;
    for (uint32_t i = 0; i < count; i++) {
        shown[i] = word[i] >= ' ' && word[i] <= '~' ? word[i] : '?';
    }
    shown[count] = '\0';
    snprintf(reason, reason_bytes, "line %u: %s: %s", number, why, shown);
    return PYMC_INVALID;
}

// A `#` inside a word is no comment: cutting a name short would make it another one.
static const char *before_comment(struct words line) {
    for (const char *at = line.at; at < line.end; at++) {
        if (*at == '#' && (at == line.at || is_blank(at[-1]) || at[-1] == ',')) {
            return at;
        }
    }
    return line.end;
}

// Parses one line; *is_rule_out is false where it has only a comment.
static int parse_line(struct words line, uint32_t number, struct rule *rule, bool *is_rule_out,
                      char *reason, uint32_t reason_bytes) {
    line.end = before_comment(line);
    const char *word;
    uint32_t bytes = next_word(&line, false, &word);
    *is_rule_out = bytes > 0;
    if (bytes > 0 && !parse_name(word, bytes, rule)) {
        return refuse(reason, reason_bytes, number, "neither a SPIFFE ID nor a DNS name", word,
                      bytes);
    }
    while ((bytes = next_word(&line, true, &word)) > 0) {
        uint8_t right = right_named(word, bytes);
        if (!right) {
            return refuse(reason, reason_bytes, number, "not read, write or admin", word, bytes);
        }
        rule->rights |= right;
    }
    rule->rights = rule->rights ? rule->rights : TLS_MAY_ALL;
    return PYMC_OK;
}

static uint32_t count_lines(const char *text, uint32_t bytes) {
    uint32_t count = 1;
    for (uint32_t i = 0; i < bytes; i++) {
        count += text[i] == '\n';
    }
    return count;
}

static int parse_all(struct tls_ids *ids, uint32_t bytes, char *reason, uint32_t reason_bytes) {
    const char *end = ids->text + bytes;
    uint32_t number = 1;
    for (const char *at = ids->text; at < end; number++) {
        const char *stop = memchr(at, '\n', (size_t)(end - at));
        stop = stop ? stop : end;
        struct rule *rule = &ids->rules[ids->count];
        bool is_rule;
        *rule = (struct rule){0};
        int status =
            parse_line((struct words){at, stop}, number, rule, &is_rule, reason, reason_bytes);
        if (status != PYMC_OK) {
            return status;
        }
        ids->count += is_rule;
        at = stop + 1;
    }
    if (ids->count == 0) {
        snprintf(reason, reason_bytes, "no line names anybody");
        return PYMC_INVALID;
    }
    return PYMC_OK;
}

int tls_ids_open(const char *text, uint32_t bytes, struct tls_ids **ids_out, char *reason,
                 uint32_t reason_bytes) {
    uint32_t lines = count_lines(text, bytes);
    struct tls_ids *ids = calloc(1, sizeof *ids + lines * sizeof(struct rule));
    char *copy = malloc(bytes + 1);
    if (!ids || !copy) {
        free(ids);
        free(copy);
        snprintf(reason, reason_bytes, "no memory");
        return PYMC_NO_MEMORY;
    }
    memcpy(copy, text, bytes);
    ids->text = copy;
    int status = parse_all(ids, bytes, reason, reason_bytes);
    if (status != PYMC_OK) {
        tls_ids_close(ids);
        return status;
    }
    *ids_out = ids;
    return PYMC_OK;
}

void tls_ids_close(struct tls_ids *ids) {
    if (ids) {
        free(ids->text);
        free(ids);
    }
}

uint32_t tls_ids_count(const struct tls_ids *ids) {
    return ids->count;
}

static bool fits_spiffe(const struct rule *rule, const char *name, uint32_t bytes) {
    if (!rule->is_open) {
        return bytes == rule->bytes && memcmp(name, rule->name, bytes) == 0;
    }
    return bytes > rule->bytes && memcmp(name, rule->name, rule->bytes) == 0
           && !memchr(name + rule->bytes, '/', bytes - rule->bytes);
}

static bool is_same_dns(const char *a, const char *b, uint32_t bytes) {
    for (uint32_t i = 0; i < bytes; i++) {
        // Names have only letters, digits, and marks that this bit leaves apart.
        char x = a[i] >= 'A' && a[i] <= 'Z' ? (char)(a[i] | 0x20) : a[i];
        char y = b[i] >= 'A' && b[i] <= 'Z' ? (char)(b[i] | 0x20) : b[i];
        if (x != y) {
            return false;
        }
    }
    return true;
}

static bool fits_dns(const struct rule *rule, const char *name, uint32_t bytes) {
    uint32_t label = 0;
    if (rule->is_open) {
        const char *dot = memchr(name, '.', bytes);
        label = dot ? (uint32_t)(dot - name) : 0;
        if (label == 0) {
            return false;
        }
    }
    return bytes - label == rule->bytes && is_same_dns(name + label, rule->name, rule->bytes);
}

uint8_t tls_ids_match(const struct tls_ids *ids, uint32_t number, int kind, const char *name,
                      uint32_t name_bytes) {
    const struct rule *rule = &ids->rules[number];
    if (rule->kind != kind) {
        return 0;
    }
    bool fits = kind == TLS_NAME_SPIFFE ? fits_spiffe(rule, name, name_bytes)
                                        : fits_dns(rule, name, name_bytes);
    return fits ? rule->rights : 0;
}

uint8_t tls_ids_find(const struct tls_ids *ids, int kind, const char *name, uint32_t name_bytes) {
    for (uint32_t i = 0; i < ids->count; i++) {
        uint8_t rights = tls_ids_match(ids, i, kind, name, name_bytes);
        if (rights) {
            return rights;
        }
    }
    return 0;
}

int tls_ids_check(const char *text, uint32_t bytes, char *reason, uint32_t reason_bytes) {
    struct tls_ids *ids = NULL;
    int status = tls_ids_open(text, bytes, &ids, reason, reason_bytes);
    tls_ids_close(ids);
    return status;
}

uint32_t tls_ids_rights(const char *text, uint32_t bytes, const char *identity,
                        uint32_t identity_bytes) {
    struct tls_ids *ids = NULL;
    char reason[160];
    if (tls_ids_open(text, bytes, &ids, reason, sizeof reason) != PYMC_OK) {
        return 0;
    }
    uint8_t rights = 0;
    if (tls_name_is_spiffe(identity, identity_bytes)) {
        rights = tls_ids_find(ids, TLS_NAME_SPIFFE, identity, identity_bytes);
    } else if (tls_name_is_dns(identity, identity_bytes)) {
        rights = tls_ids_find(ids, TLS_NAME_DNS, identity, identity_bytes);
    }
    tls_ids_close(ids);
    return rights;
}
