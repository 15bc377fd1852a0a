// Starting from weights that somebody trained: those of torchvision and timm, as exported by
// scripts/export_torch.py, and Fulcrum's own files.
//
//   load_pretrained(*model, "resnet50.safetensors");
//   // "pretrained: 318 tensors of resnet50.safetensors; fc starts anew: it has 1000 classes there, 10 here"
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include <fulcrum/layers/module.h>

namespace fulcrum::apps {

/// Fills the model with the file's numbers and says what was done. The head (head_prefix of models.h)
/// keeps its initial numbers where the file has another one, or none. All else must be there, and
/// nothing else: an Error lists every missing, unexpected and mis-shaped tensor and leaves the model
/// as it was.
/// So it does for other `classes`, where the file names its own. With `reset_head` the head keeps its numbers in any case.
/// `path` is a file, or a run directory: its best.safetensors.
std::string load_pretrained(Module& model, const std::filesystem::path& path, bool reset_head = false,
                            const std::vector<std::string>& classes = {});

}  // namespace fulcrum::apps
