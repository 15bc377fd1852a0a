#include <fulcrum/layers/models.h>

#include <fulcrum/layers/imagenet_resnet.h>
#include <fulcrum/layers/mlp.h>
#include <fulcrum/layers/resnet.h>
#include <fulcrum/layers/sce_cnn.h>

namespace fulcrum {

namespace {

template <auto make>
std::unique_ptr<Classifier> of_cifar(const ModelOptions& o) {
  check(o.stem.empty() || o.stem == "cifar", "[model] expected the stem cifar for a network of CIFAR, got '", o.stem,
        "'");
  ResnetOptions own{.channels = o.channels,
                    .dropout = o.dropout,
                    .normed_head = o.normed_head,
                    .seed = o.seed,
                    .recompute = o.recompute};
  own.classes = o.classes.value_or(own.classes);
  return std::unique_ptr<Classifier>(new Resnet(make(own)));
}

template <auto make>
std::unique_ptr<Classifier> of_imagenet(const ModelOptions& o) {
  ImagenetResnetOptions own{.channels = o.channels,
                            .dropout = o.dropout,
                            .normed_head = o.normed_head,
                            .seed = o.seed,
                            .recompute = o.recompute};
  own.classes = o.classes.value_or(own.classes);
  if (!o.stem.empty()) own.stem = o.stem;
  return std::unique_ptr<Classifier>(new ImagenetResnet(make(own)));
}

template <class Network, class Options>
std::unique_ptr<Classifier> without_blocks(const ModelOptions& o) {
  check(o.stem.empty(), "[model] expected no stem for a network without a choice of one, got '", o.stem, "'");
  check(!o.recompute, "[model] recompute: expected a network of residual blocks, got one without");
  Options own{
      .channels = o.channels, .image = o.image, .dropout = o.dropout, .normed_head = o.normed_head, .seed = o.seed};
  own.classes = o.classes.value_or(own.classes);
  return std::make_unique<Network>(own);
}

struct NamedModel {
  const char* name;
  std::unique_ptr<Classifier> (*make)(const ModelOptions&);
};

constexpr NamedModel kModels[] = {{"resnet8", of_cifar<resnet8>},
                                  {"resnet20", of_cifar<resnet20>},
                                  {"resnet32", of_cifar<resnet32>},
                                  {"resnet44", of_cifar<resnet44>},
                                  {"resnet56", of_cifar<resnet56>},
                                  {"resnet110", of_cifar<resnet110>},
                                  {"resnet10", of_imagenet<resnet10>},
                                  {"resnet18", of_imagenet<resnet18>},
                                  {"resnet34", of_imagenet<resnet34>},
                                  {"resnet50", of_imagenet<resnet50>},
                                  {"resnet101", of_imagenet<resnet101>},
                                  {"resnet152", of_imagenet<resnet152>},
                                  {"resnext50_32x4d", of_imagenet<resnext50_32x4d>},
                                  {"sce_cnn", without_blocks<SceCnn, SceCnnOptions>},
                                  {"mlp", without_blocks<Mlp, MlpOptions>}};

const Module& head_of(const Module& network) {
  check(!network.children().empty(), "[model] expected a network whose last child is its head, got no children");
  return *network.children().back();
}

}  // namespace

std::unique_ptr<Classifier> make_model(std::string_view name, const ModelOptions& options) {
  std::string known;
  for (const NamedModel& m : kModels) {
    if (m.name == name) return m.make(options);
    known += (known.empty() ? "" : ", ") + std::string(m.name);
  }
  fail("[model] expected one of ", known, ", got '", name, "'");
}

std::vector<std::string> model_names() {
  std::vector<std::string> names;
  for (const NamedModel& m : kModels) names.emplace_back(m.name);
  return names;
}

std::string head_prefix(const Module& network) { return head_of(network).name() + "."; }

void freeze_backbone(Module& network) {
  const Module& head = head_of(network);
  for (const auto& child : network.children())
    if (child.get() != &head && child->num_parameters() > 0) child->freeze();
}

}  // namespace fulcrum
