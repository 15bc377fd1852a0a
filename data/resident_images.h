// resident_images: keeps a data set's images in a GPU's memory if they fit, so that batches are gathered there.
// Internal to data/.
//
//   Tensor all = resident_images(dataset, Device("cuda"));   // u8 [N, H, W, C], or undefined: read batch by batch
//
// The loaders of a data set share the images, as they were when the first loader was created. They fit if all data sets
// together take at most a quarter of the memory that would be free on the device without them. Data sets whose read()
// decodes (Dataset::decoded()) are never resident: files are not decoded before the epoch that needs them.
#pragma once

#include <fulcrum/data/dataset.h>

namespace fulcrum {

/// The images on `device`, or an undefined tensor. On the CPU, returns dataset.images().
Tensor resident_images(const Dataset& dataset, Device device);

}  // namespace fulcrum
