// Classification metrics of a data set from its logits.
//
//   Metrics m = classification_metrics(logits, labels, train_counts);
//   m.top1; m.balanced; m.per_class[3]; m.many;           // shares in [0, 1]; NaN where undefined
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include <fulcrum/core/tensor.h>

namespace fulcrum {

struct Metrics {
  int64_t count = 0;
  double loss = 0;  // mean plain cross entropy
  double top1 = 0;
  double top5 = 0;
  double balanced = 0;                   // mean over classes of the recall (Brodersen et al., 2010)
  double worst = 0;                      // smallest recall of a class
  double many = 0, medium = 0, few = 0;  // mean recall of classes with > 100, 20–100, < 20 samples
  double macro_f1 = 0;                   // mean F1 of the classes that occur in the labels or the predictions
  double ece = 0;                        // expected calibration error, 15 bins (Guo et al., ICML 2017)
  double auroc = 0, auprc = 0;           // of class 1 against class 0; NaN unless there are two
  std::vector<double> per_class;         // recall [C]; NaN for a class without samples
};

/// logits f32 [N, C]; labels [N]; train_counts [C]: training samples of each class, which sort the
/// classes into many, medium and few (Liu et al., CVPR 2019). The logits are on the CPU. Throws Error for labels outside
/// [0, C) and for other sizes.
Metrics classification_metrics(const Tensor& logits, std::span<const int64_t> labels,
                               std::span<const int64_t> train_counts);

}  // namespace fulcrum
