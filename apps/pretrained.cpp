#include "apps/pretrained.h"

#include <fmt/format.h>

#include <fulcrum/layers/models.h>

#include "apps/checkpoint.h"
#include "apps/model_inputs.h"
#include "apps/sealed_file.h"

namespace fulcrum::apps {

namespace {

TensorMap head_of(const TensorMap& tensors, const std::string& prefix) {
  TensorMap head;
  for (const auto& [name, tensor] : tensors)
    if (name.starts_with(prefix)) head.emplace(name, tensor);
  return head;
}

bool same_shapes(const TensorMap& a, const TensorMap& b) {
  return std::ranges::equal(
      a, b, [](const auto& x, const auto& y) { return x.first == y.first && x.second.shape() == y.second.shape(); });
}

// Why the file's head cannot be used.
std::string difference(const TensorMap& theirs, const TensorMap& ours, const std::string& prefix) {
  if (theirs.empty()) return "the file has none";
  const auto there = theirs.find(prefix + "weight"), here = ours.find(prefix + "weight");
  if (there == theirs.end() || here == ours.end() || there->second.dim() != 2 ||
      there->second.size(0) == here->second.size(0))
    return "the file has one of another kind";
  return fmt::format("it has {} classes in the file, {} in the model", there->second.size(0), here->second.size(0));
}

}  // namespace

std::string load_pretrained(Module& model, const std::filesystem::path& path, bool reset_head,
                            const std::vector<std::string>& classes) {
  const std::filesystem::path file = std::filesystem::is_directory(path) ? path / "best.safetensors" : path;
  const TensorFile stored = load_sealed(file);
  const auto inputs = read_inputs(stored, file.string());
  const std::string renamed = inputs ? class_difference(inputs->classes, classes) : "";
  TensorMap tensors = evaluated_tensors(stored);
  const std::string prefix = head_prefix(model), head = prefix.substr(0, prefix.size() - 1);
  const TensorMap theirs = head_of(tensors, prefix), ours = head_of(model.state_dict(), prefix);
  const size_t in_file = tensors.size();
  std::string note;
  const bool fits = same_shapes(theirs, ours);
  if (reset_head || !fits || !renamed.empty()) {
    const std::string why = reset_head ? "model.reset_head" : !fits ? difference(theirs, ours, prefix) : renamed;
    note = "; " + head + " starts anew: " + why;
    for (const auto& [name, tensor] : theirs) tensors.erase(name);
    for (const auto& [name, tensor] : ours) tensors.emplace(name, tensor);
  }
  try {
    model.load_state_dict(tensors);
  } catch (const Error& e) {
    fail("[pretrained] ", file.string(), ": ", e.what());
  }
  const size_t used = note.empty() ? in_file : in_file - theirs.size();
  return fmt::format("pretrained: {} tensors of {}{}", used, file.string(), note);
}

}  // namespace fulcrum::apps
