// The extension fulcrum._core: exceptions, modes, the machine, and the calls of all parts in order.
#include <memory>

#include "bindings.h"

#include <fulcrum/core/autograd.h>
#include <fulcrum/core/backends.h>
#include <fulcrum/core/inference_mode.h>
#include <fulcrum/core/memory.h>
#include <fulcrum/core/recompute.h>

namespace fulcrum::python {

namespace {

// `with fulcrum.no_grad():`, on the thread that enters it. May be nested.
template <class Guard>
class Context {
 public:
  Context() = default;
  Context(const Context&) = delete;
  Context& operator=(const Context&) = delete;
  void enter() { guards_.push_back(std::make_unique<Guard>()); }
  void exit() {
    check(!guards_.empty(), "[mode] expected to be entered before it is left");
    guards_.pop_back();
  }

 private:
  std::vector<std::unique_ptr<Guard>> guards_;
};

template <class Guard>
void bind_context(nb::module_& m, const char* name, const char* text) {
  nb::class_<Context<Guard>>(m, name, text)
      .def(nb::init<>())
      .def("__enter__", &Context<Guard>::enter)
      .def("__exit__", [](Context<Guard>& context, nb::args) { context.exit(); })
      .def(
          "__call__",
          [](const nb::handle& context, const nb::object& function) {
            return nb::module_::import_("fulcrum").attr("_within")(context.type(), function);
          },
          "function"_a, nb::sig("def __call__(self, function: collections.abc.Callable) -> collections.abc.Callable"),
          "As a decorator, runs the function in this mode: `@fulcrum.no_grad()`.");
}

void bind_modes(nb::module_& m) {
  bind_context<NoGrad>(m, "no_grad", "While entered, this thread records no gradients: `with fulcrum.no_grad():`.");
  bind_context<InferenceMode>(
      m, "inference_mode",
      "no_grad, plus a promise that weights do not change: the CPU prepares them in the first call and reuses the "
      "result in later ones. `with fulcrum.inference_mode():`.");
  m.def(
      "_recompute",
      [](const std::function<nb::object(const std::vector<Tensor>&)>& f, const std::vector<Tensor>& inputs) {
        const auto one = [f](const std::vector<Tensor>& again) {
          const nb::gil_scoped_acquire acquire;
          const nb::object y = f(again);
          check(nb::isinstance<Tensor>(y), "[recompute] expected a function that returns one tensor, got ",
                nb::inst_name(y).c_str());
          return nb::cast<Tensor>(y);
        };
        return recompute(one, inputs);
      },
      "function"_a, "inputs"_a, Unlocked());
  m.def("grad_enabled", &grad_enabled, "Whether operations on this thread record their gradients.");
}

void bind_machine(nb::module_& m) {
  m.def(
      "backends",
      [] {
        std::vector<std::pair<std::string, std::string>> all;
        for (const Backend& b : backends()) all.emplace_back(b.device.str(), b.description);
        return all;
      },
      "(device, description) of everything this build and machine can compute on; the CPU first.");
  m.def(
      "memory_stats",
      [](const std::string& device) {
        const MemoryStats s = memory_stats(Device(device));
        return std::map<std::string, size_t>{{"allocated", s.allocated},
                                             {"reserved", s.reserved},
                                             {"peak", s.peak},
                                             {"system_requests", s.system_requests}};
      },
      "device"_a = "cpu",
      "Statistics of the tensors' memory pool, in bytes: allocated (in use now), reserved (taken from the system), "
      "peak (largest allocated); and system_requests, the number of requests to the system.");
  m.def(
      "empty_cache", [](const std::string& device) { empty_cache(Device(device)); }, "device"_a = "cpu",
      "Returns cached memory to the system.");
}

}  // namespace

NB_MODULE(_core, m) {
  // No leak warnings: a script's globals may still hold objects when the interpreter ends, and a Python risk in an
  // optimiser is a cycle that the interpreter does not break then.
  nb::set_leak_warnings(false);
  m.doc() = "The compiled part of Fulcrum; `import fulcrum` shows all of it.";
  m.attr("__version__") = FULCRUM_VERSION;
  const nb::exception<Error> error(m, "Error", PyExc_RuntimeError);
  nb::exception<OutOfMemory>(m, "OutOfMemory", error);
  bind_tensor(m);
  bind_modes(m);
  bind_machine(m);
  bind_ops(m);
  bind_losses(m);
  bind_modules(m);
  bind_layers(m);
  bind_files(m);
  bind_risks(m);
  bind_optimizers(m);
  bind_datasets(m);
  bind_listings(m);
  bind_loader(m);
  bind_metrics(m);
}

}  // namespace fulcrum::python
