// What every engine asks of bindings before it starts: a caller's mistake is found while nothing has changed yet.
#pragma once

#include "terrace/engine/engine.h"

namespace terrace {

/// Throws Error(usage) unless there is one value in bounds for each symbol.
void check_symbols(const Graph& graph, std::span<const i64> symbols);

/// The bytes bound to an input, checked for size. Throws Error(usage) naming the input when they are missing or do not
/// fit.
std::span<const std::byte> bound_input(const Graph& graph, const Bindings& bindings, ValueId input);

/// Throws Error(usage) when ids bound to an input that picks rows of a table lie outside it.
void check_ids(const Graph& graph, const Bindings& bindings);

}  // namespace terrace
