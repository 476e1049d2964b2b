/*
 * tensors.h - the model of a snapshot as named arrays, in the files of others.
 *
 * The parts of a snapshot, one per shard, are put together: a dense matrix is one
 * array, a sparse one is two, NAME.keys [n] in ascending order and NAME.values [n x
 * cols]. Values only: what an optimiser keeps beside them is of no use elsewhere.
 *
 *     safetensors   8 bytes of length, a JSON header, the arrays; see
 *                   https://github.com/huggingface/safetensors
 *     npy           a folder with a NAME.npy for each, NumPy's format 1.0
 *
 * Thread: any.
 */
#ifndef TOOLS_TENSORS_H
#define TOOLS_TENSORS_H

#include "server/snapshot/image.h"

#include <jansson.h>

struct tensor {
    char        name[PS_NAME_BYTES + 8];
    const char *safetensors, *npy; /* the words for its type */
    uint32_t    n_dims;
    uint64_t    dims[2];
    size_t      bytes;
    void       *data;
};

struct tensors {
    size_t         n; /* by name */
    struct tensor *list;
};

/*
 * Of all parts of a snapshot, in any order.  PS_ERR_DATA and a sentence when an element
 * is in none of them, or a row in two.
 */
ps_status tensors_of(struct psd_image *const *parts, uint32_t n,
                     struct tensors *out) PS_CHECKED;
void      tensors_free(struct tensors *t);

/* The file appears whole, or not at all.  `about`: an object of texts for its header.
 */
ps_status tensors_write_safetensors(const struct tensors *t, const json_t *about,
                                    const char *file) PS_CHECKED;

/* The folder is made when it is not there. */
ps_status tensors_write_npy(const struct tensors *t, const char *folder) PS_CHECKED;

#endif
