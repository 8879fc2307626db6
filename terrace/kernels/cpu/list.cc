#include "terrace/kernels/cpu/list.h"

namespace terrace {

void add_kernels(KernelTable& table, Isa isa, const ListedKernel* list, int count, bool spelled) {
  for (int i = 0; i < count; ++i) {
    std::vector<Format> formats;
    bool bf16 = false;
    for (const char* f = list[i].formats; *f != 0; ++f) {
      formats.push_back({*f == 'f' ? DType::f32 : *f == 'h' ? DType::bf16 : DType::i32, Layout::dense});
      bf16 |= *f == 'h';
    }
    std::string name = list[i].op;
    const std::string_view all = list[i].formats;
    if (bf16) {
      const std::string_view kind = all.front() == 'h' ? "bf16" : all.back() == 'h' ? "to_bf16" : "from_bf16";
      name.append(".").append(spelled ? all : kind);
    }
    name.append(".").append(name_of(isa));
    table.add({list[i].op, std::move(formats), isa, list[i].fn, std::move(name)});
  }
}

}  // namespace terrace
