#include "terrace/machine/machine.h"

namespace terrace {

std::optional<TierId> Machine::find_tier(std::string_view id) const {
  for (std::size_t i = 0; i < tiers.size(); ++i)
    if (tiers[i].id == id) return static_cast<TierId>(i);
  return std::nullopt;
}

std::optional<TierId> Machine::file_tier() const {
  for (std::size_t i = 0; i < tiers.size(); ++i)
    if (tiers[i].persistent) return static_cast<TierId>(i);
  return std::nullopt;
}

std::optional<LinkId> Machine::find_link(TierId from, TierId to) const {
  for (std::size_t i = 0; i < links.size(); ++i)
    if (links[i].from == from && links[i].to == to) return static_cast<LinkId>(i);
  return std::nullopt;
}

}  // namespace terrace
