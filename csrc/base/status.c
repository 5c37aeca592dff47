// Names of the status codes and of the build variant.
#include "base/status.h"

const char *pymc_status_name(int status) {
    switch (status) {
    case PYMC_OK: return "PYMC_OK";
    case PYMC_NO_MEMORY: return "PYMC_NO_MEMORY";
    case PYMC_TOO_LARGE: return "PYMC_TOO_LARGE";
    case PYMC_INVALID: return "PYMC_INVALID";
    case PYMC_OS_ERROR: return "PYMC_OS_ERROR";
    case PYMC_BUSY: return "PYMC_BUSY";
    case PYMC_NOT_FOUND: return "PYMC_NOT_FOUND";
    case PYMC_CORRUPT: return "PYMC_CORRUPT";
    default: return "PYMC_?";
    }
}

const char *pymc_build_variant(void) {
#if defined(__SANITIZE_ADDRESS__)
    return "asan";
#elif defined(__SANITIZE_THREAD__)
    return "tsan";
#elif defined(PYMC_COVERAGE)
    return "coverage";
#elif defined(PYMC_DEBUG)
    return "debug";
#else
    return "release";
#endif
}
