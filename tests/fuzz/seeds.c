/*
 * seeds.c - writes inputs for the harnesses to begin with: what a cluster really says,
 * small data sets, the configuration files of the project.
 *
 *     seeds CORPUS CONF
 *
 * Messages stand as message.c reads them; those of wire.t go through the encoder.
 */
#include "tests/fuzz/fuzz.h"

#include "server/shard/progress.h"
#include "server/snapshot/stream.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

static const char *corpus;

static void write_seed(const char *harness, const char *name, const void *bytes,
                       size_t n_bytes)
{
    char  path[4096];
    FILE *file;

    snprintf(path, sizeof(path), "%s/%s/%s", corpus, harness, name);
    file = fopen(path, "wb");
    if (!file || fwrite(bytes, 1, n_bytes, file) != n_bytes || fclose(file)) {
        fprintf(stderr, "seeds: %s: cannot be written: %m\n", path);
        exit(EXIT_FAILURE);
    }
}

/* ---- messages ------------------------------------------------------------------ */

/* A message, or several steps that begin with what the harness takes first. */
struct seed {
    const char *name, *bytes;
    size_t      n_bytes;
};

#define SEED(name, bytes)                                                              \
    {                                                                                  \
        name, bytes, sizeof(bytes) - 1                                                 \
    }

/* Kinds are those of enum ps_kind. */
#define ERROR "\x01"
#define OK "\x03"
#define HELLO "\x0a"
#define WELCOME "\x0b"
#define MATRIX "\x0c"
#define MATRIX_OK "\x0d"
#define LIST "\x0e"
#define LIST_OK "\x0f"
#define REPORT "\x10"
#define BEAT "\x11"
#define BYE "\x12"
#define STATUS "\x13"
#define WATCH "\x15"
#define JOIN "\x1e"
#define PART "\x20"
#define JOB "\x28"
#define JOB_END "\x29"
#define MATRIX_ADD "\x2a"
#define MEMBERS "\x2b"
#define STATS "\x2c"
#define SETS "\x2e"
#define LOAD "\x30"
#define SNAPSHOT "\x31"
#define RESUME "\x38"
#define STATS_OK "\x2d"
#define PUSH "\x32"
#define PUSH_OK "\x33"
#define PULL "\x34"
#define PULL_OK "\x35"
#define ROWS "\x36"
#define ROWS_OK "\x37"

/* Name, workers, strategy, spares, slack, scale, lambda, aggregate, on_loss, nonfinite,
 * optimiser, rate, schedule with period and factor. */
#define SPEC(strategy)                                                                 \
    "J\x03"                                                                            \
    "one\x02" strategy "\x00\x03\x01\x01\x01\x01\x01\x01\x10\x01\x01\x10"
/* Name, number, type, sparse, rows, columns, init, optimiser, decay, row limit. */
#define DENSE                                                                          \
    "M\x01\x01w\x04\x01\x00\x0a\x05\x02\x00\x10\x00\xf8"                               \
    "\x00\x00"
#define SPARSE                                                                         \
    "M\x01\x01t\x05\x01\x01\x00\x04\x01\x10\x10\x00\xf8"                               \
    "\x08\x01"
#define ONE_SHARD "S\x01\x00\x01"
#define ALL_SLOTS "S\x01\x00\xf8\x00\x10"
#define TWO_MEMBERS                                                                    \
    "B\x02\x00\x01\x02\x0a\x00\x01\x01\x02\x0b"                                        \
    "\x00"

