// The files of the large benchmarks in small: every list, annotation and folder as it is published, a few
// noisy images of few classes in it. Images are PNG whatever they are called: the first bytes count.
//
//   write_benchmark("iwildcam", dir / "data");      // then: --dataset iwildcam --data-dir dir/data
#pragma once

#include <functional>
#include <map>
#include <string>

#include "image_testing.h"
#include "program_testing.h"

namespace fulcrum::testing {

/// Classes that write_benchmark() has where the format does not say how many there are.
inline constexpr int64_t kBenchmarkClasses = 4;
/// Training images of a class: a long tail.
inline int64_t benchmark_images(int64_t label) { return std::max<int64_t>(2, 12 >> label); }

class BenchmarkWriter {
 public:
  explicit BenchmarkWriter(std::filesystem::path dir) : dir_(std::move(dir)) {}

  void image(const std::string& path) {
    const auto height = static_cast<int64_t>(20 + seed_ % 7), width = static_cast<int64_t>(24 + seed_ % 5);
    const Bytes file = png_file(image_of(height, width, ++seed_));
    write_text(dir_ / path, {file.begin(), file.end()});
  }
  void text(const std::string& path, const std::string& content) { write_text(dir_ / path, content); }
  /// Writes the images of a part and calls entry(path, label) for each.
  void part(bool train, int64_t classes, const std::function<std::string(int64_t label, int64_t i)>& path,
            const std::function<void(const std::string& path, int64_t label)>& entry) {
    for (int64_t label = 0; label < classes; label++)
      for (int64_t i = 0; i < (train ? benchmark_images(label) : 2); i++) {
        const std::string name = path(label, i);
        image(name);
        entry(name, label);
      }
  }

 private:
  std::filesystem::path dir_;
  uint64_t seed_ = 0;
};

/// ImageNet-LT and Places-LT.
inline void write_lists(BenchmarkWriter& out, const std::string& prefix, const std::string& folder) {
  for (const std::string split : {"train", "val", "test"}) {
    std::string lines;
    out.part(
        split == "train", kBenchmarkClasses,
        [&](int64_t k, int64_t i) {
          return concat_text(folder, split, "/n0144076", k, "/n0144076", k, "_", i, ".JPEG");
        },
        [&](const std::string& path, int64_t k) { lines += concat_text(path, " ", k, "\n"); });
    out.text(prefix + split + ".txt", lines);
  }
}

inline void write_inaturalist18(BenchmarkWriter& out) {
  for (const std::string split : {"train", "val"}) {
    json images = json::array(), annotations = json::array(), categories = json::array();
    for (int64_t k = 0; k < kBenchmarkClasses; k++)
      categories.push_back({{"id", k}, {"name", std::to_string(k)}, {"supercategory", "Aves"}});
    out.part(
        split == "train", kBenchmarkClasses,
        [&](int64_t k, int64_t i) { return concat_text("train_val2018/Aves/", k, "/", split, i, ".jpg"); },
        [&](const std::string& path, int64_t k) {
          const size_t id = images.size() + 1;
          images.push_back(
              {{"id", id}, {"file_name", path}, {"license", 0}, {"rights_holder", "x"}, {"width", 24}, {"height", 20}});
          annotations.push_back({{"id", id}, {"image_id", id}, {"category_id", k}});
        });
    out.text(split + "2018.json", json{{"info", {{"year", 2018}}},
                                       {"licenses", json::array()},
                                       {"images", images},
                                       {"annotations", annotations},
                                       {"categories", categories}}
                                      .dump());
  }
}

inline void write_clothing1m(BenchmarkWriter& out) {
  std::map<std::string, std::string> labels;
  for (const std::string split : {"noisy_train", "clean_train", "clean_val", "clean_test"}) {
    std::string keys;
    out.part(
        split == "noisy_train", 14,
        [&](int64_t k, int64_t i) { return concat_text("images/", k, "/", split, ",", i, ".jpg"); },
        [&](const std::string& path, int64_t k) {
          keys += path + "\n";
          labels[split == "noisy_train" ? "noisy" : "clean"] += concat_text(path, " ", k, "\n");
        });
    out.text(split + "_key_list.txt", keys);
  }
  for (const auto& [kind, lines] : labels) out.text(kind + "_label_kv.txt", lines);
  out.text("category_names_eng.txt",
           "T-Shirt\nShirt\nKnitwear\nChiffon\nSweater\nHoodie\nWindbreaker\nJacket\nDowncoat\n"
           "Suit\nShawl\nDress\nVest\nUnderwear\n");
}

inline void write_iwildcam(BenchmarkWriter& out) {
  std::string rows = "split,location_remapped,location,sequence_remapped,sequence,datetime,y,filename,image_id\n";
  for (const std::string split : {"train", "val", "test", "id_val", "id_test"})
    out.part(
        split == "train", kBenchmarkClasses,
        [&](int64_t k, int64_t i) { return concat_text("train/", split, "-", k, "-", i, ".jpg"); },
        [&](const std::string& path, int64_t k) {
          rows += concat_text(split, ",12,287,4,6f,2013-07-02 08:30:12.000,", k, ",", path.substr(6), ",x\n");
        });
  out.text("metadata.csv", rows);
  out.text("categories.csv",
           "category_id,name,y\n372,empty,0\n3,\"tayassu, pecari\",1\n9,lynx,2\n11,ocelot,3\n8,unknown,99999\n");
}

inline void write_tiny_imagenet(BenchmarkWriter& out) {
  const auto name = [](int64_t k) { return concat_text("n0144353", k); };
  std::string ids, annotations;
  int64_t number = 0;
  for (int64_t k = 0; k < kBenchmarkClasses; k++) {
    ids = name(k) + "\n" + ids;  // not in their order
    for (int64_t i = 0; i < 12; i++) out.image(concat_text("train/", name(k), "/images/", name(k), "_", i, ".JPEG"));
    out.text(concat_text("train/", name(k), "/", name(k), "_boxes.txt"), name(k) + "_0.JPEG\t0\t10\t63\t58\n");
    for (int64_t i = 0; i < 2; i++, number++) {
      out.image(concat_text("val/images/val_", number, ".JPEG"));
      annotations += concat_text("val_", number, ".JPEG\t", name(k), "\t0\t32\t44\t62\n");
    }
  }
  out.image("test/images/test_0.JPEG");
  out.text("wnids.txt", ids);
  out.text("val/val_annotations.txt", annotations);
}

/// By data.name.
inline void write_benchmark(const std::string& name, const std::filesystem::path& dir) {
  BenchmarkWriter out(dir);
  if (name == "imagenet-lt") write_lists(out, "ImageNet_LT_", "");
  else if (name == "places-lt") write_lists(out, "Places_LT_", "data_256/");
  else if (name == "inaturalist18") write_inaturalist18(out);
  else if (name == "clothing1m") write_clothing1m(out);
  else if (name == "iwildcam") write_iwildcam(out);
  else if (name == "tiny-imagenet") write_tiny_imagenet(out);
  else fail("write_benchmark: no data set ", name);
}

}  // namespace fulcrum::testing
