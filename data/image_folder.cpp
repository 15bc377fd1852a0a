#include <fulcrum/data/image_folder.h>

#include <algorithm>
#include <array>
#include <cctype>

namespace fulcrum {

namespace {

namespace fs = std::filesystem;

/// Whether torchvision's ImageFolder would read this file although Fulcrum does not.
bool is_other_image(const fs::path& path) {
  std::string extension = path.extension().string();
  for (char& c : extension) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  constexpr std::array<const char*, 6> kOthers = {".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp"};
  return std::ranges::find(kOthers, extension) != kOthers.end();
}

std::vector<std::string> class_folders(const fs::path& dir) {
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(dir))
    if (entry.is_directory()) names.push_back(entry.path().filename().string());
  std::ranges::sort(names);
  return names;
}

/// {folder relative to dir, file name} of all files below dir, in the order of Python's sorted(os.walk(dir)).
std::vector<std::pair<std::string, std::string>> files_below(const fs::path& dir) {
  std::vector<std::pair<std::string, std::string>> files;
  const auto options = fs::directory_options::follow_directory_symlink;
  for (const auto& entry : fs::recursive_directory_iterator(dir, options)) {
    if (entry.is_directory()) continue;
    const fs::path relative = entry.path().lexically_relative(dir);
    files.emplace_back(relative.parent_path().string(), relative.filename().string());
  }
  std::ranges::sort(files);
  return files;
}

void add_class(ImageListing& listing, const fs::path& dir, const std::string& name) {
  const auto label = std::ssize(listing.class_names);
  const size_t before = listing.paths.size();
  listing.class_names.push_back(name);
  for (const auto& [folder, file] : files_below(dir / name)) {
    const fs::path path = dir.lexically_relative(listing.root) / name / folder / file;
    if (has_image_extension(path)) {
      listing.paths.push_back(path.lexically_normal().string());
      listing.labels.push_back(label);
    } else if (is_other_image(path)) {
      listing.problems.push_back(concat_text("[folder] ", (dir / name / folder / file).string(),
                                             ": expected .jpg, .jpeg or .png, got ", path.extension().string()));
    }
  }
  if (listing.paths.size() == before)
    listing.problems.push_back(
        concat_text("[folder] ", (dir / name).string(), ": expected images of class '", name, "', got none"));
}

ImageListing list(const fs::path& root, const fs::path& dir) {
  std::error_code ignored;
  check(fs::is_directory(dir, ignored), "[folder] ", dir.string(), ": expected a folder of classes, ",
        fs::exists(dir, ignored) ? "got a file" : "there is none");
  ImageListing listing;
  listing.root = root;
  try {
    for (const std::string& name : class_folders(dir)) add_class(listing, dir, name);
  } catch (const fs::filesystem_error& error) {
    fail("[folder] ", error.path1().string(), ": ", error.code().message());
  }
  if (listing.class_names.empty())
    listing.problems.push_back(concat_text("[folder] ", dir.string(), ": expected a folder for each class, got none"));
  return listing;
}

/// Names in `a` that are not in `b`, both sorted.
std::string only_in(const std::vector<std::string>& a, const std::vector<std::string>& b) {
  std::vector<std::string> names;
  std::ranges::set_difference(a, b, std::back_inserter(names));
  std::string text;
  for (size_t i = 0; i < std::min<size_t>(names.size(), 10); i++) text += " '" + names[i] + "'";
  return names.size() > 10 ? text + " and more" : text;
}

}  // namespace

ImageListing list_image_folder(const fs::path& dir) { return list(dir, dir); }

ImageListing list_image_folder_part(const fs::path& dir, const std::string& part, const ImageListing& train) {
  ImageListing listing = list(dir, dir / part);
  const std::string missing = only_in(train.class_names, listing.class_names);
  const std::string unknown = only_in(listing.class_names, train.class_names);
  if (!missing.empty() || !unknown.empty())
    listing.problems.insert(
        listing.problems.begin(),
        concat_text("[folder] ", (dir / part).string(), ": expected the classes of ", (dir / "train").string(),
                    missing.empty() ? "" : "; missing:", missing, unknown.empty() ? "" : "; not in train:", unknown));
  return listing;
}

std::pair<ImageListing, ImageListing> list_image_folders(const fs::path& dir) {
  std::error_code ignored;
  ImageListing train = list(dir, dir / "train");
  const bool has_test = fs::exists(dir / "test", ignored);
  check(has_test || fs::exists(dir / "val", ignored), "[folder] ", dir.string(),
        ": expected a folder test or val beside train, there is none");
  ImageListing test = list_image_folder_part(dir, has_test ? "test" : "val", train);
  return {std::move(train), std::move(test)};
}

}  // namespace fulcrum
