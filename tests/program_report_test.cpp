// fulcrum report: what the page says, what it leaves out, and what it refuses.
#include "report_testing.h"

namespace fulcrum::testing {
namespace {

namespace fs = std::filesystem;

size_t count(const std::string& text, const std::string& part) {
  size_t n = 0;
  for (size_t at = 0; (at = text.find(part, at)) != std::string::npos; at += part.size()) n++;
  return n;
}

#define EXPECT_HAS(text, part) EXPECT_TRUE((text).find(part) != std::string::npos) << "no '" << (part) << "'"
#define EXPECT_LACKS(text, part) EXPECT_TRUE((text).find(part) == std::string::npos) << "has '" << (part) << "'"

// The name of the tag at text[at] == '<', with the '/' of a closing one.
std::string tag_at(const std::string& text, size_t at) {
  return text.substr(at + 1, text.find_first_of(" >\n", at) - at - 1);
}

// Every element is closed in order, no coordinate is not a number, and nothing comes from outside.
void expect_sound(const std::string& page) {
  std::vector<std::string> open;
  for (size_t at = page.find('<'); at != std::string::npos; at = page.find('<', at + 1)) {
    const std::string tag = tag_at(page, at);
    const size_t end = page.find('>', at);
    ASSERT_NE(end, std::string::npos);
    if (tag == "!DOCTYPE" || tag == "meta" || tag == "img" || tag == "br" || page[end - 1] == '/') continue;
    if (!tag.starts_with('/')) {
      open.push_back(tag);
    } else {
      ASSERT_FALSE(open.empty()) << tag << " at " << at;
      ASSERT_EQ("/" + open.back(), tag) << page.substr(at > 200 ? at - 200 : 0, 260);
      open.pop_back();
    }
  }
  EXPECT_EQ(open, Flags{});
  for (const char* part : {"=\"nan", " nan", "Mnan", ",nan", "-nan", "inf\"", "http", "<script", "url("})
    EXPECT_LACKS(page, part);
}

TEST(Report, OneRun) {
  const TempDir dir;
  write_run(dir / "first");
  const std::string page = report_of({dir / "first"});
  expect_sound(page);
  EXPECT_HAS(page, "<h1>first</h1>");
  EXPECT_EQ(count(page, "<h1>"), 1u);
  for (const char* title : {"Results", "Course of training", "Weights", "Classes", "Samples", "Settings"})
    EXPECT_HAS(page, std::string(">") + title + "</h2>");
  EXPECT_HAS(page, "ABSGD, λ = 5, γ = 0.9");
  EXPECT_HAS(page, "80.00");  // final top-1
  EXPECT_HAS(page, "epoch 3, chosen on the test set");
  EXPECT_HAS(page, " (eel)");
  EXPECT_HAS(page, ">43.21<");  // macro F1
  EXPECT_HAS(page, "animals, 1833 training images, 3 classes");
  EXPECT_HAS(page, "1 min 13 s");  // 4 epochs of 1833 images at 100 a second
  EXPECT_HAS(page, "dog predicted as cat");
  EXPECT_HAS(page, "dog: 63.3 %, 500 training images");
  EXPECT_EQ(count(page, "<img src=\"data:image/png;base64,"), 2u);
  EXPECT_HAS(page, "alt=\"Sample 111, labelled eel\"");
  EXPECT_HAS(page, "abc123");
  EXPECT_LACKS(page, "there is no");
  EXPECT_LACKS(page, "wrong label");
  EXPECT_LACKS(page, "not finished");
}

TEST(Report, ShowsWhichSettingsDifferFromTheDefaults) {
  const TempDir dir;
  write_run(dir / "run", {.lambda = 0.0005});
  const std::string page = report_of({dir / "run"});
  EXPECT_HAS(page, "<th scope=\"row\">risk.lambda</th><td class=\"w\">0.0005</td><td class=\"w\">inf</td>");
  EXPECT_LACKS(page, "<th scope=\"row\">optim.lr</th>");
  EXPECT_HAS(page, "momentum = 0.9");  // config.toml in full
}

TEST(Report, EscapesEveryText) {
  const TempDir dir;
  const std::string evil = "<script>alert(1)</script>", quotes = "\"'&\n\x01";
  write_run(dir / "<b>&\"run", {.classes = {evil, quotes, "c"}, .noise = true});
  std::string data = read_text(dir / "<b>&\"run" / "data.json");
  data.replace(data.find("animals"), 7, "<i>animals");
  write_text(dir / "<b>&\"run" / "data.json", data);
  write_text(dir / "<b>&\"run" / "env.json", json{{evil, evil}}.dump());
  for (const auto& page : {report_of({dir / "<b>&\"run"}), report_of({dir / "<b>&\"run", dir / "<b>&\"run"})}) {
    expect_sound(page);
    for (const char* part : {"<b>&\"", "<i>", "\x01"}) EXPECT_LACKS(page, part);
    EXPECT_HAS(page, "&lt;script&gt;alert(1)&lt;/script&gt;");
    EXPECT_HAS(page, "&lt;b&gt;&amp;&quot;run");
  }
}

TEST(Report, LeavesOutWhatIsMissingAndSaysWhy) {
  const TempDir dir;
  write_run(dir / "run", {.complete = false});
  const std::string page = report_of({dir / "run"});
  expect_sound(page);
  for (const char* part : {"no data.json", "no predictions.safetensors", "no samples.safetensors", "no env.json"})
    EXPECT_HAS(page, part);
  EXPECT_HAS(page, "epoch 4, chosen on the test set");  // without result.json the best of the curve
  EXPECT_LACKS(page, "Confusion");

  json row = metrics_row({}, 0);
  for (const char* key : {"test", "class_weight_share", "inv_lambda", "log_u", "kl_objective"}) row.erase(key);
  write_text(dir / "run" / "metrics.jsonl", row.dump() + "\n");
  const std::string old = report_of({dir / "run"});
  expect_sound(old);
  for (const char* part : {"No epoch has been evaluated yet", "no class_weight_share", "no per_class", "1 of 4 epochs"})
    EXPECT_HAS(old, part);

  write_text(dir / "run" / "metrics.jsonl", "");
  const std::string young = report_of({dir / "run"});
  expect_sound(young);
  EXPECT_HAS(young, "no epoch yet");
  expect_sound(report_of({dir / "run", dir / "run"}));
}

TEST(Report, ShowsTheTemperatureOfThoseThatHaveOne) {
  const TempDir dir;
  write_run(dir / "run", {});
  EXPECT_HAS(report_of({dir / "run"}), "Inverse temperature");
  write_run(dir / "mean", {.lambda = std::numeric_limits<double>::infinity()});
  EXPECT_LACKS(report_of({dir / "mean"}), "Inverse temperature");
}

TEST(Report, TheWeightOfAClassIncludesItsWeightInTheLoss) {
  const TempDir dir;
  write_run(dir / "run", {});
  std::string page = report_of({dir / "run"});
  EXPECT_LACKS(page, "includes its class weight in the loss");
  EXPECT_HAS(page, "33.33 % of the weight");
  EXPECT_LACKS(page, "suspects.csv");
  std::string config = read_text(dir / "run/config.toml");
  const std::string none = "class_weights = 'none'";
  ASSERT_NE(config.find(none), std::string::npos);
  write_text(dir / "run/config.toml", config.replace(config.find(none), none.size(), "class_weights = 'balanced'"));
  write_text(dir / "run/suspects.csv", "index,given_label,predicted,mean_weight\n");
  page = report_of({dir / "run"});
  EXPECT_HAS(page, "From epoch 1 on the weight of a class includes its class weight in the loss");
  EXPECT_LACKS(page, "33.33 % of the weight");
  EXPECT_HAS(page, "suspects.csv");
}

// Parts of data.eval_splits beside the test set.
TEST(Report, ShowsEverySplit) {
  const TempDir dir;
  const RunOptions o{.epochs = 1};
  write_run(dir / "run", o);
  json row = metrics_row(o, 0), seen = evaluation_of(o, 0), unseen = seen;
  seen["macro_f1"] = 0.5137;
  unseen["top1"] = 0.7213;
  row["val"] = evaluation_of(o, 0);
  row["splits"] = {{"id_test", seen}, {"id_val", unseen}};
  write_text(dir / "run/metrics.jsonl", row.dump() + "\n");
  const std::string page = report_of({dir / "run"});
  expect_sound(page);
  for (const char* part : {">held-out part<", ">id_test<", ">id_val<", ">51.37<", ">72.13<"}) EXPECT_HAS(page, part);
  row["splits"]["id_test"]["per_class"] = {0.5};
  write_text(dir / "run/metrics.jsonl", row.dump() + "\n");
  EXPECT_THROW(report_of({dir / "run"}), Error);
}

TEST(Report, ToleratesATornLastLine) {
  const TempDir dir;
  write_run(dir / "run", {.written = 3});
  const std::string whole = read_text(dir / "run" / "metrics.jsonl");
  write_text(dir / "run" / "metrics.jsonl", whole + metrics_row({}, 3).dump().substr(0, 50));
  const std::string page = report_of({dir / "run"});
  EXPECT_HAS(page, "is incomplete");
  EXPECT_HAS(page, "3 of 4 epochs");
  // A whole line without its end is no torn one.
  write_text(dir / "run" / "metrics.jsonl", whole + metrics_row({}, 3).dump());
  EXPECT_LACKS(report_of({dir / "run"}), "is incomplete");
}

TEST(Report, ClassesOfAboutOneSizeHaveBars) {
  const TempDir dir;
  write_run(dir / "run");
  EXPECT_HAS(report_of({dir / "run"}), "Accuracy by class size");
  std::string data = read_text(dir / "run" / "data.json");
  const std::string counts = "\"train_counts\":[1000,500,333]";
  ASSERT_NE(data.find(counts), std::string::npos) << data;
  data.replace(data.find(counts), counts.size(), "\"train_counts\":[1000,1010,990]");
  write_text(dir / "run" / "data.json", data);
  const std::string page = report_of({dir / "run"});
  expect_sound(page);
  EXPECT_LACKS(page, "Accuracy by class size");
  EXPECT_EQ(count(page, "class=\"bar\""), 3u);
}

TEST(Report, ARunThatStoppedEarlyIsFinished) {
  const TempDir dir;
  write_run(dir / "run", {.written = 2});
  const json result = json::parse(read_text(dir / "run/result.json"));
  const auto page_with = [&](int epochs) {
    json changed = result;
    changed["epochs"] = epochs;
    write_text(dir / "run/result.json", changed.dump());
    return report_of({dir / "run"});
  };
  EXPECT_HAS(page_with(2), "2 of 4 epochs, stopped early");
  EXPECT_LACKS(page_with(2), "not finished");
  EXPECT_HAS(page_with(1), "The run is not finished: 2 of 4");  // the result of a shorter run, which went on
}

TEST(Report, ASeedCountsOnceAndDataOfItsOwn) {
  const TempDir dir;
  write_run(dir / "a", {});
  write_run(dir / "b", {});
  write_run(dir / "c", {.classes = {"cat", "dog", "fox"}, .seed = 1});
  const std::string page = report_of({dir / "a", dir / "b", dir / "c"});
  EXPECT_LACKS(page, "mean ± sd</th>");
  EXPECT_LACKS(page, "seeds)");
}

TEST(Report, WrongLabels) {
  const TempDir dir;
  write_run(dir / "run", {.noise = true});
  const std::string page = report_of({dir / "run"});
  expect_sound(page);
  EXPECT_EQ(count(page, "class=\"cross\""), 4u);  // of 12 samples
  EXPECT_HAS(page, "AUROC (0.5: chance)</th><td class=\"n\">1.0000");
  EXPECT_HAS(page, "Precision among them, %</th><td class=\"n\">100.0");
  EXPECT_HAS(page, "labelled dog, is cat");
}

TEST(Report, SeveralRuns) {
  const TempDir dir;
  write_run(dir / "absgd-0", {});
  write_run(dir / "absgd-1", {.seed = 1, .shift = 0.02});
  write_run(dir / "absgd-2", {.written = 2, .seed = 2});
  write_run(dir / "other", {.lambda = -1, .shift = 0.01});
  const std::string page = report_of({dir / "absgd-0", dir / "other", dir / "absgd-1", dir / "absgd-2"});
  expect_sound(page);
  EXPECT_HAS(page, "<h1>4 runs</h1>");
  EXPECT_HAS(page, "absgd (3 seeds)");
  // 80 and 82: the unfinished run does not count.
  EXPECT_HAS(page,
             "absgd, mean ± sd</th><td class=\"n\">n = 2</td><td class=\"n\"></td><td "
             "class=\"n\">81.00 ± 1.41");
  EXPECT_HAS(page, "<td class=\"n\">2 of 4</td>");
  EXPECT_HAS(page, "absgd-2 is not finished");
  EXPECT_HAS(page, "<th scope=\"row\">risk.lambda</th><td class=\"w\">5</td><td class=\"w\">-1</td>");
  EXPECT_LACKS(page, "train.output");
  EXPECT_LACKS(page, "optim.lr");
  EXPECT_EQ(count(page, "mean ± sd"), 1u);
  EXPECT_HAS(page, "absgd-1, epoch 4: 82.00 %");
}

TEST(Report, RunsOfOneNameAreToldApartByTheirPaths) {
  const TempDir dir;
  write_run(dir / "a" / "run", {});
  write_run(dir / "b" / "run", {.lambda = 2});
  const std::string page = report_of({dir / "a" / "run", dir / "b" / "run"});
  EXPECT_HAS(page, (dir / "a" / "run").string());
  EXPECT_HAS(page, (dir / "b" / "run").string());
}

TEST(Report, AThousandClassesStaySmall) {
  const TempDir dir;
  RunOptions o{.epochs = 200};
  o.classes.clear();
  for (int c = 0; c < 1000; c++) o.classes.push_back("class number " + std::to_string(c));
  write_run(dir / "run", o);
  const std::string page = report_of({dir / "run"});
  expect_sound(page);
  EXPECT_LT(page.size(), 5'000'000u);
  EXPECT_HAS(page, "Only the 12 of 1000 classes");
  EXPECT_HAS(page, "Most confused");
  EXPECT_LACKS(page, "class=\"cells\"");
}

TEST(Report, Command) {
  const TempDir dir;
  write_run(dir / "a");
  write_run(dir / "b", {.seed = 1});
  const Outcome one = run_program({"report", dir / "a"});
  ASSERT_EQ(one.code, 0) << one.err;
  EXPECT_EQ(one.out, (dir / "a" / "report.html").string() + "\n");
  EXPECT_HAS(read_text(dir / "a" / "report.html"), "<h1>a</h1>");
  const Outcome two = run_program({"report", dir / "a", dir / "b", "-o", dir / "both.html"});
  ASSERT_EQ(two.code, 0) << two.err;
  EXPECT_HAS(read_text(dir / "both.html"), "<h1>2 runs</h1>");
  expect_refused(run_program({"report", dir / "none"}), 1, {"config.toml", "none"});
  expect_refused(run_program({"report", dir / "a", "-o", dir / "no" / "folder.html"}), 1, {"folder.html"});
  EXPECT_EQ(run_program({"report"}).code, 2);
}

}  // namespace
}  // namespace fulcrum::testing
