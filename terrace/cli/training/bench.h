// What `terrace bench` measures: a file each.
#pragma once

#include "terrace/cli/args.h"
#include "terrace/cli/json.h"

namespace terrace::cli {

int bench_attention(const Args& args);
int bench_step(const Args& args);

/// A row of a document: name, median, min, max, bound, unit.
inline Json bench_row(const std::string& name, double median, double min, double max, double bound, const char* unit) {
  Json r = Json::object();
  return r.add("name", name)
      .add("median", median)
      .add("min", min)
      .add("max", max)
      .add("bound", bound)
      .add("unit", unit);
}

}  // namespace terrace::cli
