/*
 * backoff - when to start again what died: at once the first time, then after
 * 0.1 s, doubling to 30 s; forgiven after a life of 60 s. Pure.
 */
#ifndef MASTER_BACKOFF_H
#define MASTER_BACKOFF_H

#include <stdint.h>

#define BACKOFF_FIRST_MS   100
#define BACKOFF_MOST_MS    30000
#define BACKOFF_FORGIVE_MS 60000

/* The wait in ms after a life of lived_ms; *failures counts short lives. */
uint64_t backoff_next(unsigned *failures, uint64_t lived_ms);

#endif
