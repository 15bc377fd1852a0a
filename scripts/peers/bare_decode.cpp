// The least that a loader of JPEG files has to do: read each file and decode it with libjpeg, on so
// many threads, into a buffer that is used again. Built and driven by decode_bench.py.
//
//   bare_decode FOLDER THREADS      every line "run SECONDS" on stdin is answered by a JSON line
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <iostream>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include <jpeglib.h>

using Clock = std::chrono::steady_clock;

struct Decoder {
  jpeg_decompress_struct info{};
  jpeg_error_mgr error{};
  std::vector<unsigned char> file, pixels;

  Decoder() {
    info.err = jpeg_std_error(&error);  // its error_exit ends the process
    jpeg_create_decompress(&info);
  }
  ~Decoder() { jpeg_destroy_decompress(&info); }

  void decode(const std::string& path) {
    const int fd = open(path.c_str(), O_RDONLY);
    struct stat status {};
    if (fd < 0 || fstat(fd, &status) != 0) std::exit(1);
    file.resize(static_cast<size_t>(status.st_size));
    if (read(fd, file.data(), file.size()) != status.st_size) std::exit(1);
    close(fd);
    jpeg_mem_src(&info, file.data(), file.size());
    jpeg_read_header(&info, TRUE);
    info.out_color_space = JCS_RGB;
    jpeg_start_decompress(&info);
    const size_t row_bytes = size_t{info.output_width} * 3;
    pixels.resize(row_bytes * info.output_height);
    while (info.output_scanline < info.output_height) {
      JSAMPROW row = pixels.data() + info.output_scanline * row_bytes;
      jpeg_read_scanlines(&info, &row, 1);
    }
    jpeg_finish_decompress(&info);
  }
};

int main(int argc, char** argv) {
  if (argc != 3) return 2;
  const int threads = std::atoi(argv[2]);
  std::vector<std::string> paths;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(argv[1]))
    if (entry.is_regular_file()) paths.push_back(entry.path());
  std::ranges::shuffle(paths, std::mt19937(1));  // training does not read in the order of the disk
  std::string word;
  double seconds = 0;
  while (std::cin >> word >> seconds && word == "run") {
    std::atomic<size_t> next = 0;
    const auto start = Clock::now();
    const auto elapsed = [&] { return std::chrono::duration<double>(Clock::now() - start).count(); };
    const auto work = [&] {
      Decoder decoder;
      while (elapsed() < seconds) decoder.decode(paths[next++ % paths.size()]);
    };
    {
      std::vector<std::jthread> others;
      for (int i = 1; i < threads; i++) others.emplace_back(work);
      work();
    }
    std::printf("{\"images_per_s\": %.1f}\n", static_cast<double>(next) / elapsed());
    std::fflush(stdout);
  }
}
