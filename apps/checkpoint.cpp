#include "apps/checkpoint.h"

#include <map>
#include <set>

#include <fulcrum/core/serialize.h>

#include "apps/json_text.h"
#include "apps/say.h"
#include "apps/sealed_file.h"

namespace fulcrum::apps {

namespace {

namespace fs = std::filesystem;

const std::string kEma = "ema.";

std::string plans_key(size_t process) { return process == 0 ? "cudnn_plans" : concat_text("cudnn_plans.", process); }

// A live tensor under its name in the file.
struct Entry {
  std::string name;
  Tensor tensor;
  bool convolution;
};

// The names of an optimiser's parameters, which are in the order of its groups.
std::vector<NamedTensor> names_of(const std::vector<Tensor>& parameters, const Module& model) {
  std::map<const Node*, NamedTensor> by_node;
  for (const NamedTensor& p : model.named_parameters())
    if (p.tensor.node()) by_node.emplace(p.tensor.node().get(), p);
  std::vector<NamedTensor> named;
  for (const Tensor& p : parameters) named.push_back(by_node.at(p.node().get()));
  return named;
}

std::vector<Entry> live_entries(RunState& state) {
  std::vector<Entry> entries;
  const std::vector<NamedTensor> trained = names_of(state.optimizer.parameters(), state.model);
  for (const auto& [slot, views] : state.optimizer.slots())
    for (size_t i = 0; i < views.size(); i++)
      entries.push_back({"optim." + slot + "." + trained[i].name, views[i], trained[i].convolution});
  for (const auto& [name, tensor] : state.optimizer.state()) entries.push_back({"state." + name, tensor, false});
  for (const auto& [name, generator] : state.model.named_generators())
    entries.push_back({"state.generator." + name, generator->position, false});
  for (const auto& [name, tensor] : state.tensors) entries.push_back({"state." + name, tensor, false});
  if (state.ema)
    for (const NamedTensor& t : state.ema->tensors()) entries.push_back({kEma + t.name, t.tensor, t.convolution});
  return entries;
}

bool is_run_state(const std::string& name) {
  return name.starts_with("optim.") || name.starts_with("state.") || name.starts_with(kEma);
}

bool is_risk_state(const std::string& name) { return name.starts_with("state.risk."); }

// The file's tensors for the entries, in memory layout; adds a line to `problems` for each that is missing, does not
// fit or is unexpected.
std::vector<Tensor> match(const std::vector<Entry>& entries, const TensorFile& file, bool other_risk,
                          std::string& problems) {
  std::vector<Tensor> found;
  std::set<std::string> known;
  for (const Entry& e : entries) {
    known.insert(e.name);
    const auto it = file.tensors.find(e.name);
    Tensor t = it == file.tensors.end() ? Tensor() : it->second;
    if (t && e.convolution && t.dim() == 4) t = from_oihw(t);
    const bool fits = t && t.shape() == e.tensor.shape() && t.dtype() == e.tensor.dtype();
    if (!fits && other_risk && is_risk_state(e.name)) t = Tensor();
    else if (!t) problems += "\n  missing: " + e.name;
    else if (!fits)
      problems += concat_text("\n  ", e.name, ": expected ", e.tensor.dtype(), " ", e.tensor.shape(), ", got ",
                              t.dtype(), " ", t.shape());
    found.push_back(t);
  }
  for (const auto& [name, tensor] : file.tensors)
    if (is_run_state(name) && !known.contains(name) && !(other_risk && is_risk_state(name)))
      problems += "\n  unexpected: " + name;
  return found;
}

RunProgress progress_in(const std::map<std::string, std::string>& metadata, const fs::path& path) {
  const auto text = metadata.find("progress");
  check(text != metadata.end(), "[resume] ", path.string(),
        ": expected metadata 'progress'; this is not the full state of a run");
  const nlohmann::json p = nlohmann::json::parse(text->second, nullptr, false);
  const auto is_count = [&](const char* key) { return p.contains(key) && p[key].is_number_unsigned(); };
  check(p.is_object() && is_count("epoch") && is_count("batch"), "[resume] ", path.string(),
        ": expected JSON with epoch and batch in metadata 'progress'");
  return {p["epoch"], p["batch"], p.value("best", nlohmann::json()), p.value("latest", nlohmann::json()),
          p.value("non_finite", false)};
}

// Links the checkpoint that is about to be replaced as previous.safetensors; copies it if the file system has no links.
void keep_previous(const fs::path& path) {
  const fs::path previous = path.parent_path() / "previous.safetensors", beside = previous.string() + ".tmp";
  std::error_code error;
  // A run that was killed right after this function leaves both names for one file.
  if (!fs::exists(path) || fs::equivalent(path, previous, error)) return;
  fs::remove(beside, error);
  fs::create_hard_link(path, beside, error);
  if (error) fs::copy_file(path, beside, error);
  if (!error) fs::rename(beside, previous, error);
  check(!error, "[checkpoint] cannot keep ", path.string(), " as ", previous.string(), ": ", error.message());
}

// What is wrong with the file; empty if it is whole.
std::string damage_of(const fs::path& path) {
  try {
    load_sealed(path);
  } catch (const Error& e) {
    return e.what();
  }
  return "";
}

}  // namespace

bool recover_checkpoint(const fs::path& run) {
  const fs::path last = run / "last.safetensors", previous = run / "previous.safetensors";
  if (!fs::exists(last) && !fs::exists(previous)) return false;
  const std::string damage = damage_of(last);
  if (damage.empty()) return true;
  check(fs::exists(previous), damage);
  const std::string other = damage_of(previous);
  check(other.empty(), damage, "\n", other);
  fs::rename(previous, last);  // atomic: a second interruption also finds a whole checkpoint
  say("warning: {}\nwarning: resuming from the checkpoint before it\n", damage);
  return true;
}

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
                     const DataChecksums& data, const std::string& inputs) {
  TensorFile file{state.model.state_dict(), {}};
  for (const Entry& e : live_entries(state)) file.tensors[e.name] = e.convolution ? to_oihw(e.tensor) : e.tensor;
  const RunProgress& p = state.progress;
  nlohmann::json progress = {{"epoch", p.epoch}, {"batch", p.batch}, {"best", p.best}, {"latest", p.latest}};
  if (p.non_finite) progress["non_finite"] = true;
  file.metadata = {{"format", "fulcrum-run-1"},
                   {"config", config},
                   {"data", std::to_string(data.training)},
                   {"test_data", std::to_string(data.test)},
                   {"progress", json_text(progress)}};
  if (!inputs.empty()) file.metadata["inputs"] = inputs;
  for (size_t i = 0; i < state.plans.size(); i++) file.metadata[plans_key(i)] = state.plans[i];
  keep_previous(path);
  save_sealed(path, std::move(file));
}

