// Plans as JSON files: written whole, read strictly (any damage is Error(bad_file); verify still decides).
#pragma once

#include <string>
#include <string_view>

#include "terrace/plan/plan.h"

namespace terrace {

std::string plan_to_json(const Plan& plan, const Graph& graph);
Plan plan_from_json(std::string_view json, std::string_view origin);

}  // namespace terrace
