// Rows of the table for operations that move numbers without changing them.
#pragma once

#include "op_cases.h"

namespace fulcrum::testing {

/// The index that an input holds at some place.
template <class... I>
int64_t index_at(const View& index, I... i) {
  return static_cast<int64_t>(index(i...));
}

inline std::vector<OpCase> shape_cases() {
  std::vector<int64_t> squares;
  for (int64_t k = 0; k < 40; k++) squares.push_back(k * k % 40);
  return {
      {"reshape",
       {{{3, 4}}},
       [](const Tensors& in) {
         return reshape(in[0], {2, -1});
       },
       [](const Tensors& in) {
         return from_vector({2, 6}, in[0].to_vector(), {DType::kF64, {}});
       }},
      {"slice_rows",
       {{{5, 3}}},
       [](const Tensors& in) { return slice(in[0], 0, 1, 4); },
       [](const Tensors& in) {
         return generate({3, 3}, [x = View(in[0])](const Index& i) { return x(i[0] + 1, i[1]); });
       }},
      {"slice_columns",
       {{{2, 5, 3}}},
       [](const Tensors& in) { return slice(in[0], 1, 2, 5); },
       [](const Tensors& in) {
         return generate({2, 3, 3}, [x = View(in[0])](const Index& i) { return x(i[0], i[1] + 2, i[2]); });
       }},
      {"concat_rows",
       {{{2, 3}}, {{1, 3}}},
       [](const Tensors& in) { return concat(in, 0); },
       [](const Tensors& in) {
         return generate({3, 3}, [a = View(in[0]), b = View(in[1])](const Index& i) {
           return i[0] < 2 ? a(i[0], i[1]) : b(i[0] - 2, i[1]);
         });
       }},
      {"concat_columns",
       {{{2, 3, 2}}, {{2, 4, 2}}},
       [](const Tensors& in) { return concat(in, -2); },
       [](const Tensors& in) {
         return generate({2, 7, 2}, [a = View(in[0]), b = View(in[1])](const Index& i) {
           return i[1] < 3 ? a(i[0], i[1], i[2]) : b(i[0], i[1] - 3, i[2]);
         });
       }},
      {"transpose",
       {{{2, 3, 4}}},
       [](const Tensors& in) { return transpose(in[0], 0, -1); },
       [](const Tensors& in) {
         return generate({4, 3, 2}, [x = View(in[0])](const Index& i) { return x(i[2], i[1], i[0]); });
       }},
      {"permute",
       {{{2, 3, 4, 5}}},
       [](const Tensors& in) {
         return permute(in[0], {2, 0, -1, 1});
       },
       [](const Tensors& in) {
         return generate({4, 2, 5, 3}, [x = View(in[0])](const Index& i) { return x(i[1], i[3], i[0], i[2]); });
       }},
      {"stack_columns",
       {{{2, 3}}, {{2, 3}}},
       [](const Tensors& in) { return stack(in, -1); },
       [](const Tensors& in) {
         return generate({2, 3, 2}, [a = View(in[0]), b = View(in[1])](const Index& i) {
           return i[2] == 0 ? a(i[0], i[1]) : b(i[0], i[1]);
         });
       }},
      {"gather",
       {{{2, 3, 2}}, OpInput({2, 2, 2}).holding(std::vector<int64_t>{2, 0, 2, 1, 0, 1, 1, 1})},
       [](const Tensors& in) { return gather(in[0], 1, in[1]); },
       [](const Tensors& in) {
         return generate({2, 2, 2}, [x = View(in[0]), from = View(in[1])](const Index& i) {
           return x(i[0], index_at(from, i[0], i[1], i[2]), i[2]);
         });
       }},
      {"index_select_rows",
       {{{4, 3}}, OpInput({5}).holding(std::vector<int64_t>{3, 0, 3, 3, 1})},
       [](const Tensors& in) { return index_select(in[0], 0, in[1]); },
       [](const Tensors& in) {
         return generate(
             {5, 3}, [x = View(in[0]), from = View(in[1])](const Index& i) { return x(index_at(from, i[0]), i[1]); });
       }},
      {"index_select_two_threads",
       {{{3, 40, 31}}, OpInput({1000}).holding(squares)},
       [](const Tensors& in) { return index_select(in[0], -2, in[1]); },
       [](const Tensors& in) {
         return generate({3, 1000, 31}, [x = View(in[0]), from = View(in[1])](const Index& i) {
           return x(i[0], index_at(from, i[1]), i[2]);
         });
       }},
      {"sort_middle",
       {{{2, 7, 3}}},
       [](const Tensors& in) { return sort(in[0], 1, /*descending=*/true).values; },
       [](const Tensors& in) {
         return generate({2, 7, 3}, [x = View(in[0])](const Index& i) {
           std::vector<double> column;
           for (int64_t k = 0; k < 7; k++) column.push_back(x(i[0], k, i[2]));
           std::sort(column.rbegin(), column.rend());
           return column[static_cast<size_t>(i[1])];
         });
       }},
      {"topk_smallest",
       {{{3, 9}}},
       [](const Tensors& in) { return topk(in[0], 4, -1, /*largest=*/false).values; },
       [](const Tensors& in) {
         return generate({3, 4}, [x = View(in[0])](const Index& i) {
           std::vector<double> row;
           for (int64_t k = 0; k < 9; k++) row.push_back(x(i[0], k));
           std::sort(row.begin(), row.end());
           return row[static_cast<size_t>(i[1])];
         });
       }},
      {"pad",
       {{{2, 3, 4}}},
       [](const Tensors& in) {
         return pad(in[0], {0, 1, 0}, {0, 2, 3});
       },
       [](const Tensors& in) {
         return generate({2, 6, 7}, [x = View(in[0])](const Index& i) {
           const bool inside = i[1] >= 1 && i[1] < 4 && i[2] < 4;
           return inside ? x(i[0], i[1] - 1, i[2]) : 0;
         });
       }},
  };
}

}  // namespace fulcrum::testing
