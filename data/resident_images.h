// A data set's images in a GPU's memory, where they fit: batches are then gathered there. Internal to data/.
//
//   Tensor all = resident_images(dataset, Device("cuda"));   // u8 [N, H, W, C], or undefined: read batch by batch
//
// The loaders of a data set share them, as they were when the first was made. They fit where all data sets together take at
// most a quarter of what the device would have free without them, and where reading them is copying: files are not decoded
// ahead of the epoch that needs them.
#pragma once

#include <fulcrum/data/dataset.h>

namespace fulcrum {

/// On the CPU what the data set has in memory anyway.
Tensor resident_images(const Dataset& dataset, Device device);

}  // namespace fulcrum
