// The cross entropy where rounding could take it out of the domain of φ, and what it refuses.
#include "testing.h"

#include <algorithm>

#include <fulcrum/core/class_vectors.h>

namespace fulcrum::testing {
namespace {

// The label has the largest of the scaled and shifted logits, and nearly all of the probability.
TEST(CrossEntropy, IsNotBelowZero) {
  for (const int64_t classes : {2, 3, 10, 100}) {
    const Tensor z =
        random_tensor({500, classes}, static_cast<uint64_t>(classes), -15, 15, DType::kF32).set_requires_grad();
    std::vector<int64_t> counts;
    for (int64_t c = 0; c < classes; c++) counts.push_back(1 + 17 * c);
    CrossEntropyArgs args{.adjust = log_prior(counts), .scale = 30};
    const auto winners = argmax(z.detach() * args.scale + args.adjust).to_vector();
    const Tensor labels = labels_of({winners.begin(), winners.end()});
    for (const Phi& phi : {Phi{}, Phi::focal(0.5), Phi::focal(1.5), Phi::focal(2), Phi::gce(0.7), Phi::js(0.5)}) {
      args.phi = phi;
      Tensor(z).set_grad({});
      const Tensor losses = cross_entropy(z, labels, args);
      EXPECT_GE(std::ranges::min(losses.to_vector()), 0);
      sum(losses).backward();
      for (const double g : z.grad().to_vector()) ASSERT_TRUE(std::isfinite(g));
    }
  }
}

TEST(CrossEntropy, KeepsANan) {
  const Tensor z = from_vector({1, 2}, {std::numeric_limits<double>::quiet_NaN(), 1});
  EXPECT_TRUE(std::isnan(cross_entropy(z, labels_of({0})).item()));
}

TEST(CrossEntropy, VectorsOfClassesHaveNoGradient) {
  const Tensor z = zeros({2, 3}).set_requires_grad(), learned = ones({3}).set_requires_grad();
  const Tensor labels = labels_of({0, 1});
  for (const CrossEntropyArgs& args :
       {CrossEntropyArgs{.adjust = learned}, CrossEntropyArgs{.margin = learned},
        CrossEntropyArgs{.class_weight = learned}, CrossEntropyArgs{.temperature = learned}})
    EXPECT_ERROR(cross_entropy(z, labels, args), "and temperature without a gradient, which they do not get");
}

}  // namespace
}  // namespace fulcrum::testing
