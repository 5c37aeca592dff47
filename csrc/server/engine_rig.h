// A door for tests: the way of kernel TLS on machines whose kernel does not encrypt.
#pragma once

struct engine;

// New connections whose context wants the kernel stay on the way that leads to it, whether it takes
// their keys or not; OpenSSL encrypts then. Call after engine_set_tls().
void engine_pretend_kernel_tls(struct engine *engine);
