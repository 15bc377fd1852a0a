// Which parameters are trained together: weight decay by name.
#include <fulcrum/layers/models.h>

#include "apps/parameters.h"
#include "program_testing.h"

namespace fulcrum::testing {
namespace {

using apps::OptimSettings;
using apps::parameter_groups;
using apps::UsageError;

// The weight decay of every parameter, by what a step without gradients leaves of it.
std::map<std::string, double> decays(const OptimSettings& settings) {
  const auto net = make_model("resnet8", {.seed = 1});
  net->to(Device());
  for (NamedTensor& p : net->named_parameters())
    if (p.name.ends_with("bias")) p.tensor.detach().copy_from(full(p.tensor.shape(), 0.5));
  const TensorMap before = net->state_dict();
  Sgd opt(parameter_groups(*net, settings), {.lr = 1, .weight_decay = settings.weight_decay});
  opt.zero_grad();
  opt.step();
  std::map<std::string, double> found;
  const TensorMap after = net->state_dict();
  for (const NamedTensor& p : net->named_parameters())
    found[p.name] = 1 - after.at(p.name).to_vector()[0] / before.at(p.name).to_vector()[0];
  return found;
}

TEST(WeightDecay, GoesByNameAndTheLastMatchWins) {
  OptimSettings settings{.weight_decay = 0.25};
  for (const auto& [name, decay] : decays(settings)) EXPECT_NEAR(decay, 0.25, 1e-6) << name;
  settings.weight_decay_of = {"layer1.*=0.5", "*bn*=0.125", "*.bias=0", "fc.weight=0.75"};
  const auto found = decays(settings);
  const std::pair<const char*, double> expected[] = {{"conv1.weight", 0.25},
                                                     {"layer1.0.conv1.weight", 0.5},
                                                     {"layer1.0.bn1.weight", 0.125},
                                                     {"layer1.0.bn1.bias", 0},
                                                     {"bn1.weight", 0.125},
                                                     {"layer2.0.conv2.weight", 0.25},
                                                     {"fc.weight", 0.75},
                                                     {"fc.bias", 0}};
  for (const auto& [name, decay] : expected) EXPECT_NEAR(found.at(name), decay, 1e-6) << name;
}

TEST(LearningRate, GoesByNameBesideTheWeightDecay) {
  const auto net = make_model("resnet8");
  const auto groups =
      parameter_groups(*net, {.lr = 0.5, .lr_of = {"fc.*=0.125", "fc.bias=0"}, .weight_decay_of = {"*.bias=0"}});
  // Others without and with the decay of a bias; the bias of the head; its weight.
  ASSERT_EQ(groups.size(), 4u);
  std::multimap<double, size_t> sizes;
  for (const auto& g : groups) sizes.emplace(g.lr_scale, g.parameters.size());
  EXPECT_EQ(sizes.count(1), 2u);
  EXPECT_EQ(sizes.find(0.25)->second, 1u);
  EXPECT_EQ(sizes.find(0)->second, 1u);
  EXPECT_THROW(parameter_groups(*net, {.lr_of = {"head.*=1"}}), UsageError);
  EXPECT_THROW(apps::check_parameter_patterns({.lr = 0, .lr_of = {"fc.*=1"}}), UsageError);
}

// Each way to share the letters out between the stars, tried one after the other, would be more than 10^15.
TEST(WeightDecay, PatternsOfManyStarsAreMatchedAtOnce) {
  const auto net = make_model("resnet8");
  const std::string stars(40, '*');
  EXPECT_THROW(parameter_groups(*net, {.weight_decay_of = {stars + "#=0"}}), UsageError);
  EXPECT_EQ(parameter_groups(*net, {.weight_decay_of = {stars + "w*e*i*t=0"}}).size(), 2u);
}

TEST(WeightDecay, KeepsTheOrderOfTheModelInAGroup) {
  const auto net = make_model("resnet8");
  EXPECT_EQ(parameter_groups(*net, {}).size(), 1u);
  const auto groups = parameter_groups(*net, {.weight_decay_of = {"conv1.*=0"}});
  ASSERT_EQ(groups.size(), 2u);
  EXPECT_EQ(groups[0].parameters.size() + groups[1].parameters.size(), net->parameters().size());
  EXPECT_EQ(groups[0].parameters[0].node(), net->parameters()[1].node());
}

class ProgramWeightDecay : public ProgramSuite {};

TEST_F(ProgramWeightDecay, ResumesBitForBitUnderTheNamesOfTheParameters) {
  const Flags flags = {"--epochs", "3", "--set", "optim.weight_decay_of=[\"layer1.*=0.1\"]"};
  ASSERT_EQ(train("whole", flags).code, 0);
  {
    Program program(train_flags(dir(), "killed", flags));
    ASSERT_TRUE(program.wait_for("epoch 2/3 step 3/")) << program.err();
    program.signal(SIGTERM);
    EXPECT_EQ(program.wait(), 143);
  }
  ASSERT_EQ(train("killed", merged(flags, {"--resume", "auto"})).code, 0);
  expect_same_run(dir() / "whole", dir() / "killed");
  for (const char* name : {"layer1.0.conv1.weight", "layer2.0.conv1.weight", "fc.bias"})
    EXPECT_EQ(saved("whole", std::string("optim.momentum.") + name).shape(), saved("whole", name).shape());
}

TEST_F(ProgramWeightDecay, RefusesWhatIsNotARule) {
  const std::pair<const char*, const char*> cases[] = {
      {"fc", "expected PATTERN=VALUE with a value of at least 0, as in 'fc1.*=0.01', got 'fc'"},
      {"fc.*=-1", "got 'fc.*=-1'"},
      {"=0.1", "got '=0.1'"},
      {"fc.*=1x", "got 'fc.*=1x'"},
      {"fc1.*=0.01", "no parameter of the model has a name like 'fc1.*'; its first is 'conv1.weight'"}};
  for (const auto& [rule, message] : cases)
    expect_refused(train("refused", {"--set", concat_text("optim.weight_decay_of=[\"", rule, "\"]")}), 2,
                   {"optim.weight_decay_of", message});
  EXPECT_FALSE(std::filesystem::exists(dir() / "refused"));
}

}  // namespace
}  // namespace fulcrum::testing
