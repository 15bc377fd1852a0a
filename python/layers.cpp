// The layers, each with a function that makes it, as a root or as a child: fulcrum/nn.py wraps them in classes.
#include "bindings.h"

#include <fulcrum/layers/layers.h>

namespace fulcrum::python {

namespace {

// Holds the children of a module whose forward is written in Python.
class Container : public Module {
 public:
  using Module::Module;
  Tensor forward(const Tensor&) override { fail("[nn] forward of ", full_name(), " is written in Python"); }

  template <class Layer, class... Args>
  Layer& attach(const std::string& name, Args&&... args) {
    return add<Layer>(name, std::forward<Args>(args)...);
  }
  using Module::add_buffer;
  using Module::add_parameter;
  using Module::adopt;
  using Module::release;
};

// A child of `parent` or, without one, a layer of its own, which has the initial weights of seed 0.
template <class Layer, class... Args>
nb::object make(const nb::object& parent, const std::string& name, Args&&... args) {
  if (parent.is_none()) return nb::cast(std::make_shared<Layer>(std::forward<Args>(args)...));
  Layer& child = nb::cast<Container&>(parent).attach<Layer>(name, std::forward<Args>(args)...);
  return nb::cast(&child, nb::rv_policy::reference_internal, parent);
}

template <class Layer>
void bind_plain(nb::module_& m, const char* type, const char* function) {
  nb::class_<Layer, Module>(m, type);
  m.def(
      function, [](const nb::object& parent, const std::string& name) { return make<Layer>(parent, name); },
      "parent"_a.none(), "name"_a);
}

void bind_weighted(nb::module_& m) {
  nb::class_<Conv2d, Module>(m, "_Conv2d")
      .def_prop_ro("weight", [](const Conv2d& layer) { return layer.weight; })
      .def_prop_ro("bias", [](const Conv2d& layer) { return or_none(layer.bias); });
  m.def(
      "_conv2d",
      [](const nb::object& parent, const std::string& name, int64_t in, int64_t out, const Pair& kernel,
         const Pair& stride, const Pair& padding, const Pair& dilation, int64_t groups, bool bias) {
        return make<Conv2d>(
            parent, name,
            Conv2dOptions{in, out, size2(kernel), size2(stride), size2(padding), size2(dilation), groups, bias});
      },
      "parent"_a.none(), "name"_a, "in_channels"_a, "out_channels"_a, "kernel_size"_a, "stride"_a, "padding"_a,
      "dilation"_a, "groups"_a, "bias"_a);

  nb::class_<Linear, Module>(m, "_Linear")
      .def_prop_ro("weight", [](const Linear& layer) { return layer.weight; })
      .def_prop_ro("bias", [](const Linear& layer) { return or_none(layer.bias); });
  m.def(
      "_linear",
      [](const nb::object& parent, const std::string& name, int64_t in, int64_t out, bool bias, bool relu) {
        return make<Linear>(parent, name, LinearOptions{in, out, bias, relu});
      },
      "parent"_a.none(), "name"_a, "in_features"_a, "out_features"_a, "bias"_a, "relu"_a);

  nb::class_<Embedding, Module>(m, "_Embedding").def_prop_ro("weight", [](const Embedding& layer) {
    return layer.weight;
  });
  m.def(
      "_embedding",
      [](const nb::object& parent, const std::string& name, int64_t num, int64_t dim) {
        return make<Embedding>(parent, name, EmbeddingOptions{num, dim});
      },
      "parent"_a.none(), "name"_a, "num_embeddings"_a, "embedding_dim"_a);

  nb::class_<NormedLinear, Module>(m, "_NormedLinear").def_prop_ro("weight", [](const NormedLinear& layer) {
    return layer.weight;
  });
  m.def(
      "_normed_linear",
      [](const nb::object& parent, const std::string& name, int64_t in, int64_t out) {
        return make<NormedLinear>(parent, name, NormedLinearOptions{in, out});
      },
      "parent"_a.none(), "name"_a, "in_features"_a, "out_features"_a);
}

template <class Norm>
nb::class_<Norm, Module> bind_norm(nb::module_& m, const char* type) {
  return nb::class_<Norm, Module>(m, type)
      .def_prop_ro("weight", [](const Norm& layer) { return or_none(layer.weight); })
      .def_prop_ro("bias", [](const Norm& layer) { return or_none(layer.bias); });
}

void bind_batch_norm(nb::module_& m) {
  bind_norm<BatchNorm>(m, "_BatchNorm")
      .def(
          "fused",
          [](BatchNorm& layer, const Tensor& x, const OptionalTensor& residual, bool relu) {
            return layer.fused(x, {or_undefined(residual), relu});
          },
          "x"_a, "residual"_a = nb::none(), "relu"_a = false, Unlocked())
      .def_ro("running_mean", &BatchNorm::running_mean)
      .def_ro("running_var", &BatchNorm::running_var);
  m.def(
      "_batch_norm",
      [](const nb::object& parent, const std::string& name, int64_t channels, double eps, double momentum,
         bool affine) {
        return make<BatchNorm>(parent, name, BatchNormLayerOptions{channels, eps, momentum, affine});
      },
      "parent"_a.none(), "name"_a, "num_features"_a, "eps"_a, "momentum"_a, "affine"_a);
}

void bind_norms(nb::module_& m) {
  bind_norm<LayerNorm>(m, "_LayerNorm");
  m.def(
      "_layer_norm",
      [](const nb::object& parent, const std::string& name, int64_t channels, double eps, bool affine) {
        return make<LayerNorm>(parent, name, LayerNormOptions{channels, eps, affine});
      },
      "parent"_a.none(), "name"_a, "normalized_shape"_a, "eps"_a, "elementwise_affine"_a);
  bind_norm<GroupNorm>(m, "_GroupNorm");
  m.def(
      "_group_norm",
      [](const nb::object& parent, const std::string& name, int64_t groups, int64_t channels, double eps, bool affine) {
        return make<GroupNorm>(parent, name, GroupNormOptions{groups, channels, eps, affine});
      },
      "parent"_a.none(), "name"_a, "num_groups"_a, "num_channels"_a, "eps"_a, "affine"_a);
}

void bind_rest(nb::module_& m) {
  nb::class_<Dropout, Module>(m, "_Dropout");
  m.def(
      "_dropout",
      [](const nb::object& parent, const std::string& name, double p) {
        return make<Dropout>(parent, name, DropoutOptions{p});
      },
      "parent"_a.none(), "name"_a, "p"_a);
  nb::class_<MaxPool2d, Module>(m, "_MaxPool2d");
  m.def(
      "_max_pool2d",
      [](const nb::object& parent, const std::string& name, const Pair& kernel, const Pair& stride,
         const Pair& padding) {
        return make<MaxPool2d>(parent, name, PoolOptions{size2(kernel), size2(stride), size2(padding)});
      },
      "parent"_a.none(), "name"_a, "kernel_size"_a, "stride"_a, "padding"_a);
  nb::class_<AvgPool2d, Module>(m, "_AvgPool2d");
  m.def(
      "_avg_pool2d",
      [](const nb::object& parent, const std::string& name, const Pair& kernel, const Pair& stride, const Pair& padding,
         bool count_include_pad) {
        return make<AvgPool2d>(parent, name,
                               PoolOptions{size2(kernel), size2(stride), size2(padding), count_include_pad});
      },
      "parent"_a.none(), "name"_a, "kernel_size"_a, "stride"_a, "padding"_a, "count_include_pad"_a);
  bind_plain<ReLU>(m, "_ReLU", "_relu");
  nb::class_<GELU, Module>(m, "_GELU");
  m.def(
      "_gelu",
      [](const nb::object& parent, const std::string& name, const std::string& approximate) {
        return make<GELU>(parent, name, GELUOptions{gelu_approximation(approximate)});
      },
      "parent"_a.none(), "name"_a, "approximate"_a);
  bind_plain<GlobalAvgPool2d>(m, "_GlobalAvgPool2d", "_global_avg_pool2d");
  bind_plain<Flatten>(m, "_Flatten", "_flatten");
}

}  // namespace

void bind_layers(nb::module_& m) {
  nb::class_<Container, Module>(m, "_Container")
      .def(
          "add_parameter",
          [](Container& module, const std::string& name, const Tensor& value) { module.add_parameter(name, value); },
          "name"_a, "value"_a)
      .def(
          "add_buffer",
          [](Container& module, const std::string& name, const Tensor& value) { module.add_buffer(name, value); },
          "name"_a, "value"_a)
      .def(
          "adopt",
          [](Container& module, const std::string& name, const std::shared_ptr<Module>& child) {
            module.adopt(name, child);
          },
          "name"_a, "child"_a)
      .def(
          "release", [](Container& module, Module& child) { module.release(child); }, "child"_a);
  m.def(
      "_container",
      [](const nb::object& parent, const std::string& name, uint64_t seed) {
        if (parent.is_none()) return nb::cast(std::make_shared<Container>(seed));
        return make<Container>(parent, name);
      },
      "parent"_a.none(), "name"_a, "seed"_a);
  bind_weighted(m);
  bind_batch_norm(m);
  bind_norms(m);
  bind_rest(m);
}

}  // namespace fulcrum::python