RunProgress stored_progress(const fs::path& path) { return progress_in(read_tensor_index(path).metadata, path); }

std::optional<RunProgress> readable_progress(const fs::path& run) {
  const fs::path last = run / "last.safetensors", previous = run / "previous.safetensors";
  if (!fs::exists(last) && !fs::exists(previous)) return std::nullopt;
  try {
    return stored_progress(last);
  } catch (const Error&) {
    if (!fs::exists(previous)) throw;
    return stored_progress(previous);
  }
}

void adopt_checkpoint(const fs::path& path, const std::string& config, bool without_risk) {
  TensorFile file = load_sealed(path);
  file.metadata["config"] = config;
  if (without_risk)  // the statistics belong to every risk
    std::erase_if(file.tensors,
                  [](const auto& t) { return is_risk_state(t.first) && t.first != "state.risk.statistics"; });
  save_sealed(path, std::move(file));
}

void load_checkpoint(const std::filesystem::path& path, RunState& state, const DataChecksums& data, bool other_risk) {
  const TensorFile file = load_sealed(path);
  const auto text = [&](const char* key) {
    const auto it = file.metadata.find(key);
    check(it != file.metadata.end(), "[resume] ", path.string(), ": expected metadata '", key,
          "'; this is not the full state of a run");
    return it->second;
  };
  const auto check_data = [&](const char* key, const char* part, uint64_t found) {
    check(text(key) == std::to_string(found), "[resume] ", path.string(), ": the ", part,
          " data are not those of the checkpoint (checksum ", found, ", expected ", text(key), ")");
  };
  check_data("data", "training", data.training);
  if (file.metadata.contains("test_data")) check_data("test_data", "test", data.test);  // earlier builds wrote none
  RunProgress progress = progress_in(file.metadata, path);
  const std::vector<Entry> entries = live_entries(state);
  std::string problems;
  const std::vector<Tensor> values = match(entries, file, other_risk, problems);
  check(problems.empty(), "[resume] ", path.string(), ": a checkpoint of another run:", problems);
  state.plans.clear();
  for (auto at = file.metadata.find(plans_key(0)); at != file.metadata.end();
       at = file.metadata.find(plans_key(state.plans.size())))
    state.plans.push_back(at->second);
  state.model.load_state_dict(model_tensors(file));
  for (size_t i = 0; i < entries.size(); i++) {
    Tensor live = entries[i].tensor;
    if (values[i]) live.copy_from(values[i]);
  }
  state.progress = std::move(progress);
  state.progress.non_finite = false;  // tried again
}

}  // namespace fulcrum::apps
