// A door for tests and fuzzers: the server's side of a TLS connection over memory, without sockets.
#pragma once

#include "tls/tls.h"

struct proc;
struct tls_rig;

// What a step came to.
enum tls_rig_step {
    TLS_RIG_WAITS,    // For more of the client's bytes.
    TLS_RIG_DONE,     // The handshake is done, and the client admitted.
    TLS_RIG_FAILED    // tls_rig_failure() says why. Nothing but that may be asked any more.
};

// Gives a context its clock and counters, as an engine does.
void tls_rig_serve(struct tls_context *context, struct proc *proc);
// Begins the server's side of a connection. Returns NULL without memory. Holds the context. Owns:
// the caller, until tls_rig_close().
struct tls_rig *tls_rig_open(struct tls_context *context, int door);
void tls_rig_close(struct tls_rig *rig);

// The client's bytes go in, the server's come out; returns how many.
uint32_t tls_rig_feed(struct tls_rig *rig, const char *bytes, uint32_t count);
uint32_t tls_rig_drain(struct tls_rig *rig, char *bytes, uint32_t count);

// Goes on with the handshake: an enum tls_rig_step.
int tls_rig_step(struct tls_rig *rig);
int tls_rig_failure(const struct tls_rig *rig);
// The line for the log; ends with NUL.
const char *tls_rig_line(const struct tls_rig *rig);

// Of one that is done: whom it talks to, its rights, and whether it resumed a session.
const char *tls_rig_identity(const struct tls_rig *rig);
uint32_t tls_rig_rights(const struct tls_rig *rig);
bool tls_rig_is_resumed(const struct tls_rig *rig);
// Whether a newer context would admit it: rights, or 0.
uint32_t tls_rig_still_admitted(const struct tls_rig *rig, struct tls_context *context);

// Data of one that is done: how many bytes were read or written, 0 for none, -1 after an error.
int tls_rig_read(struct tls_rig *rig, char *bytes, uint32_t count);
int tls_rig_write(struct tls_rig *rig, const char *bytes, uint32_t count);
