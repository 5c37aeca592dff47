// Waiting for a lock word: how long, and what a waiter tells the others about it.
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "shm/proc.h"

// How long a waiter may wait, counted in rounds because no clock is read here. One round spins;
// each of the next LOCK_YIELDS gives the processor away; each later one naps, LOCK_NAP_US at first
// and LOCK_NAP_US_MAX in the end. 0 rounds try once.
#define LOCK_YIELDS 20
#define LOCK_NAP_US 50
#define LOCK_NAP_US_MAX 1000
// Some one or two milliseconds: enough for an owner that runs, not for one that does not.
#define LOCK_ROUNDS_DEFAULT 40
// Only the end of the owner, or the watchdog, ends such a wait.
#define LOCK_ROUNDS_UNLIMITED 0xffffffff

// Waits until the word may be free again, and repairs after an owner that died.
//
// Takes the rounds it waited from *rounds_left, at least one, unless that is LOCK_ROUNDS_UNLIMITED.
// Returns false when there are none left and the word is still held; that counts lock_gave_up, and
// each call counts lock_waits. While it naps, the own slot says for whom (proc_read_pulse()), and
// the owner's slot counts how long others have waited for it.
// Owns nothing. Crash: the own slot goes on saying it until the slot is repaired.
bool lock_wait_bounded(struct proc *proc, const uint64_t *word, uint32_t *rounds_left);

// The same without an end.
void lock_wait(struct proc *proc, const uint64_t *word);

// Takes a lock that was just seen held: tries, waits, tries again. Callers in C use
// lock_take_bounded(). `rank` is an enum lock_rank.
bool lock_take_slowly(struct proc *proc, uint64_t *word, int rank, uint32_t rounds_left);
