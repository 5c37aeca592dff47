/* A connection beside those that work, which watches log streams and throws the lines away. */
#pragma once

#include "channel.h"

/* Connects and asks for the streams of --watch, if any. Ends the process when that is refused. Its
 * own thread reads from then on, for as long as the process lives. */
void watcher_start(const struct options *o);
/* How much it has got so far. */
uint64_t watcher_bytes(void);