static const struct seed headers[] = {
    SEED("error", ERROR "q\x07!\xfe"
                        "T\x08no space#\x03"
                        "c\x05"),
    SEED("hello", HELLO "q\x01"
                        "N\x03one" SPEC("\x01") "K\x06secretP\x4d"),
    SEED("welcome", WELCOME "q\x01s\x0aj\x01i\x01"
                            "e\x05"
                            "D\x02\x03ipc\x03tcp" SPEC("\x03")),
    SEED("matrix", MATRIX "q\x02s\x0a"
                          "f\x04" DENSE),
    SEED("matrix_ok", MATRIX_OK "q\x02" DENSE ONE_SHARD),
    SEED("matrix_add", MATRIX_ADD "j\x01s\xc8" SPARSE ALL_SLOTS),
    SEED("report", REPORT "q\x03#\x01V\x01\x01\x02\x03\x00\x20\x04lossC\x05\x06\x07"),
    SEED("members", MEMBERS "j\x01s\xc8"
                            "E\x02" TWO_MEMBERS),
    SEED("stats_ok", STATS_OK "q\x04"
                              "A\x02\x00\x01\x02\x03\x04\x01\x05\x06\x07\x08"),
    SEED("push", PUSH "j\x01s\x0ai\x01"
                      "e\x00#\x01"
                      "c\x01p\x01"
                      "f\x01W\x10R\x02\x01\x00\x0a\x02\x00\x0a"),
    SEED("pull", PULL "j\x01s\x0ai\x01w\x64"
                      "c\x00R\x01\x01\x00\x32"),
};

/* A job of the shard harness, then what its two workers say. */
#define PEER(n) "m" n
#define WHO(n, session) "j\x01s" session "r" n "i\x01"
#define STOP "."

#define WHOLE "R\x01\x01\x00\x32"
#define ONES "F\x04\x31\x00\x00\x80\x3f" /* 50 times */
#define DENSE_PUSH(rank, session, clock)                                               \
    PEER(rank)                                                                         \
    PUSH WHO(rank, session) "q\x05#" clock "c" clock "p\x01"                           \
                            "f\x03W\x10" WHOLE ONES STOP
#define DENSE_PULL(rank, session, clock)                                               \
    PEER(rank)                                                                         \
    PULL WHO(rank, session) "q\x06"                                                    \
                            "c" clock WHOLE STOP
#define KEYS "F\x10\x00\x07\x00\x00\x00\x00\x00\x00\x00\x09\x00\x00\x00\x00\x00\x00\x00"
#define SPARSE_PUSH(rank, session, clock)                                              \
    PEER(rank)                                                                         \
    PUSH WHO(rank, session) "q\x07#" clock "c" clock "p\x01"                           \
                            "f\x01W\x10R\x01\x03\x00\x02" KEYS                         \
                            "F\x04\x09\x00\x00\x80\x3f" STOP
#define BOTH(strategy, t1, t2)                                                         \
    strategy DENSE_PULL("\x00", "\x0a", "\x00") DENSE_PUSH("\x00", "\x0a", t1)         \
        DENSE_PUSH("\x01", "\x0b", t1) SPARSE_PUSH("\x00", "\x0a", t2)                 \
            SPARSE_PUSH("\x01", "\x0b", t2) DENSE_PULL("\x01", "\x0b", t2)

static const struct seed shards[] = {
    SEED("bsp", BOTH("\x00", "\x01", "\x02")),
    SEED("bsp_adam", BOTH("\x04", "\x01", "\x02")),
    SEED("asp", BOTH("\x01", "\x01", "\x02")),
    SEED("asp_versions", BOTH("\x21", "\x01", "\x02")),
    SEED("asp_delay", BOTH("\x31", "\x01", "\x02")),
    SEED("ssp", BOTH("\x12", "\x01", "\x02")),
    SEED("backup", BOTH("\x03", "\x01", "\x02")),
    SEED("rows", "\x01" SPARSE_PUSH("\x00", "\x0a", "\x01") PEER("\x00")
                     ROWS WHO("\x00", "\x0a") "R\x01\x03\x00\x08" STOP),
    SEED("rest",
         "\x00" DENSE_PUSH("\x00", "\x0a", "\x01") DENSE_PUSH("\x01", "\x0b", "\x01")
             PEER("\x00") PUSH WHO("\x00", "\x0a") "q\x08#\x02"
                                                   "c\x01"
                                                   "f\x10" STOP PEER("\x01") PUSH WHO(
                                                       "\x01", "\x0b") "q\x08#\x02"
                                                                       "c\x01"
                                                                       "f\x10" STOP),
    SEED("waits", "\x00" DENSE_PULL("\x00", "\x0a", "\x02") "t\x64" PEER("\x01")
                      PULL WHO("\x01", "\x0b") "q\x09"
                                               "c\x01w\x32" WHOLE STOP "t\x64"),
    SEED("saved", BOTH("\x80", "\x01", "\x02") PEER("\x03") SNAPSHOT
         "q\x01j\x01s\xc8"
         "c\x02" STOP PEER("\x03") JOB "q\x02j\x01s\xc8n\x01"
                                       "a\x01" SPEC("\x02") STOP PEER("\x03") SETS
         "q\x03s\xc8" STOP                                       PEER("\x03") LOAD
         "q\x04j\x01s\xc8Z\x01\x00\x01\x02\x00" STOP             PEER("\x00")
             RESUME WHO("\x00", "\x0a") STOP),
    SEED("control", "\x00" PEER("\x03") MEMBERS
         "q\x01j\x01s\xc8"
         "E\x02"
         "B\x01\x01\x01\x03\x00\x00" STOP         PEER("\x03") MATRIX_ADD
         "q\x02j\x01s\xc8" SPARSE ALL_SLOTS STOP  PEER("\x03") JOB
         "q\x03j\x02s\xc8n\x01" SPEC("\x02") STOP PEER("\x03") STATS
         "q\x04s\xc8" STOP PEER("\x03") JOB_END "q\x05j\x01s\xc8"),
};

