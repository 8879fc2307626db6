// Reading the header of a GGUF file: keys, tensors, and how the data must lie.
#include "terrace/io/gguf.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <bit>
#include <limits>
#include <utility>

#include "terrace/core/utf8.h"
#include "terrace/io/gguf_cursor.h"

namespace terrace::io {
namespace {

using detail::bytes_of, detail::Cursor, detail::kMaxKept, detail::kMaxString, detail::printable, detail::read_scalar,
    detail::read_type, detail::shown;

constexpr u64 kMaxKey = 65535;            // gguf.md
constexpr u64 kMaxName = 63;              // GGML_MAX_NAME - 1
constexpr u64 kMaxEntries = 4096;         // models have some fifty; an entry takes more memory than its least bytes
constexpr u64 kMinEntry = 8 + 1 + 4 + 1;  // key length, key, type, the smallest value
constexpr u64 kMinTensor = 8 + 1 + 4 + 8 + 4 + 8;
static_assert(sizeof(GgufTensor) <= 4 * kMinTensor, "tensors must not take more than four times their bytes");

/// ggml's tensor types by number (ggml.h), to refuse the others by name.
constexpr std::string_view kGgmlNames[] = {
    "F32",        "F16",        "Q4_0",       "Q4_1",  "Q4_2",     "Q4_3",     "Q5_0",     "Q5_1",    "Q8_0",
    "Q8_1",       "Q2_K",       "Q3_K",       "Q4_K",  "Q5_K",     "Q6_K",     "Q8_K",     "IQ2_XXS", "IQ2_XS",
    "IQ3_XXS",    "IQ1_S",      "IQ4_NL",     "IQ3_S", "IQ2_S",    "IQ4_XS",   "I8",       "I16",     "I32",
    "I64",        "F64",        "IQ1_M",      "BF16",  "Q4_0_4_4", "Q4_0_4_8", "Q4_0_8_8", "TQ1_0",   "TQ2_0",
    "IQ4_NL_4_4", "IQ4_NL_4_8", "IQ4_NL_8_8", "MXFP4", "NVFP4",    "Q1_0",     "Q2_0"};

bool layout_of(u32 ggml_type, TensorSpec& spec) {
  spec.dtype = ggml_type == 1 ? DType::f16 : DType::f32;
  switch (ggml_type) {
    case 0:
    case 1: spec.layout = Layout::dense; return true;
    case 2: spec.layout = Layout::q4_0; return true;
    case 3: spec.layout = Layout::q4_1; return true;
    case 8: spec.layout = Layout::q8_0; return true;
    default: return false;
  }
}

void read_array(Cursor& c, GgufEntry& e) {
  const u64 type_at = c.at();
  e.element = read_type(c, "array element type");
  if (e.element == GgufType::array)
    c.fail(type_at, "an array of arrays is not supported", "use a file without nested arrays");
  e.count = c.value<u64>("an array's length");
  e.offset = c.at();
  const u64 least = e.element == GgufType::string ? 8 : bytes_of(e.element);
  if (e.count > c.left() / least)
    c.fail(e.offset - 8, fmt::format("an array of {} elements does not fit in the {} bytes left", e.count, c.left()),
           "the file is cut short or damaged: download it again");
  if (e.element != GgufType::string) {
    c.skip(e.count * least, "an array");
  } else {
    for (u64 i = 0; i < e.count; ++i) {
      const u64 n = c.length("a string of an array", kMaxString);
      c.skip(n, "a string of an array");
    }
  }
  e.bytes = c.at() - e.offset;
}

GgufEntry read_entry(Cursor& c) {
  GgufEntry e;
  const u64 start = c.at();
  c.text(e.key, "a key", kMaxKey);
  if (e.key.empty()) c.fail(start, "a key is empty");
  c.subject(fmt::format("key '{}'", shown(e.key)));
  // gguf.md wants ASCII; spaces and control characters only come from damage.
  if (!printable(e.key, 0x21) || std::any_of(e.key.begin(), e.key.end(), [](char x) { return x < 0; }))
    c.fail(start, "a key has characters other than printable ASCII");
  e.type = read_type(c, "value type");
  if (e.type == GgufType::array) {
    read_array(c, e);
  } else if (e.type == GgufType::string) {
    e.bytes = c.length("a string", kMaxString);
    e.offset = c.at();
    std::string text(e.bytes <= kMaxKept ? e.bytes : 0, '\0');
    c.characters(text);
    e.scalar = std::move(text);
    c.skip(e.bytes - (e.bytes <= kMaxKept ? e.bytes : 0), "a string");
  } else {
    e.offset = c.at();
    e.bytes = bytes_of(e.type);
    e.scalar = read_scalar(c, e.type);
  }
  return e;
}

void check_start(Cursor& c) {
  c.need(8, "its first 8 bytes");
  std::array<char, 4> magic{};
  for (char& x : magic) x = c.value<char>("the magic");
  const std::string_view m(magic.data(), magic.size());
  if (m != "GGUF") {
    std::string_view like = "not a GGUF file";
    if (m == "tjgg" || m == "lmgg" || m == "fmgg" || m == "algg") like = "a GGML file from before GGUF";
    if (m == "FUGG") like = "a big-endian GGUF file";
    if (m.substr(0, 2) == "PK") like = "a zip archive (a PyTorch checkpoint?), not a GGUF file";
    if (m == "<!DO" || m == "<htm") like = "a web page, not a GGUF file";
    if (m.substr(0, 3) == "ver") like = "a Git LFS pointer, not the file itself";
    c.fail(0, fmt::format("this is {}", like), "give a GGUF file of version 3");
  }
  const u32 version = c.value<u32>("the version");
  if (version == 3) return;
  if ((version & 0xffff) == 0 && version != 0)
    c.fail(4, "this is a big-endian GGUF file, which is not supported", "use the little-endian file of this model");
  c.fail(4, fmt::format("GGUF version {} is not supported, only version 3", version),
         version == 1 || version == 2 ? "convert the model again with a current converter" : "the file may be damaged");
}

TensorSpec read_spec(Cursor& c) {
  const u64 at = c.at();
  const u32 rank = c.value<u32>("the number of dimensions");
  if (rank < 1 || rank > kMaxRank) c.fail(at, fmt::format("{} dimensions: 1 to {} are supported", rank, kMaxRank));
  TensorSpec spec;
  spec.shape.rank = static_cast<int>(rank);
  for (int a = static_cast<int>(rank) - 1; a >= 0; --a) {  // the file has the innermost first
    const u64 n = c.value<u64>("a dimension");
    if (n == 0 || n > static_cast<u64>(std::numeric_limits<i64>::max()))
      c.fail(c.at() - 8, fmt::format("a dimension is {}", n));
    spec.shape[a] = Dim{static_cast<i64>(n)};
  }
  const u32 type = c.value<u32>("a tensor type");
  if (!layout_of(type, spec)) {
    const bool known = type < std::size(kGgmlNames);
    c.fail(c.at() - 4,
           known ? fmt::format("tensor type {} is not supported", kGgmlNames[type])
                 : fmt::format("tensor type number {} is unknown", type),
           "use a file with F32, F16, Q8_0, Q4_0 or Q4_1 tensors");
  }
  return spec;
}

/// Bytes of a tensor; fails unless rows are whole blocks and the product stays inside 63 bits.
u64 checked_bytes(const Cursor& c, const TensorSpec& spec) {
  const i64 columns = spec.shape.last().value;
  if (spec.layout != Layout::dense && columns % kBlock != 0)
    c.fail(c.at(), fmt::format("rows of {} elements are not whole blocks of {}", columns, kBlock));
  i64 elements = 1;
  for (int a = 0; a < spec.shape.rank; ++a)
    if (__builtin_mul_overflow(elements, spec.shape[a].value, &elements))
      c.fail(c.at(), "the number of elements overflows");
  if (elements > std::numeric_limits<i64>::max() / 4) c.fail(c.at(), "the number of bytes overflows");
  return spec.bytes({}).count;
}

GgufTensor read_tensor(Cursor& c) {
  GgufTensor t;
  const u64 start = c.at();
  c.subject("a tensor's name");
  c.text(t.name, "a tensor's name", kMaxName);
  c.subject(fmt::format("tensor '{}'", shown(t.name)));
  if (t.name.empty() || without_controls(t.name) != t.name)
    c.fail(start, "the name is empty, no UTF-8, or has control characters");
  t.spec = read_spec(c);
  t.bytes = checked_bytes(c, t.spec);
  t.offset = c.value<u64>("an offset");
  return t;
}

u64 read_alignment(const Cursor& c, const GgufEntry* e) {
  if (!e) return 32;
  const u64* a = std::get_if<u64>(&e->scalar);
  if (e->type != GgufType::u32 || !a || *a < 8 || !std::has_single_bit(*a))
    c.fail(e->offset, "general.alignment must be a u32, a power of two and at least 8");
  return *a;
}

/// Index of an item whose name occurs twice, or the number of items.
template <class T>
std::size_t find_duplicate(const std::vector<T>& items, std::string T::*name) {
  std::vector<u32> order(items.size());
  for (std::size_t i = 0; i < order.size(); ++i) order[i] = static_cast<u32>(i);
  std::sort(order.begin(), order.end(), [&](u32 a, u32 b) {
    const int by_name = (items[a].*name).compare(items[b].*name);
    return by_name != 0 ? by_name < 0 : a < b;
  });
  for (std::size_t i = 1; i < order.size(); ++i)
    if (items[order[i]].*name == items[order[i - 1]].*name) return order[i];
  return items.size();
}

/// Makes offsets absolute, after checking that the tensors follow each other without gaps and end inside the file.
void check_layout(Cursor& c, std::vector<GgufTensor>& tensors, u64 data, u64 alignment, u64 size) {
  u64 expected = 0, last = 0;
  for (GgufTensor& t : tensors) {
    c.subject(fmt::format("tensor '{}'", shown(t.name)));
    if (t.offset != expected)
      c.fail(c.at(),
             fmt::format("its data are at offset {} of the data section, they must be at {}", t.offset, expected));
    if (data > size || expected > size - data || t.bytes > size - data - expected) {
      // The sums fit: bytes and offsets are below 2^63.
      const u64 begin = data + expected;
      c.fail(size,
             fmt::format("its data are bytes [{}, {}) of a file of {} bytes: at least {} bytes are missing", begin,
                         begin + t.bytes, size, begin + t.bytes - size),
             "the file is cut short: download it again");
    }
    t.offset = data + expected;
    last = t.offset + t.bytes;
    expected = round_up(expected + t.bytes, alignment);
  }
  c.subject("");
  if (size > data + expected) {
    const u64 end = tensors.empty() ? data : last;
    c.fail(end, fmt::format("{} bytes follow the end of the data", size - end),
           "the file is damaged, or something was appended to it");
  }
}

}  // namespace

GgufFile::GgufFile(std::string path) : file_(std::move(path)) {
  Cursor c(file_, 0, file_.size());
  check_start(c);
  const u64 counts_at = c.at();
  const auto n_tensors = c.value<u64>("the number of tensors");
  const auto n_entries = c.value<u64>("the number of keys");
  // Counts are checked against what the file could hold before anything is made of them.
  if (n_entries > c.left() / kMinEntry || n_tensors > (c.left() - n_entries * kMinEntry) / kMinTensor)
    c.fail(counts_at,
           fmt::format("{} tensors and {} keys cannot be in a file of {} bytes", n_tensors, n_entries, size()),
           "the file is cut short or damaged: download it again");
  if (n_entries > kMaxEntries)
    c.fail(counts_at + 8, fmt::format("{} keys: at most {} are supported", n_entries, kMaxEntries),
           "remove keys that no model needs");
  entries_.reserve(n_entries);  // exact: growing would hold two copies
  for (u64 i = 0; i < n_entries; ++i) {
    c.subject(fmt::format("key {} of {}", i + 1, n_entries));
    entries_.push_back(read_entry(c));
  }
  c.subject("");
  if (const std::size_t i = find_duplicate(entries_, &GgufEntry::key); i < entries_.size())
    c.fail(entries_[i].offset, fmt::format("key '{}' occurs twice", entries_[i].key));
  alignment_ = read_alignment(c, find("general.alignment"));
  const u64 infos_at = c.at();
  tensors_.reserve(n_tensors);
  for (u64 i = 0; i < n_tensors; ++i) tensors_.push_back(read_tensor(c));
  c.subject("");
  if (const std::size_t i = find_duplicate(tensors_, &GgufTensor::name); i < tensors_.size())
    c.fail(infos_at, fmt::format("tensor '{}' occurs twice", tensors_[i].name));
  data_offset_ = round_up(c.at(), alignment_);
  check_layout(c, tensors_, data_offset_, alignment_, size());
}

}  // namespace terrace::io
