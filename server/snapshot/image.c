/* image.c - see image.h. */
#include "server/snapshot/image.h"

#include "server/store/capture.h"

#include <stdlib.h>

void psd_image_free(struct psd_image **image)
{
    struct psd_image *i = *image;

    *image = NULL;
    if (!i)
        return;
    ps_buf_drop(&i->progress);
    psd_capture_free(&i->model);
    free(i);
}
