/*
 * fuzz.h - what the fuzzing harnesses share: bytes as numbers, texts and messages, and
 * the properties that hold for whatever comes.
 *
 * A harness is one file with LLVMFuzzerTestOneInput.  `make fuzz` links it with
 * libFuzzer; `make check` links it with replay.c, which runs the inputs of
 * tests/fuzz/corpus, so that what was found once stays found with any compiler.
 *
 * Small numbers, which mean most, are one byte.  Reading never fails: behind the end of
 * the input everything is 0.
 */
#ifndef TESTS_FUZZ_FUZZ_H
#define TESTS_FUZZ_FUZZ_H

#include "common/wire/wire.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n_bytes);

/* A property of the program does not hold: says which, and ends the process. */
#define fuzz_require(holds)                                                            \
    do {                                                                               \
        if (!(holds))                                                                  \
            fuzz_broken(__FILE__, __LINE__, #holds);                                   \
    } while (0)
void fuzz_broken(const char *file, int line, const char *what)
    __attribute__((noreturn));

/*
 * One fault is one line: between the two calls exactly one sentence was said if `st` is
 * a failure, and none if it is not.  Sentences are printable and on one line.
 */
void fuzz_listen(void);
void fuzz_heard(ps_status st);

/* ---- bytes --------------------------------------------------------------------- */

struct fuzz_input {
    const uint8_t *at;
    size_t         left;
};

uint8_t  fuzz_byte(struct fuzz_input *in);
uint64_t fuzz_number(struct fuzz_input *in);
double   fuzz_double(struct fuzz_input *in);

/* At most `want` of the bytes that come next; returns how many there are. */
size_t fuzz_take(struct fuzz_input *in, size_t want, const uint8_t **out);

/* A block of exactly these bytes, so that one read too many is found. */
struct ps_buf *fuzz_buf(const void *bytes, size_t n_bytes);

/* A file that holds the bytes, until the next call with the same `slot` (0 to 1);
 * returns its name. */
const char *fuzz_file(unsigned slot, const void *bytes, size_t n_bytes);

/* ---- messages ------------------------------------------------------------------ */

#define FUZZ_LIST_MAX 8u
#define FUZZ_FRAMES_MAX 4u
#define FUZZ_FRAME_BYTES 65536u

/* A message as the input describes it; `h` may be changed before it is packed. */
struct fuzz_message {
    struct ps_header        h;
    char                    text[64], name[32], token[32];
    struct ps_job_spec      job_spec;
    struct ps_matrix_spec   matrices[FUZZ_LIST_MAX];
    struct ps_range         ranges[FUZZ_LIST_MAX];
    struct ps_slot_run      slot_runs[FUZZ_LIST_MAX];
    struct ps_part          sets[FUZZ_LIST_MAX];
    struct ps_member        members[FUZZ_LIST_MAX];
    struct ps_report_record reports[FUZZ_LIST_MAX];
    const char             *endpoints[FUZZ_LIST_MAX];
    char                    endpoint[FUZZ_LIST_MAX][32];
    struct ps_traffic       traffic;
    struct ps_job_stats     stats[FUZZ_LIST_MAX];

    const uint8_t *raw; /* not NULL: the header's bytes, in place of all that */
    size_t         raw_bytes;
    uint32_t       n_frames;
    struct ps_buf *frames[FUZZ_FRAMES_MAX];
};

void fuzz_message(struct fuzz_input *in, struct fuzz_message *m);

/* Takes the frames.  False: a message that cannot be written; nothing is kept. */
bool fuzz_pack(struct fuzz_message *m, const struct ps_route *route,
               struct ps_parcel *out);

/* What left is well formed; gives its header, valid until the next call. */
const struct ps_header *fuzz_sent(const struct ps_parcel *parcel);

#endif