#define ANSWER "a\x00"
#define JOINED                                                                         \
    PEER("\x00")                                                                       \
    HELLO "q\x01P\x4d"                                                                 \
          "N\x04host" SPEC("\x01") STOP ANSWER ANSWER PEER("\x01") HELLO               \
        "q\x01r\x01P\x4e"                                                              \
        "N\x04host" SPEC("\x01") STOP ANSWER ANSWER ANSWER ANSWER

static const struct seed coordinators[] = {
    SEED("join", "\x00" JOINED),
    SEED("matrix",
         "\x00" JOINED PEER("\x00") MATRIX "q\x02s\x00i\x01"
                                           "f\x04" DENSE STOP ANSWER ANSWER PEER("\x01")
                                               LIST "q\x03s\x01r\x01i\x01" STOP),
    SEED("report", "\x00" JOINED PEER("\x00") REPORT
         "q\x02s\x00i\x01#\x01V\x01\x01\x02\x03\x00\x20\x04loss" STOP PEER("\x02") WATCH
         "q\x03N\x03one" STOP PEER("\x01") BEAT "q\x04s\x01r\x01i\x01" STOP),
    SEED("bye", "\x00" JOINED PEER("\x00") BYE
         "q\x02s\x00i\x01" STOP ANSWER ANSWER        PEER("\x01") BYE
         "q\x02s\x01r\x01i\x01T\x04done" STOP ANSWER ANSWER),
    SEED("silent", "\x00" JOINED "t\x14" ANSWER "r\x00"
                   "t\x20"),
    SEED("status", "\x01" PEER("\x03") STATUS "q\x02K\x06secret" STOP ANSWER ANSWER),
    SEED("servers", "\x00" PEER("\x02") JOIN
         "q\x01N\x05there"
         "D\x01\x07ipc://xP\x05s\x63" STOP JOINED PEER("\x02") PART "q\x02s\x00" STOP),
};

#define FROM(n) "f" n
#define WELCOMED                                                                       \
    "\x00" FROM("\x00") WELCOME "q\x01s\x0aj\x01i\x01"                                 \
                                "e\x05"                                                \
                                "D\x01\x03ipc" SPEC("\x01") STOP
#define OPENED                                                                         \
    WELCOMED "om\x01\x00\x00\x01\x0a\x05\x01" FROM("\x00") MATRIX_OK                   \
        "q\x02M\x01\x02m1\x01\x01\x00\x0a\x05\x00\x00\x00\x00\xf8\x00\x00"             \
        "S\x01\x00\x01" STOP "x\x01"

