#include "apps/checkpoint.h"

#include <set>

#include <fulcrum/core/cuda_options.h>
#include <fulcrum/core/serialize.h>

namespace fulcrum::apps {

namespace {

const std::string kEma = "ema.";

// A live tensor under its name in the file.
struct Entry {
  std::string name;
  Tensor tensor;
  bool convolution;
};

std::vector<Entry> live_entries(RunState& state) {
  std::vector<Entry> entries;
  std::vector<NamedTensor> trained;
  for (const NamedTensor& p : state.model.named_parameters())
    if (p.tensor.requires_grad()) trained.push_back(p);
  for (const auto& [slot, views] : state.optimizer.slots())
    for (size_t i = 0; i < views.size(); i++)
      entries.push_back({"optim." + slot + "." + trained[i].name, views[i], trained[i].convolution});
  for (const auto& [name, tensor] : state.optimizer.state())
    entries.push_back({"state." + name, tensor, false});
  for (const auto& [name, generator] : state.model.named_generators())
    entries.push_back({"state.generator." + name, generator->position, false});
  for (const auto& [name, tensor] : state.tensors) entries.push_back({"state." + name, tensor, false});
  if (state.ema)
    for (const NamedTensor& t : state.ema->tensors())
      entries.push_back({kEma + t.name, t.tensor, t.convolution});
  return entries;
}

bool is_run_state(const std::string& name) {
  return name.starts_with("optim.") || name.starts_with("state.") || name.starts_with(kEma);
}

bool is_risk_state(const std::string& name) { return name.starts_with("state.risk."); }

// The file's tensors for the entries, in memory layout; a line in `problems` for each that lacks.
std::vector<Tensor> match(const std::vector<Entry>& entries, const TensorFile& file, bool other_risk,
                          std::string& problems) {
  std::vector<Tensor> found;
  std::set<std::string> known;
  for (const Entry& e : entries) {
    known.insert(e.name);
    const auto it = file.tensors.find(e.name);
    Tensor t = it == file.tensors.end() ? Tensor() : it->second;
    if (!t) {
      if (!other_risk || !is_risk_state(e.name)) problems += "\n  missing: " + e.name;
    } else {
      if (e.convolution && t.dim() == 4) t = from_oihw(t);
      if (t.shape() != e.tensor.shape() || t.dtype() != e.tensor.dtype())
        problems += concat_text("\n  ", e.name, ": expected ", e.tensor.dtype(), " ", e.tensor.shape(),
                                ", got ", t.dtype(), " ", t.shape());
    }
    found.push_back(t);
  }
  for (const auto& [name, tensor] : file.tensors)
    if (is_run_state(name) && !known.contains(name) && !(other_risk && is_risk_state(name)))
      problems += "\n  unexpected: " + name;
  return found;
}

}  // namespace

TensorMap model_tensors(const TensorFile& file) {
  TensorMap model;
  for (const auto& [name, tensor] : file.tensors)
    if (!is_run_state(name)) model[name] = tensor;
  return model;
}

TensorMap evaluated_tensors(const TensorFile& file) {
  TensorMap model = model_tensors(file);
  for (const auto& [name, tensor] : file.tensors)
    if (name.starts_with(kEma)) model[name.substr(kEma.size())] = tensor;
  return model;
}

void save_checkpoint(const std::filesystem::path& path, RunState& state, const std::string& config,
                     uint64_t data_checksum) {
  TensorFile file{state.model.state_dict(), {}};
  for (const Entry& e : live_entries(state))
    file.tensors[e.name] = e.convolution ? to_oihw(e.tensor) : e.tensor;
  const RunProgress& p = state.progress;
  nlohmann::json progress = {{"epoch", p.epoch}, {"batch", p.batch}, {"best", p.best}, {"latest", p.latest}};
  if (p.non_finite) progress["non_finite"] = true;
  file.metadata = {{"format", "fulcrum-run-1"},
                   {"config", config},
                   {"data", std::to_string(data_checksum)},
                   {"progress", progress.dump()}};
  if (!state.optimizer.control().device().is_cpu()) file.metadata["cudnn_plans"] = cudnn_plans();
  save_tensors(path, file);
}

void load_checkpoint(const std::filesystem::path& path, RunState& state, uint64_t data_checksum,
                     bool other_risk) {
  const TensorFile file = load_tensors(path);
  const auto text = [&](const char* key) {
    const auto it = file.metadata.find(key);
    check(it != file.metadata.end(), "[resume] ", path.string(), ": expected metadata '", key,
          "'; this is not the full state of a run");
    return it->second;
  };
  check(text("data") == std::to_string(data_checksum), "[resume] ", path.string(),
        ": the training data are not those of the checkpoint (checksum ", data_checksum, ", expected ",
        text("data"), ")");
  const nlohmann::json progress = nlohmann::json::parse(text("progress"), nullptr, false);
  const auto is_count = [&](const char* key) { return progress.contains(key) && progress[key].is_number_unsigned(); };
  check(progress.is_object() && is_count("epoch") && is_count("batch"), "[resume] ", path.string(),
        ": expected JSON with epoch and batch in metadata 'progress'");
  const std::vector<Entry> entries = live_entries(state);
  std::string problems;
  const std::vector<Tensor> values = match(entries, file, other_risk, problems);
  check(problems.empty(), "[resume] ", path.string(), ": a checkpoint of another run:", problems);
  if (const auto plans = file.metadata.find("cudnn_plans"); plans != file.metadata.end())
    load_cudnn_plans(plans->second);
  state.model.load_state_dict(model_tensors(file));
  for (size_t i = 0; i < entries.size(); i++) {
    Tensor live = entries[i].tensor;
    if (values[i]) live.copy_from(values[i]);
  }
  state.progress = {progress["epoch"], progress["batch"], progress.value("best", nlohmann::json()),
                    progress.value("latest", nlohmann::json())};
}

}  // namespace fulcrum::apps
