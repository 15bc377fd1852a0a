// The subcommands: each registers itself with the command line.
#pragma once

#include <functional>
#include <string>

#include <fulcrum/core/types.h>

#include "apps/config.h"

namespace CLI {
class App;
}

namespace fulcrum::apps {

/// What runs after the command line has been read; returns the exit code.
using Command = std::function<int()>;

void add_train_command(CLI::App& app, Command& command);
void add_eval_command(CLI::App& app, Command& command);
void add_predict_command(CLI::App& app, Command& command);
void add_export_command(CLI::App& app, Command& command);
void add_lr_find_command(CLI::App& app, Command& command);
void add_doctor_command(CLI::App& app, Command& command);
void add_completion_command(CLI::App& app, Command& command);
void add_man_command(CLI::App& app, Command& command);
void add_bench_command(CLI::App& app, Command& command);
void add_info_command(CLI::App& app, Command& command);
void add_report_command(CLI::App& app, Command& command);
void add_data_command(CLI::App& app, Command& command);
void add_reproduce_command(CLI::App& app, Command& command);
void add_sweep_command(CLI::App& app, Command& command);

/// Applies train.threads and returns the number of threads in use.
int use_threads(const Config& config);
/// Selects the device and applies its options. Throws Error if this build or machine does not have the device.
void use_device(const TrainSettings& settings);
/// "AMD EPYC, AVX2, oneDNN 2.6.2, 2 threads".
std::string backend_text(Device device, int threads);

}  // namespace fulcrum::apps