static const struct seed clients[] = {
    SEED("welcome", WELCOMED),
    SEED("pull", OPENED "ov\x02\x02\x00\x00\x32" FROM("\x01") PULL_OK
         "q\x03v\x05" ONES STOP "x\x02"),
    SEED("push", OPENED "ov\x02\x07\x00\x00\x32" FROM("\x01") PULL_OK
         "q\x03v\x05#\x01" ONES STOP "x\x02"),
    SEED("refused", OPENED "ov\x02\x05\x00\x00\x32" FROM("\x01") ERROR
         "q\x03!\xfeT\x02no" STOP FROM("\x01") PUSH_OK "q\x04" STOP),
    SEED("rest", OPENED "oe\x02" FROM("\x01") PUSH_OK "q\x03"
                                                      "c\x04#\x01" STOP "od\x03"
                                                      "or\x04"
                                                      "t\xf8\xff\x00" FROM("\x00") OK
         "q\x04" STOP "ob\x05"),
    SEED("list", OPENED "ol\x02" FROM("\x00") LIST_OK "q\x03" DENSE STOP),
};

static void write_seeds(const char *harness, const struct seed *seeds, size_t n)
{
    for (size_t i = 0; i < n; i++)
        write_seed(harness, seeds[i].name, seeds[i].bytes, seeds[i].n_bytes);
}

static void write_headers(void)
{
    for (size_t i = 0; i < sizeof(headers) / sizeof(headers[0]); i++) {
        struct fuzz_input   in = { (const uint8_t *)headers[i].bytes,
                                   headers[i].n_bytes };
        struct fuzz_message m;
        struct ps_buf      *bytes;

        fuzz_message(&in, &m);
        fuzz_require(ps_wire_encode(&m.h, &bytes) == PS_OK);
        write_seed("wire", headers[i].name, bytes->data, bytes->len);
        ps_buf_drop(&bytes);
    }
}

/* ---- two ends on one host ------------------------------------------------------ */

#define KEY "0123456789abcdef"
#define WORD(word, number, bytes)                                                      \
    "\x02" word "\0\0\0\x02\0\0\0" number "\0\0\0\0\0\0\0" bytes "\0\0\0\0\0\0\0" KEY

static const struct seed nears[] = {
    SEED("lent", "\x01\x00\x00\x02"),
    SEED("lent_often", "\x01\x02\x00\x00\x00\x01"
                       "\x01\x00\x00\x00\x01\x01\x00\x00\x03"),
    SEED("bent", "\x01\x02\x01\x09\x02\x01\x04\x08\x00"
                 "\x01\x00\x08\x10\x00\x01\x00\x10\x05\x01"),
    SEED("sheet", "\x03\x00\x03\x00\x00"),
    SEED("sheet_bent", "\x03\x01\x01\x01\x02\x00"
                       "\x03\x02\x02\x08\x01\x01"
                       "\x03\x03\x04\x40\x02\x00"),
    SEED("where", "\x00\x18\x00\x01\x02\x00\x00\x00\x00\x00" KEY "\x00"),
    SEED("loans", "\x00\x40\x00\x03\x02\x01\x00\x00\x00\x00" KEY
                  "\x01\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0"
                  "\0\0\0\0\0\0\0\0\x08\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01"),
    SEED("hello", WORD("\x01", "\0", "\0") "\x01"),
    SEED("segment", "\x01\x00\x00\x00" WORD("\x04", "\x09", "\x40") "\x01"),
    SEED("gone", "\x01\x00\x00\x00" WORD("\x05", "\x01", "\0") "\x01"
                                                               "\x01\x00\x00\x00"),
};

/* ---- small messages that travel as one ------------------------------------------ */

#define GROUP(n) "\0\x04\x01\0" n "\0\0\0" KEY
#define PARCEL(head, frames) head "\0\0\0" frames "\0\0\0"

static const struct seed groups[] = {
    SEED("two", GROUP("\x02") PARCEL("\x01", "\0") "h\0\0\0\0\0\0\0" PARCEL(
                    "\x08", "\x02") "\x03\0\0\0\x09\0\0\0"
                                    "theheads"
                                    "one\0\0\0\0\0"
                                    "frame two\0\0\0\0\0\0\0"),
    SEED("empty_frame", GROUP("\x01") PARCEL("\x02", "\x01") "\0\0\0\0\0\0\0\0"
                                                             "hd\0\0\0\0\0\0"),
    SEED("ends_early", GROUP("\x02") PARCEL("\x01", "\0") "h\0\0\0\0\0\0\0"),
};

/* ---- data ---------------------------------------------------------------------- */

