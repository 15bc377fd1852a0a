// The parts of the report: refused files, numbers as text, axes, images, the quality of a ranking.
#include <fulcrum/data/ranking.h>

#include "apps/report/charts.h"
#include "apps/report/data.h"
#include "apps/report/png.h"
#include "apps/report/text.h"
#include "report_testing.h"

namespace fulcrum::testing {
namespace {

using namespace apps;

// ---- reading ----

// Writes a run with one file replaced, and expects an Error with every part.
void expect_bad(const std::string& file, const std::string& text, const Flags& parts) {
  const TempDir dir;
  write_run(dir / "run");
  write_text(dir / "run" / file, text);
  for (const std::string& part : parts) EXPECT_ERROR(read_run(dir / "run"), part);
}

std::string with(json row, const char* key, const json& value) {
  row[json::json_pointer(key)] = value;
  return metrics_row({}, 0).dump() + "\n" + row.dump() + "\n";
}

TEST(ReportData, BadLinesOfMetricsAreNamed) {
  const json row = metrics_row({}, 1);
  const std::string file = "metrics.jsonl";
  expect_bad(file, "{\"epoch\": 0}\n{\"epoch\":\n{\"epoch\": 2}\n", {"metrics.jsonl line 2", "not JSON"});
  expect_bad(file, "[]\n", {"metrics.jsonl line 1", "expected an object, got []"});
  expect_bad(file, "{}\n", {"line 1", "expected 'epoch'"});
  expect_bad(file, with(row, "/epoch", 0), {"line 2", "expected an epoch after 0, got 0"});
  expect_bad(file, with(row, "/epoch", -1), {"line 2", "'epoch', got -1"});
  expect_bad(file, with(row, "/lr", "fast"), {"line 2", "expected a number for 'lr', got \"fast\""});
  expect_bad(file, with(row, "/test/top1", 78.5), {"line 2 'test'", "share in [0, 1] for 'top1', got 78.5"});
  expect_bad(file, with(row, "/test/per_class/1", "x"), {"line 2 'test'", "'per_class', got \"x\""});
  expect_bad(file, with(row, "/test/per_class", {0.5}), {"line 2", "expected 3 classes in 'per_class', got 1"});
  expect_bad(file, with(row, "/class_weight_share", {0.5, 0.5}), {"line 2", "'class_weight_share', got 2"});
  expect_bad(file, with(row, "/weight_histogram", {1, 2}),
             {"line 2", "expected 48 numbers in 'weight_histogram', got 2"});
  expect_bad(file, with(row, "/train", 3), {"line 2 'train'", "expected an object, got 3"});
}

TEST(ReportData, OtherBadFilesAreNamed) {
  expect_bad("config.toml", "[risk]\nlamda = 3\n", {"config.toml line 2", "risk.lambda"});
  expect_bad("data.json", "{", {"data.json", "not JSON"});
  expect_bad("data.json", R"({"name": "x", "classes": ["a", 2]})", {"data.json", "strings for 'classes', got 2"});
  expect_bad("data.json", R"({"name": "x", "classes": ["a"], "train_counts": [1, 2]})",
             {"data.json", "expected 1 numbers in 'train_counts', one a class, got 2"});
  expect_bad("result.json", R"({"best": {"epoch": "last"}})", {"result.json 'best'", "'epoch', got \"last\""});
  expect_bad("env.json", "nothing", {"env.json", "not JSON"});
  expect_bad("samples.safetensors", "nothing", {"samples.safetensors"});
}

TEST(ReportData, TensorsMustFitEachOther) {
  const TempDir dir;
  write_run(dir / "run");
  const auto refuse = [&](const char* file, TensorMap tensors, const char* name, const Tensor& value,
                          const char* part) {
    const TensorMap good = tensors;
    if (value) tensors[name] = value;
    else tensors.erase(name);
    save_tensors(dir / "run" / file, {tensors, {}});
    EXPECT_ERROR(read_run(dir / "run"), file);
    EXPECT_ERROR(read_run(dir / "run"), part);
    save_tensors(dir / "run" / file, {good, {}});
  };
  const char *samples = "samples.safetensors", *predictions = "predictions.safetensors";
  refuse(samples, samples_of({}), "loss", {}, "expected a tensor 'loss'");
  refuse(samples, samples_of({}), "loss", f32_of({1, 2}), "expected 12 rows in 'loss', got 2");
  refuse(samples, samples_of({}), "label", f32_of({1}), "expected 'label' as i64 with 1 dimension");
  refuse(samples, samples_of({}), "largest.index", labels_of({5}), "'largest.index' has 5");
  refuse(samples, samples_of({}), "largest.images", full({1, 2, 2, 2}, 0, {DType::kU8, {}}), "1 or 3 channels");
  refuse(samples, samples_of({}), "smallest.images", full({2, 2, 2, 1}, 0, {DType::kU8, {}}), "expected 1 rows");
  refuse(predictions, predictions_of({}), "prediction", labels_of(std::vector<int64_t>(60, 3)), "labels below 3");
  refuse(predictions, predictions_of({}), "label", labels_of({-1}), "got -1 at 0");
  save_tensors(dir / "run" / predictions, {predictions_of({}), {{"epoch", "x"}}});
  EXPECT_ERROR(read_run(dir / "run"), "metadata 'epoch', got 'x'");
}

TEST(ReportData, NullsAreAbsent) {
  const TempDir dir;
  write_run(dir / "run");
  const RunData run = read_run(dir / "run");
  EXPECT_TRUE(std::isnan(run.epochs[0].test->medium));
  EXPECT_TRUE(std::isnan(run.epochs[0].kl_objective));
  EXPECT_EQ(run.epochs[0].test->few, 0.123);
  EXPECT_FALSE(run.epochs[0].val.has_value());
  EXPECT_EQ(run.best->epoch, 2);  // as result.json says, though epoch 3 is higher
}

// ---- text ----

TEST(ReportText, Numbers) {
  EXPECT_EQ(percent(0.87314), "87.31");
  EXPECT_EQ(percent(std::nan("")), "–");
  EXPECT_EQ(decimal(-0.001, 2), "0.00");
  EXPECT_EQ(decimal(-1.5, 1), "−1.5");
  EXPECT_EQ(significant(0.0123456, 3), "0.0123");
  EXPECT_EQ(significant(-2.5e-12, 3), "−2.5·10⁻¹²");
  EXPECT_EQ(significant(1e30), "10³⁰");
  EXPECT_EQ(significant(-INFINITY), "−∞");
  EXPECT_EQ(grouped(1234), "1234");
  EXPECT_EQ(grouped(1234567), "1\u202F234\u202F567");
  EXPECT_EQ(duration(59.4), "59.4 s");
  EXPECT_EQ(duration(3599.7), "1 h 00 min");
}

TEST(ReportText, EscapesAndClips) {
  EXPECT_EQ(escape("a<b>&\"'"), "a&lt;b&gt;&amp;&quot;&#39;");
  EXPECT_EQ(escape("é\x01\xff\xc3"), "é \uFFFD\uFFFD");
  EXPECT_EQ(clipped("Ünïcødé", 7), "Ünïcødé");
  EXPECT_EQ(clipped("Ünïcødé!", 7), "Ünïcød…");
}

// ---- charts ----

std::string ticks_of(const Axis& axis) {
  std::string all;
  for (const Tick& t : axis.ticks) all += (all.empty() ? "" : " ") + t.text;
  return all;
}

TEST(ReportAxis, Ticks) {
  EXPECT_EQ(ticks_of(make_axis({0.1, 0.93}, {})), "0.0 0.2 0.4 0.6 0.8 1.0");
  EXPECT_EQ(ticks_of(make_axis({1, 3}, {.whole = true, .snap = false})), "1 2 3");
  EXPECT_EQ(ticks_of(make_axis({1, 200}, {.whole = true, .snap = false})), "50 100 150 200");
  EXPECT_EQ(ticks_of(make_axis({61, 99}, {.most = 100})), "60 70 80 90 100");
  EXPECT_EQ(ticks_of(make_axis({5, 6000}, {.log = true})), "10 30 100 300 1000 3000");
  EXPECT_EQ(ticks_of(make_axis({0.9998, 1.0001}, {})), "0.9998 0.9999 1.0000 1.0001");
}

// Three recalls of 0.8 differ by rounding; damaged files have anything.
TEST(ReportAxis, OfStrangeRangesEnds) {
  EXPECT_EQ(ticks_of(make_axis({0.8, 0.8000000000000002}, {.most = 1})), ticks_of(make_axis({0.8, 0.8}, {.most = 1})));
  for (const bool log : {false, true})
    for (const Range range :
         {Range{1e308, 1.7e308}, {5e-324, 1e308}, {0, 5e-324}, {-1e308, 1e308}, {0, 0}, {1e300, 1e300}}) {
      const Axis axis = make_axis(range, {.log = log});
      EXPECT_LE(axis.ticks.size(), 50u) << range.low << " " << range.high;
      EXPECT_TRUE(axis.low < axis.high && std::isfinite(axis.high)) << range.low << " " << range.high;
    }
}

TEST(ReportAxis, OneValueHasRoomAroundIt) {
  for (const double v : {-3.0, 0.0, 0.5, 100.0}) {
    const Axis axis = make_axis({v, v}, {});
    EXPECT_LT(axis.low, axis.high);
    EXPECT_TRUE(axis.share(v) >= 0 && axis.share(v) <= 1) << v;
  }
  const Axis log = make_axis({7, 7}, {.log = true});
  EXPECT_NEAR(log.share(7), 0.5, 1e-12);
}

TEST(ReportAxis, LabelsSpreadAndStayInside) {
  std::vector<double> ys = {50, 50, 51, 99, 100};
  spread(ys, 10, 0, 100);
  std::ranges::sort(ys);
  for (size_t i = 1; i < ys.size(); i++) EXPECT_GE(ys[i] - ys[i - 1], 10 - 1e-9);
  EXPECT_LE(ys.back(), 100);
}

TEST(ReportAxis, LabelsKeepOffEachOther) {
  LabelPlacer placer({0, 0, 400, 200});
  size_t placed = 0;
  for (int i = 0; i < 50; i++) placed += !placer.place(200, 100, "a label").empty();
  EXPECT_GE(placed, 4u);
  EXPECT_LT(placed, 13u);
}

TEST(ReportCharts, NothingFiniteIsNoChart) {
  EXPECT_EQ(line_chart({.series = {{"a", "red", {{1, std::nan(""), ""}}}}}), "");
  EXPECT_EQ(scatter_chart({}), "");
  EXPECT_EQ(row_chart({}), "");
  EXPECT_NE(line_chart({.series = {{"a", "red", {{1, 2, ""}}}}}), "");
}

// ---- images ----

TEST(ReportPng, Base64) {
  EXPECT_EQ(base64(""), "");
  EXPECT_EQ(base64("f"), "Zg==");
  EXPECT_EQ(base64("fo"), "Zm8=");
  EXPECT_EQ(base64("foobar"), "Zm9vYmFy");
}

TEST(ReportPng, IsWhatZlibMakesWithoutCompression) {
  // Python: zlib.compressobj(0) around the row 00 0a 14 1e, and zlib.crc32 of the chunks.
  const uint8_t pixel[3] = {10, 20, 30};
  EXPECT_EQ(base64(encode_png(pixel, 1, 1, 3)),
            "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAIAAACQd1PeAAAAD0lEQVR4AQEEAPv/"
            "AAoUHgBoAD3oDLuDAAAAAElFTkSuQmCC");
  EXPECT_EQ(base64(encode_png(pixel, 1, 3, 1)),
            "iVBORw0KGgoAAAANSUhEUgAAAAMAAAABCAAAAAA+i0toAAAAD0lEQVR4AQEEAPv/"
            "AAoUHgBoAD3oDLuDAAAAAElFTkSuQmCC");
}

TEST(ReportPng, ManyBytesTakeSeveralBlocks) {
  const std::vector<uint8_t> white(300 * 300, 255);
  const std::string png = encode_png(white.data(), 300, 300, 1);
  // Signature, IHDR, IDAT with the zlib header, two blocks, Adler-32 (Python's zlib.adler32), IEND.
  EXPECT_EQ(png.size(), 8u + 25 + 12 + 2 + 2 * 5 + 300 * 301 + 4 + 12);
  EXPECT_EQ(png.substr(png.size() - 12 - 4 - 4, 4), big_endian({0xda4544f3u}));
}

TEST(ReportPng, LargeImagesAreAveraged) {
  std::vector<uint8_t> large(130 * 100, 40);
  const std::string uri = png_data_uri(large.data(), 130, 100, 1);
  std::vector<uint8_t> small(44 * 34, 40);
  EXPECT_EQ(uri, "data:image/png;base64," + base64(encode_png(small.data(), 44, 34, 1)));
}

// ---- ranking ----

TEST(ReportRanking, AgreesWithScikitLearn) {
  // sklearn.metrics.roc_auc_score and average_precision_score of these, ties included.
  const std::vector<double> scores = {0.9, 0.8, 0.8, 0.7, 0.6, 0.6, 0.5, 0.1};
  const std::vector<bool> wrong = {true, false, true, true, false, true, false, false};
  const Ranking r = rank_quality(scores, wrong);
  EXPECT_NEAR(r.auroc, 0.8125, 1e-12);
  EXPECT_NEAR(r.average_precision, 0.7708333333333333, 1e-12);
  EXPECT_EQ(r.curve.size(), 6u);
  EXPECT_EQ(r.curve[1].flagged, 3u);
  EXPECT_NEAR(r.curve[1].precision, 2.0 / 3, 1e-12);
}

TEST(ReportRanking, EqualScoresAreChanceAndOneKindIsNothing) {
  EXPECT_EQ(rank_quality({1, 1, 1}, {true, false, false}).auroc, 0.5);
  EXPECT_TRUE(rank_quality({1, 2}, {true, true}).curve.empty());
  EXPECT_EQ(rank_quality({std::nan(""), 2, 1}, {false, true, false}).curve.back().flagged, 2u);
}

}  // namespace
}  // namespace fulcrum::testing
