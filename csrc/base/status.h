// What can go wrong in an operation of the core: operating errors, never outcomes such as hit or
// miss.
#pragma once

// 0 is success; every other value is returned to a caller that must look at it (MUST_CHECK).
enum pymc_status {
    PYMC_OK = 0,
    PYMC_NO_MEMORY = -1,    // The arena, a pool or the system has none left; nothing was changed.
    PYMC_TOO_LARGE = -2,    // The object can never fit; trying again is of no use.
    PYMC_INVALID = -3,      // An argument is outside its documented range.
    PYMC_OS_ERROR = -4,     // A system call failed; errno says why.
    PYMC_BUSY = -5,         // Somebody else is doing this now; try again later.
    PYMC_NOT_FOUND = -6,    // The named thing does not exist.
    PYMC_CORRUPT = -7       // Shared state contradicts itself; the owner decides what to wipe.
};

// Returns the constant's name, "PYMC_?" for an unknown value; never NULL, never freed.
const char *pymc_status_name(int status);

// Says how this library was built: "release", "debug", "asan", "tsan" or "coverage".
const char *pymc_build_variant(void);
