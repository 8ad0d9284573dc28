/* SPDX-License-Identifier: Apache-2.0 */
/* Pictures on disk: files, folders, folders by class, list files. */
#ifndef EFFNET_TOOLS_DATASET_H
#define EFFNET_TOOLS_DATASET_H

#include "cli.h"

/* Pictures in a fixed order. label is -1 where it is unknown. */
typedef struct Dataset {
    char **paths;
    int *labels;
    size_t n;
    char **classes; /* names of the class folders, sorted; NULL when there are none */
    size_t n_classes;
} Dataset;

/* Add a picture, or all pictures of a folder and its sub-folders by name (hidden ones are left out); "-" is stdin. */
EffStatus dataset_add(Dataset *d, const char *path);

/*
 * Labelled pictures of a folder: one sub-folder a class (numbered in sorted order), or files named INDEX_anything.jpg.
 * @return EFF_ERR_FORMAT when a label cannot be told or the folder has no picture.
 */
EffStatus dataset_open_dir(Dataset *out, const char *dir);

/* Lines "PATH LABEL"; paths are relative to the list's folder. Empty lines and lines that start with # are skipped. */
EffStatus dataset_open_list(Dataset *out, const char *list);

/* Keep n pictures, evenly spread; all when there are no more. */
void dataset_spread(Dataset *d, size_t n);

/* Move n < from->n pictures, evenly spread, into *out, which is empty. EFF_ERR_NOMEM. */
EffStatus dataset_split(Dataset *out, Dataset *from, size_t n);

void dataset_free(Dataset *d);

#endif