static const struct seed data_sets[] = {
    SEED("csv", "c\x02\x07"
                "a,b,class\r\n1,2.5,0\n3,-4e2,1\n 5 , 6,1\n"),
    SEED("csv_first", "c\x01\x08"
                      "0.5,1\n-1,2\n"),
    SEED("libsvm", "l\x02\x00"
                   "+1 1:0.5 7:2 # a comment\n-1 2:1e-3\n\n+1\n"),
    SEED("idx", "i\x01\x1c"
                "\x00\x00\x08\x03\x00\x00\x00\x02\x00\x00\x00\x02\x00\x00\x00\x03"
                "abcdefghijkl"
                "\x00\x00\x08\x01\x00\x00\x00\x02\x03\x01"),
};

/* The first file through gzip, what stands before it left as it is. */
static void write_packed(const char *name, const struct seed *s, size_t before)
{
    uint8_t  packed[512];
    z_stream z = { .next_in = (Bytef *)s->bytes + before,
                   .avail_in = (uInt)(s->n_bytes - before),
                   .next_out = packed + before,
                   .avail_out = (uInt)(sizeof(packed) - before) };

    memcpy(packed, s->bytes, before);
    fuzz_require(deflateInit2(&z, 9, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY) ==
                 Z_OK);
    fuzz_require(deflate(&z, Z_FINISH) == Z_STREAM_END);
    write_seed("data", name, packed, before + z.total_out);
    deflateEnd(&z);
}

/* ---- snapshots ----------------------------------------------------------------- */

struct content {
    uint8_t bytes[8192];
    size_t  n;
};

static ps_status record(void *ctx, const void *bytes, size_t n)
{
    struct content *c = ctx;

    fuzz_require(n <= sizeof(c->bytes) - c->n);
    memcpy(c->bytes + c->n, bytes, n);
    c->n += n;
    return PS_OK;
}

static void add_matrix(struct psd_store *store, bool sparse)
{
    static const uint64_t       keys[] = { 3, 8, 1000 };
    const struct ps_matrix_spec spec = { .name = { sparse ? 't' : 'm' },
                                         .number = sparse ? 2 : 1,
                                         .dtype = PS_F32,
                                         .sparse = sparse,
                                         .rows = sparse ? 0 : 10,
                                         .cols = 3,
                                         .optimiser = PS_ADAGRAD,
                                         .max_rows = sparse ? 4 : 0,
                                         .evict = sparse ? PS_EVICT_LRU : 0,
                                         .weight_decay = NAN };
    struct ps_place             place;
    uint32_t                    places[3];

    ps_place_cut(&place, &spec);
    fuzz_require(psd_store_add(store, &spec, &place, 1) == PS_OK);
    if (!sparse)
        return;
    fuzz_require(psd_store_hold(psd_store_find(store, 2), keys, 3, places) == PS_OK);
    psd_store_release(psd_store_find(store, 2), places, 3);
}

/* Part `index` of n_shards, as it is when a job begins; only the first has matrices. */
static struct psd_image *an_image(uint32_t strategy, uint32_t index, uint32_t n_shards)
{
    struct psd_image *image = calloc(1, sizeof(*image));
    struct ps_header  h = { .job = 1, .n_shards = n_shards, .job_spec = &image->spec };
    struct psd_job   *job;

    fuzz_require(image != NULL);
    image->spec = ps_job_spec_default();
    image->spec.strategy = strategy;
    image->spec.workers = 2;
    strcpy(image->job, "j");
    strcpy(image->spec.name, "j");
    image->run = 5;
    image->index = index;
    image->n_shards = n_shards;
    image->life = image->set = image->version = 1;
    fuzz_require(psd_job_new(&job, &h) == PS_OK);
    for (int sparse = 0; index == 0 && sparse < 2; sparse++)
        add_matrix(job->store, sparse);
    fuzz_require(psd_progress_encode(job, &image->progress) == PS_OK &&
                 psd_store_capture(job->store, &image->model) == PS_OK);
    psd_job_free(&job);
    return image;
}

#define STREAM_HEAD 16u
#define BLOCK_HEAD 16u

