// Drawing a machine: its tiers, links and units, and the tree of cores and caches that hwloc sees.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "terrace/machine/machine.h"

namespace terrace {

/// Boxes and arrows in plain ASCII, at most 100 columns; `tree` (from topology_json, may be empty) goes below.
std::string topo_text(const Machine& m, std::string_view tree = {});

/// The same picture as an SVG document, without scripts or outside references.
std::string topo_svg(const Machine& m);

/// What the helper program prints ("terrace-topology"): the tree as JSON. Empty when it cannot be run or fails.
std::string topology_json(const std::string& program);

/// Data and unified caches of such a tree, one entry a level; empty for text that is no such tree.
struct TopoCache {
  int level = 1;
  u64 bytes = 0;
  int instances = 1;
};
std::vector<TopoCache> topo_caches(std::string_view tree);

}  // namespace terrace
