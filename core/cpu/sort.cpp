// Sorting rows.
#include <algorithm>
#include <vector>

#include <fulcrum/core/cpu/parallel.h>
#include <fulcrum/core/kernels.h>
#include <fulcrum/core/sort_rules.h>

namespace fulcrum {

void Cpu::argsort(Tensor& y, const Tensor& x, bool descending) {
  const int64_t n = x.size(-1), kept = y.size(-1);
  visit_any(x.dtype(), [&]<class T>() {
    struct Item {
      T value;
      int64_t at;
    };
    const T* in = x.data<T>();
    int64_t* out = y.data<int64_t>();
    cpu::parallel_for(x.numel() / n, std::max<int64_t>(1, cpu::kGrain / (8 * n)), [&](int64_t begin, int64_t end) {
      std::vector<Item> row(static_cast<size_t>(n));
      const auto before = [order = SortOrder<T>{descending}](const Item& a, const Item& b) {
        return order(a.value, a.at, b.value, b.at);
      };
      for (int64_t r = begin; r < end; r++) {
        for (int64_t i = 0; i < n; i++) row[static_cast<size_t>(i)] = {in[r * n + i], i};
        if (kept < n) std::partial_sort(row.begin(), row.begin() + kept, row.end(), before);
        else std::sort(row.begin(), row.end(), before);
        for (int64_t i = 0; i < kept; i++) out[r * kept + i] = row[static_cast<size_t>(i)].at;
      }
    });
  });
}

}  // namespace fulcrum
