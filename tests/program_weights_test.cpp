// What a run leaves to look at its weights: histograms by epoch, suspects.csv, how well low weights
// find wrong labels.
#include <fulcrum/data/ranking.h>

#include "apps/histogram.h"
#include "apps/metrics.h"
#include "program_testing.h"

namespace fulcrum::testing {
namespace {

namespace fs = std::filesystem;

const Flags kNoisy = {"--epochs", "2",     "--noise-type", "symmetric", "--noise-rate",
                      "0.25",     "--opt", "absgd",        "--lambda",  "-0.5"};

class ProgramWeights : public ProgramSuite {
 protected:
  static void SetUpTestSuite() {
    ProgramSuite::SetUpTestSuite();
    const Outcome got = train("noisy", kNoisy);
    ASSERT_EQ(got.code, 0) << got.err;
    result_ = json::parse(got.out);
  }
  static std::vector<std::vector<double>> rows_of(const std::string& run, std::string& head) {
    std::ifstream in(dir() / run / "suspects.csv");
    std::vector<std::vector<double>> rows;
    std::getline(in, head);
    for (std::string line; std::getline(in, line);) {
      rows.emplace_back();
      std::stringstream fields(line);
      // Up to the names.
      for (std::string field; std::getline(fields, field, ',') && !std::isalpha(static_cast<unsigned char>(field[0]));)
        rows.back().push_back(std::stod(field));
    }
    return rows;
  }
  static inline json result_;
};

TEST_F(ProgramWeights, SuspectsAreAllThatWereVisited) {
  Flags few = kNoisy;
  few.insert(few.end(), {"--set", "train.limit_batches=2", "-b", "16"});
  ASSERT_EQ(train("few", few).code, 0);
  std::vector<double> visited, listed;
  const TensorMap t = load_tensors(dir() / "few/samples.safetensors").tensors;
  const auto index = t.at("index").to_vector(), mean = t.at("mean_weight").to_vector();
  for (size_t i = 0; i < index.size(); i++)
    if (!std::isnan(mean[i])) visited.push_back(index[i]);
  std::string head;
  for (const auto& row : rows_of("few", head)) listed.push_back(row[0]);
  std::sort(listed.begin(), listed.end());
  EXPECT_EQ(listed, visited);
  EXPECT_GT(listed.size(), 32u) << "more than the samples of one epoch";
  EXPECT_LT(listed.size(), 65u);
}

TEST_F(ProgramWeights, SuspectsAreTheLightestSamplesFirst) {
  std::string head;
  const auto rows = rows_of("noisy", head);
  EXPECT_EQ(head, "index,given_label,predicted,mean_weight,loss,clean_label,given_name,predicted_name");
  ASSERT_EQ(rows.size(), static_cast<size_t>(kTrainImages));
  const TensorMap t = load_tensors(dir() / "noisy/samples.safetensors").tensors;
  const auto index = t.at("index").to_vector(), label = t.at("label").to_vector(),
             clean = t.at("clean_label").to_vector(), mean = t.at("mean_weight").to_vector(),
             loss = t.at("loss").to_vector();
  std::vector<double> scores, losses;
  std::vector<bool> wrong;
  double last = 0;
  int64_t count = 0;
  for (const auto& row : rows) {
    const auto at = static_cast<size_t>(std::find(index.begin(), index.end(), row[0]) - index.begin());
    ASSERT_LT(at, index.size());
    EXPECT_EQ(row[1], label[at]);
    EXPECT_TRUE(row[2] >= 0 && row[2] < 10) << row[2];
    EXPECT_FLOAT_EQ(static_cast<float>(row[3]), static_cast<float>(mean[at]));
    EXPECT_FLOAT_EQ(static_cast<float>(row[4]), static_cast<float>(loss[at]));
    EXPECT_EQ(row[5], clean[at]);
    EXPECT_GE(row[3], last);
    last = row[3];
    scores.push_back(-row[3]);
    losses.push_back(row[4]);
    wrong.push_back(row[1] != row[5]);
    count += row[1] != row[5];
  }
  EXPECT_EQ(count, 80);
  EXPECT_NEAR(result_["wrong_label_auroc"].get<double>(), rank_quality(scores, wrong).auroc, 1e-9);
  EXPECT_NEAR(result_["wrong_label_auroc_by_loss"].get<double>(), rank_quality(losses, wrong).auroc, 1e-9);
  const auto found = std::count(wrong.begin(), wrong.begin() + 80, true);
  EXPECT_NEAR(result_["wrong_label_precision"].get<double>(), static_cast<double>(found) / 80, 1e-9);
  EXPECT_EQ(result_["wrong_label_precision"], result_["wrong_label_recall"]);
}

// As a network says that sees the images one more time, without augmentation.
TEST_F(ProgramWeights, SuspectsHaveThePredictionsOfTheLastModel) {
  // Training and test data are the same images here.
  const TempDir same;
  fs::create_directories(same / "data");
  for (const char* part : {"images-idx3-ubyte", "labels-idx1-ubyte"})
    for (const char* prefix : {"train-", "t10k-"})
      fs::copy(dir() / "data" / (std::string("train-") + part), same / "data" / (std::string(prefix) + part));
  const Outcome got = run_program(train_flags(same, "run", kNoisy));
  ASSERT_EQ(got.code, 0) << got.err;
  const auto predicted = load_tensors(same / "run/predictions.safetensors").tensors.at("prediction").to_vector();
  std::ifstream in(same / "run/suspects.csv");
  std::string line;
  std::getline(in, line);
  int rows = 0;
  for (; std::getline(in, line); rows++) {
    int index = 0, given = 0, said = 0;
    ASSERT_EQ(std::sscanf(line.c_str(), "%d,%d,%d", &index, &given, &said), 3);
    EXPECT_EQ(said, predicted[static_cast<size_t>(index)]) << index;
  }
  EXPECT_EQ(rows, kTrainImages);
}

// Equal weights, 97 · 1/97 with their rounding, say nothing: the losses do.
TEST_F(ProgramWeights, SuspectsOfEqualWeightsHaveTheLargestLosses) {
  const Outcome plain = train("plain", {"--noise-type", "symmetric", "--noise-rate", "0.25", "-b", "97"});
  ASSERT_EQ(plain.code, 0) << plain.err;
  std::string head;
  const auto rows = rows_of("plain", head);
  ASSERT_EQ(rows.size(), static_cast<size_t>(kTrainImages));
  EXPECT_TRUE(std::ranges::is_sorted(rows, std::greater(), [](const auto& row) { return row[4]; }));
  const json result = json::parse(plain.out);
  EXPECT_FALSE(result.contains("wrong_label_auroc"));
  EXPECT_GT(result["wrong_label_auroc_by_loss"].get<double>(), 0.5);
  const TensorMap t = load_tensors(dir() / "plain/samples.safetensors").tensors;
  EXPECT_EQ(t.at("largest.index").to_vector()[0], rows[0][0]);
  EXPECT_EQ(t.at("smallest.index").to_vector()[0], rows.back()[0]);
  const std::string page = read_text(dir() / "plain/report.html");
  for (const char* part : {"Wrong labels found", "Signs of wrong labels", "Largest last losses", "suspects.csv"})
    EXPECT_NE(page.find(part), std::string::npos) << part;
}

TEST_F(ProgramWeights, SuspectsAreWrittenWhereLabelsMayBeWrong) {
  // A negative λ looks for wrong labels where nobody knows them, and so does a robust loss.
  ASSERT_EQ(train("unknown", {"--opt", "absgd", "--lambda", "-0.5"}).code, 0);
  std::string head;
  EXPECT_EQ(rows_of("unknown", head).size(), static_cast<size_t>(kTrainImages));
  EXPECT_EQ(head, "index,given_label,predicted,mean_weight,loss,given_name,predicted_name");
  ASSERT_EQ(train("robust", {"--loss", "gce"}).code, 0);
  EXPECT_EQ(rows_of("robust", head).size(), static_cast<size_t>(kTrainImages));
  ASSERT_EQ(train("imbalance", {"--opt", "absgd", "--lambda", "5"}).code, 0);
  EXPECT_FALSE(fs::exists(dir() / "imbalance/suspects.csv"));
}

TEST_F(ProgramWeights, HistogramsOfEveryEpoch) {
  const auto rows = metrics_of(dir() / "noisy");
  ASSERT_EQ(rows.size(), 2u);
  const TensorMap t = load_tensors(dir() / "noisy/samples.safetensors").tensors;
  const auto count = [&](const char* column, const apps::LogBins& bins) {
    std::vector<int64_t> counts(bins.count());
    for (const double v : t.at(column).to_vector()) counts[bins.bin(v)]++;
    return counts;
  };
  EXPECT_EQ(rows[1]["weight_histogram"], json(count("weight", apps::kWeightBins)));
  EXPECT_EQ(rows[1]["loss_histogram"], json(count("loss", apps::kLossBins)));
  EXPECT_NE(rows[0]["weight_histogram"], rows[1]["weight_histogram"]);
  EXPECT_EQ(rows[1]["wrong_labels"]["auroc"], result_["wrong_label_auroc"]);
  const std::string page = read_text(dir() / "noisy/report.html");
  for (const char* part : {"Wrong labels found", "class=\"strip\"", "<h3>Losses</h3>"})
    EXPECT_NE(page.find(part), std::string::npos) << part;
}

TEST(LogBins, HoldEveryNumber) {
  const apps::LogBins bins{0.01, 3, 4};
  EXPECT_EQ(bins.count(), 12u);
  EXPECT_EQ(bins.bin(-1), 0u);
  EXPECT_EQ(bins.bin(0), 0u);
  EXPECT_EQ(bins.bin(std::nan("")), 0u);
  EXPECT_EQ(bins.bin(0.011), 0u);
  EXPECT_EQ(bins.bin(1.01), 8u);
  EXPECT_EQ(bins.bin(1e300), 11u);
  EXPECT_EQ(bins.bin(INFINITY), 11u);
  const auto edges = bins.edges();
  ASSERT_EQ(edges.size(), 13u);
  EXPECT_NEAR(edges.back(), 10, 1e-12);
  for (size_t b = 0; b < bins.count(); b++) EXPECT_EQ(bins.bin(std::sqrt(edges[b] * edges[b + 1])), b);
  EXPECT_EQ(apps::kWeightBins.bin(0.9999999), apps::kWeightBins.bin(1.0000001));
}

TEST(FoundLabels, AreThoseOfTheHighestScores) {
  const auto found = found_labels({-0.1, -0.2, -1, -1.5, -0.15}, {true, false, false, false, true});
  ASSERT_TRUE(found);
  EXPECT_DOUBLE_EQ(found->auroc, 1);
  EXPECT_DOUBLE_EQ(found->precision, 1);
  EXPECT_EQ(found->flagged, 2u);
  EXPECT_FALSE(found_labels({1, 2, 3}, {false, false, false}));
}

}  // namespace
}  // namespace fulcrum::testing
