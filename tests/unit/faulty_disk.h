/*
 * faulty_disk.h - a disk for vaults that lets one call fail, and that remembers what
 * was written so that a crash can be played at any moment.
 *
 * Covers the vault's own calls (faulty_disk) and SQLite's, whose files go through a VFS
 * that counts and records as well.  Nothing is made durable in earnest: what a crash
 * leaves is for the record to say.
 */
#ifndef TESTS_UNIT_FAULTY_DISK_H
#define TESTS_UNIT_FAULTY_DISK_H

#include "server/snapshot/disk.h"

#include <stdbool.h>
#include <stdint.h>

extern const struct psd_disk_ops faulty_disk;

/* Makes SQLite use it, from the next file on. */
void faulty_begin(void);

enum faulty_how {
    FAULTY_FULL,   /* the disk is full; what makes something durable fails with EIO */
    FAULTY_BROKEN, /* EIO, also of reads */
    FAULTY_SHORT,  /* the vault's reads and writes do only a part of it */
    FAULTY_INTERRUPTED, /* its reads, writes and fsync, by a signal */
    FAULTY_HOWS,
};

/* Of the calls from now on that can fail so the nth does, 0: none; is it still to come?
 * Did it make something durable, or remove a file? */
void faulty_fail(uint64_t nth, enum faulty_how how);
bool faulty_waits(void);
bool faulty_was_sync(void);
bool faulty_was_unlink(void);

/* From now on everything below `folder` is recorded; how many operations so far. */
void   faulty_record(const char *folder);
size_t faulty_recorded(void);
void   faulty_forget(void);

/*
 * What may be on the disk when the power goes after the first n operations, in
 * `folder`, which is empty: of what was not made durable some is there, some is not,
 * and some is there in part.  Seed 0: nothing of it is there.
 */
void faulty_crash(size_t n, uint64_t seed, const char *folder);

#endif
