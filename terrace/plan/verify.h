// The independent checker: a plan that passes keeps its promises whatever made it.
#pragma once

#include <string>
#include <vector>

#include "terrace/machine/machine.h"
#include "terrace/plan/plan.h"

namespace terrace {

/// Classes of defect, each of which a test breaks a plan with.
enum class Defect : std::uint8_t {
  malformed,          ///< an index, interval, kernel, operand or extent that does not exist or does not fit the graph
  wrong_graph,        ///< planned for another graph or machine
  missing_node,       ///< a node that no step of a body computes, or only in part
  duplicate_node,     ///< a part of a node computed twice
  read_before_write,  ///< bytes read that no step ordered before has written
  not_arrived,        ///< a weight used that no ordered Move has brought
  race,               ///< two steps that are not ordered, one of which writes what the other uses
  overlap,            ///< two live placements share bytes
  outside_arena,      ///< a placement outside its arena or file, or a file that lies elsewhere than the weight
  over_budget,        ///< arenas and reserves exceed the budget or the tier's capacity
  misaligned,         ///< a transfer whose offsets do not agree modulo the granule, or without room for whole granules
  unaccounted,        ///< arena bytes, scratch, or bytes of a value that no placement accounts for
  wrong_repetition,   ///< edges that hold in one repetition but not from one to the next, or from one body to another
  cycle,              ///< steps that wait for one another, or for a later step of their own lane
};
std::string_view name_of(Defect d);

struct Finding {
  Defect defect;
  std::string what;  ///< body, step, placement and bytes concerned
};

/// Checks everything, without using the planner's code: order, arrival, lifetimes, capacity, alignment, bytes;
/// each body, two repetitions in a row, and every change from one repeated body to another. Empty: the plan is sound.
/// `weights` are the true places of weights (placements with Owner::file, whole values).
std::vector<Finding> verify(const Graph& graph, const Machine& machine, const Plan& plan,
                            const std::vector<Placement>& weights);

/// Throws Error(failure) with the first findings if there are any.
void verify_or_throw(const Graph& graph, const Machine& machine, const Plan& plan,
                     const std::vector<Placement>& weights);

}  // namespace terrace
