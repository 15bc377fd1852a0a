// fulcrum.Module, Ema and the networks by name.
#include "bindings.h"

#include <fulcrum/core/autograd.h>
#include <fulcrum/layers/ema.h>
#include <fulcrum/layers/models.h>

namespace fulcrum::python {

namespace {

using NamedTensors = nb::typed<nb::dict, std::string, Tensor>;

NamedTensors by_name(const std::vector<NamedTensor>& tensors) {
  nb::dict all;
  for (const NamedTensor& t : tensors) all[t.name.c_str()] = nb::cast(t.tensor);
  return NamedTensors(all);
}

std::vector<std::pair<std::string, Tensor>> with_names(const std::vector<NamedTensor>& tensors) {
  std::vector<std::pair<std::string, Tensor>> all;
  for (const NamedTensor& t : tensors) all.emplace_back(t.name, t.tensor);
  return all;
}

TensorMap generator_state(Module& net) {
  TensorMap state;
  for (const auto& [name, generator] : net.named_generators())
    state.emplace(name, generator->position.clone().to(Device()));
  return state;
}

void load_generator_state(Module& net, const TensorMap& state) {
  auto generators = net.named_generators();
  for (const auto& [name, generator] : generators) {
    const auto found = state.find(name);
    check(found != state.end(), "[load_generator_state] the state lacks '", name, "'");
    const Tensor& position = found->second;
    check(position.shape() == generator->position.shape() && position.dtype() == DType::kI64,
          "[load_generator_state] expected '", name, "' i64 ", generator->position.shape(), ", got ", position.dtype(),
          " ", position.shape());
  }
  check(state.size() == generators.size(), "[load_generator_state] expected the ", generators.size(),
        " generators of this network, got ", state.size());
  for (auto& [name, generator] : generators) generator->position.copy_from(state.at(name));
}

std::optional<std::pair<std::string, std::string>> placement(const Module& net) {
  const auto parameters = net.named_parameters();
  if (parameters.empty()) return {};
  const Tensor& first = parameters[0].tensor;
  const bool twin = first.node() && first.node()->twin.defined();
  return std::pair{first.device().str(), std::string(twin ? "bf16" : name_of(first.dtype()))};
}

// Calls f(name, module) for a module, as '', and all below it, parents first.
template <class F>
void visit(Module& m, const std::string& name, const F& f) {
  f(name, m);
  for (const auto& child : m.children()) visit(*child, name.empty() ? child->name() : name + "." + child->name(), f);
}

using Modes = std::map<std::string, std::pair<bool, bool>>;

Modes modes(Module& net) {
  Modes all;
  visit(net, "", [&](const std::string& name, const Module& m) { all[name] = {m.frozen(), m.training()}; });
  return all;
}

// Of the modules that have one. Freezing comes first, since it ends training mode.
void set_modes(Module& net, const Modes& modes) {
  const auto each = [&](const auto& f) {
    visit(net, "", [&](const std::string& name, Module& m) {
      if (const auto found = modes.find(name); found != modes.end()) f(m, found->second);
    });
  };
  each([](Module& m, const auto& mode) {
    if (mode.first != m.frozen()) mode.first ? m.freeze() : m.unfreeze();
  });
  each([](Module& m, const auto& mode) {
    if (mode.second != m.training()) m.train(mode.second);
  });
}

// A network of make_model, which keeps its arguments; parts of it are not made by themselves.
nb::tuple reduced(const nb::object& net) {
  check(nb::hasattr(net, "_made"),
        "[copy] a part of a network of make_model has no copy of its own; the whole network has one");
  const nb::module_ copies = nb::module_::import_("fulcrum._copies");
  return nb::make_tuple(copies.attr("made_again"), nb::make_tuple(net.attr("_made"), copies.attr("saved")(net)));
}

std::string described(const Module& net) {
  std::string parts;
  for (const auto& child : net.children()) parts += (parts.empty() ? "" : ", ") + child->name();
  return concat_text("fulcrum.Module(", parts, parts.empty() ? "" : "; ", net.num_parameters(), " parameters)");
}

void bind_module(nb::module_& m) {
  nb::class_<Module>(m, "Module", "A tree of layers with named parameters and buffers. fulcrum.nn has the layers.")
      .def(
          "__call__", [](Module& net, const Tensor& x) { return net(x); }, "x"_a, Unlocked())
      .def(
          "train",
          [](Module& net, bool mode) -> Module& {
            net.train(mode);
            return net;
          },
          "mode"_a = true, nb::rv_policy::none,
          "Sets training mode (batch statistics and dropout), or evaluation mode if `mode` is False.")
      .def(
          "eval",
          [](Module& net) -> Module& {
            net.eval();
            return net;
          },
          nb::rv_policy::none)
      .def_prop_ro("training", &Module::training)
      .def("freeze", &Module::freeze,
           "Excludes the module from training: no gradients, always in evaluation mode. Call it before to() and "
           "before making the optimiser.")
      .def("unfreeze", &Module::unfreeze, "Undoes freeze() from the next train() on. Make a new optimiser afterwards.")
      .def("set_recompute", &Module::set_recompute, "on"_a = true,
           "If `on`, a call keeps only its input for the backward pass, in which it runs again.")
      .def("parameters", &Module::parameters, "The parameters that require a gradient, for an optimiser.")
      .def(
          "named_parameters", [](const Module& net) { return with_names(net.named_parameters()); },
          "(name, parameter) of every parameter, live; convolution weights [out, kh, kw, in].")
      .def(
          "named_buffers", [](const Module& net) { return with_names(net.named_buffers()); },
          "(name, tensor) of the state that is not trained: running statistics and counters, live.")
      .def("num_parameters", &Module::num_parameters)
      .def(
          "to",
          [](Module& net, const std::string& device, const std::string& dtype) -> Module& {
            net.to(Device(device), parse_dtype(dtype));
            return net;
          },
          "device"_a = "cpu", "dtype"_a = "f32", nb::rv_policy::none, Unlocked(),
          "Lays out all parameters and gradients on the device. `dtype` is the batches' dtype; 'bf16' keeps f32 "
          "master weights. Call it before making the optimiser.")
      .def("state_dict", &Module::state_dict, Unlocked(),
           "A copy on the CPU of parameters and buffers, under torchvision's names and with its layout: convolution "
           "weights [out, in, kh, kw].")
      .def(
          "load_state_dict",
          [](Module& net, const TensorMap& state, bool strict) {
            const LoadReport report = net.load_state_dict(state, strict);
            return std::make_pair(report.missing, report.unexpected);
          },
          "state"_a, "strict"_a = true, Unlocked(),
          "Loads parameters and buffers of any floating dtype; returns the names (missing, unexpected). Raises an "
          "Error that names every tensor that is missing, unexpected (if strict) or of another shape; then nothing "
          "is changed.")
      .def("generator_state", &generator_state, Unlocked(),
           "The positions of dropout's random generators by name, as copies i64 [1] on the CPU. Save them with "
           "state_dict() in a checkpoint so that training resumes bit for bit.")
      .def("load_generator_state", &load_generator_state, "state"_a, Unlocked(),
           "Raises an Error that names what is missing or unexpected; then nothing is changed.")
      .def("zero_grad", &Module::zero_grad, Unlocked())
      .def_prop_ro("_placement", &placement, "(device, dtype) of to(), or None without parameters.")
      .def("_modes", &modes, "{name: (frozen, training)} of every module.")
      .def("_set_modes", &set_modes, "modes"_a)
      .def("__reduce__", &reduced, nb::sig("def __reduce__(self) -> tuple"))
      .def("__repr__", &described, Unlocked())
      .def_prop_ro("name", &Module::full_name, "The module's path, such as 'layer1.0.bn2'; '' for the root.")
      .def(
          "children",
          [](Module& net) {
            std::vector<Module*> all;
            for (const auto& child : net.children()) all.push_back(child.get());
            return all;
          },
          nb::rv_policy::reference_internal, "Every child, in order.")
      .def(
          "named_children",
          [](Module& net) {
            std::vector<std::pair<std::string, Module*>> all;
            for (const auto& child : net.children()) all.emplace_back(child->name(), child.get());
            return all;
          },
          nb::rv_policy::reference_internal, "(name, module) of every child, in order.");
}

void bind_models(nb::module_& m) {
  nb::class_<Classifier, Module>(
      m, "Classifier", "A network of make_model: features, and a head that maps them to logits.", nb::dynamic_attr())
      .def("features", &Classifier::features, "x"_a, Unlocked(), "x → [N, D], the head's input.");
  m.def(
      "make_model",
      [](const std::string& name, std::optional<int64_t> classes, int64_t channels, double dropout, const Pair& image,
         bool normed_head, const std::string& stem, uint64_t seed, bool recompute) {
        // A shared pointer, so that a backward pass that runs the network again can hold it.
        std::shared_ptr<Classifier> net;
        {
          const nb::gil_scoped_release release;
          net = make_model(name, {classes, channels, dropout, size2(image), normed_head, stem, seed, recompute});
        }
        nb::object made = nb::cast(net);
        made.attr("_made") =
            nb::make_tuple(name, classes, channels, dropout, image, normed_head, stem, seed, recompute);
        return made;
      },
      "name"_a, "classes"_a = nb::none(), "channels"_a = 3, "dropout"_a = 0.0, "image"_a = 32, "normed_head"_a = false,
      "stem"_a = "", "seed"_a = 0, "recompute"_a = false,
      nb::sig(
          "def make_model(name: str, classes: int | None = None, channels: int = 3, dropout: float = 0.0, image: int | "
          "tuple[int, int] = 32, normed_head: bool = False, stem: str = '', seed: int = 0, recompute: bool = False) -> "
          "Classifier"),
      "The network of this name (model_names() lists them): [N, H, W, channels] → logits [N, classes].\n"
      "\n"
      "classes: by default the network's own, 10 or 1000; dropout: its probability before the head; image: height "
      "and width, which sce_cnn and mlp need; normed_head: cosines instead of a linear head (LDAM); stem: 'imagenet' "
      "or 'cifar'; seed: for the initial weights and dropout; recompute: residual blocks keep only their inputs and "
      "run again in the backward pass.");
  m.def("model_names", &model_names);
  m.def("head_prefix", &head_prefix, "network"_a, "The prefix of the names of the head's parameters, such as 'fc.'.");
  m.def("freeze_backbone", &freeze_backbone, "network"_a, "Freezes all but the head.");
}

// `with ema.applied():`; in C++ it is an RAII object.
class Applied {
 public:
  explicit Applied(Ema& ema) : ema_(ema) {}
  void enter() {
    check(!applied_, "[ema] the averages are applied already");
    applied_.emplace(ema_);
  }
  void exit() { applied_.reset(); }

 private:
  Ema& ema_;
  std::optional<Ema::Applied> applied_;
};

void bind_ema(nb::module_& m) {
  nb::class_<Applied>(m, "_Applied")
      .def("__enter__", &Applied::enter, Unlocked())
      .def("__exit__", [](Applied& applied, nb::args) { applied.exit(); });
  nb::class_<Ema>(
      m, "Ema",
      "An exponential moving average of a model's weights: average ← decay·average + (1 − decay)·value. Create it "
      "after model.to().")
      .def(nb::init<Module&, double>(), "model"_a, "decay"_a, nb::keep_alive<1, 2>())
      .def(
          "update", [](Ema& ema) { ema.update(); }, Unlocked(), "Updates the averages. Call it after opt.step().")
      .def(
          "tensors", [](const Ema& ema) { return by_name(ema.tensors()); }, "The averages by name, live.")
      .def(
          "applied", [](Ema& ema) { return new Applied(ema); }, nb::keep_alive<0, 1>(),
          "While entered, the model holds the averages: `with ema.applied(): evaluate(model)`.");
}

}  // namespace

void bind_modules(nb::module_& m) {
  bind_module(m);
  bind_models(m);
  bind_ema(m);
}

}  // namespace fulcrum::python
