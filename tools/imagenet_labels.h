/* SPDX-License-Identifier: Apache-2.0 */
/* Names of the ImageNet classes (synset lemmas), in the order of the sorted synsets. Made from data/imagenet1k.txt. */
#ifndef EFFNET_TOOLS_IMAGENET_LABELS_H
#define EFFNET_TOOLS_IMAGENET_LABELS_H

enum { EFF_IMAGENET_CLASSES = 1000 };
extern const char *const eff_imagenet_labels[1000];

#endif