/* n parts without their heads, each behind its length. */
static void write_parts(const char *name, uint32_t strategy, uint32_t n_shards)
{
    struct content all = { .bytes = { (uint8_t)(n_shards - 1) }, .n = 1 };

    for (uint32_t i = 0; i < n_shards; i++) {
        struct psd_image *image = an_image(strategy, i, n_shards);
        struct content    part = { .n = 0 };
        uint8_t           length[3] = { 0xf8 };

        fuzz_require(psd_image_write(image, record, &part) == PS_OK);
        psd_image_free(&image);
        if (n_shards == 1) {
            struct content raw = { .bytes = "r", .n = 1 };

            record(&raw, part.bytes, part.n);
            write_seed("snapshot", "raw", raw.bytes, raw.n);
        }
        part.n -= STREAM_HEAD + BLOCK_HEAD;
        length[1] = (uint8_t)part.n;
        length[2] = (uint8_t)(part.n >> 8);
        record(&all, length, sizeof(length));
        record(&all, part.bytes + STREAM_HEAD + BLOCK_HEAD, part.n);
    }
    write_seed("snapshot", name, all.bytes, all.n);
}

static void write_snapshots(void)
{
    write_parts("bsp", PS_BSP, 1);
    write_parts("asp", PS_ASP, 1);
    write_parts("two_parts", PS_BSP, 2);
    write_parts("three_parts", PS_SSP, 3);
}

/* The first byte: 0 writes.  Then per damage: file + 4 * what, place, content. */
static const struct seed vaults[] = {
    SEED("whole", "\x00"),
    SEED("bit", "\x01\x02\x40\x08"),
    SEED("manifest", "\x00\x00\xf8\x00\x08\x10"),
    SEED("schema", "\x01\x04\x70\x04"
                   "\n\x01;("),
    SEED("short", "\x00\x0b\x20"),
    SEED("gone", "\x00\x0f\x00"),
    SEED("epoch", "\x00\x05\x00\x02"
                  "x\n"),
};

/* ---- files --------------------------------------------------------------------- */

static void write_config(const char *conf, const char *file, char what,
                         const char *name, const char *sets, size_t n_sets)
{
    char   path[4096], bytes[16384];
    size_t n;
    FILE  *from;

    snprintf(path, sizeof(path), "%s/%s", conf, file);
    from = fopen(path, "rb");
    if (!from) {
        fprintf(stderr, "seeds: %s: cannot be read: %m\n", path);
        exit(EXIT_FAILURE);
    }
    bytes[0] = what;
    n = 1 + fread(bytes + 1, 1, 8192, from);
    fclose(from);
    memcpy(bytes + n, sets, n_sets);
    write_seed("config", name, bytes, n + n_sets);
}

int main(int argc, char **argv)
{
    static const char sets[] = "\0job.strategy=asp\0model.hidden=[3, 4]";

    if (argc != 3) {
        fprintf(stderr, "usage: seeds CORPUS CONF\n");
        return 64;
    }
    corpus = argv[1];
    write_headers();
    write_seeds("shard", shards, sizeof(shards) / sizeof(shards[0]));
    write_seeds("coordinator", coordinators,
                sizeof(coordinators) / sizeof(coordinators[0]));
    write_seeds("client", clients, sizeof(clients) / sizeof(clients[0]));
    write_seeds("data", data_sets, sizeof(data_sets) / sizeof(data_sets[0]));
    write_seeds("group", groups, sizeof(groups) / sizeof(groups[0]));
    write_seeds("near", nears, sizeof(nears) / sizeof(nears[0]));
    write_packed("csv_gz", &data_sets[0], 3);
    write_packed("libsvm_gz", &data_sets[2], 3);
    write_snapshots();
    write_seeds("vault", vaults, sizeof(vaults) / sizeof(vaults[0]));
    write_config(argv[2], "psd.yaml", 'd', "psd", "", 0);
    write_config(argv[2], "experiments/lenet-ssp.yaml", 'e', "lenet-ssp", sets,
                 sizeof(sets));
    write_config(argv[2], "experiments/wordvec-asp.yaml", 'e', "wordvec-asp", "", 0);
    write_config(argv[2], "experiments/lenet-nfetch.yaml", 'w', "lenet-nfetch", "", 0);
    return 0;
}
