#include <fulcrum/data/tiny_imagenet.h>

#include <algorithm>
#include <string>
#include <string_view>

#include <fulcrum/data/file.h>
#include <fulcrum/data/image_folder.h>
#include <fulcrum/data/listing.h>

namespace fulcrum {

namespace {

namespace fs = std::filesystem;

void add_line(ListingBuilder& builder, std::string_view line, int64_t number, const std::vector<std::string>& classes) {
  const size_t gap = line.find('\t');
  if (gap == 0 || gap == std::string_view::npos)
    return builder.problem(number, "expected 'file<tab>class<tab>box', got '", line, "'");
  const std::string_view file = line.substr(0, gap), rest = line.substr(gap + 1),
                         name = rest.substr(0, rest.find('\t'));
  const auto found = std::ranges::lower_bound(classes, name);
  if (found == classes.end() || *found != name)
    return builder.problem(number, "expected a class of train, got '", name, "'");
  if (file.find('/') != std::string_view::npos)
    return builder.problem(number, "expected the name of a file in val/images, got '", file, "'");
  builder.add(concat_text("val/images/", file), found - classes.begin(), number);
}

}  // namespace

std::pair<ImageListing, ImageListing> list_tiny_imagenet(const fs::path& root, bool follow_links) {
  ImageListing train = list_image_folder(root / "train");
  const fs::path annotations = root / "val/val_annotations.txt";
  ListingBuilder builder("tiny_imagenet", root, annotations, "line", {.follow_links = follow_links});
  for_each_line(annotations, "tiny_imagenet",
                [&](std::string_view line, int64_t number) { add_line(builder, line, number, train.class_names); });
  if (builder.size() == 0) builder.problem(0, "expected lines 'file<tab>class<tab>box', got none");
  ImageListing test = builder.finish(std::max<int64_t>(1, std::ssize(train.class_names)));
  test.class_names = train.class_names;
  return {std::move(train), std::move(test)};
}

}  // namespace fulcrum
