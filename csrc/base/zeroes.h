// Memory that was only ever set to zeroes goes back to the system.
#pragma once

#include <stdint.h>

// Gives back the whole pages between `address` and `address + bytes` that hold nothing but zeroes;
// they read as zeroes as before. The memory has to be private and anonymous, as malloc()'s is.
// Returns the bytes given back.
uint64_t zeroes_give_back(uint64_t address, uint64_t bytes);
