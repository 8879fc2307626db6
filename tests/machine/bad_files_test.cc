// Machine files that are wrong in one way each, and the message of each: what is wrong, where, and what to try.
#include <gtest/gtest.h>

#include <string>
#include <utility>

#include "terrace/core/error.h"
#include "terrace/machine/toml.h"

namespace terrace {
namespace {

const std::string kMachine =
    "schema = 1\n[machine]\nname = \"m\"\n[source.S]\ncite = \"c\"\nstatus = \"vendor\"\n"
    "[[tier]]\nid = \"dram\"\nkind = \"dram\"\ncapacity_bytes = 1000000000\nread_Bps = 1e9\nsource = \"S\"\n"
    "[[tier]]\nid = \"disk\"\nkind = \"nvme\"\npersistent = true\ncapacity_bytes = 9000000000\nread_Bps = 1e9\n"
    "source = \"S\"\n[[link]]\nfrom = \"disk\"\nto = \"dram\"\nBps = 1e9\nsource = \"S\"\n"
    "[[unit]]\nid = \"cpu\"\nkind = \"simd\"\nnear = \"dram\"\nsource = \"S\"\n"
    "[[unit.rate]]\nkernel = \"contraction\"\npeak_ops = 4e9\n";

/// The machine with its n-th `from` replaced.
std::string machine_with(const std::string& from, const std::string& to) {
  std::string s = kMachine;
  const std::size_t at = s.find(from);
  EXPECT_NE(at, s.npos) << from;
  return s.replace(at, from.size(), to);
}

TEST(BadMachineFiles, AreRefusedWithTheirMessages) {
  ASSERT_EQ(machine::parse(kMachine, "m.toml").units.size(), 1u);
  const std::string link = "[[link]]\nfrom = \"disk\"\nto = \"dram\"\nBps = 1e9\nsource = \"S\"\n";
  const std::pair<std::string, const char*> all[] = {
      {"", "m.toml:1: key 'schema' is missing (add schema = NUMBER)"},
      {"schema = 1\n", "key 'machine' is missing"},
      {std::string("\0\1\2\3GGUF\xff", 9), "m.toml:1: this is not the TOML of machine files: a character is no UTF-8"},
      {std::string("\x7f"
                   "ELF\2\1\1",
                   7),
       "m.toml:1: this is not the TOML of machine files: a key is missing"},
      {"{\"schema\": 1}", "a key is missing"},
      {"schema = 1 [machine]", "m.toml:1: this is not the TOML of machine files: something follows on the line"},
      {machine_with("read_Bps = 1e9\n", ""), "m.toml:7: tier dram: key 'read_Bps' is missing"},
      {machine_with("read_Bps = 1e9", "read_Bps = -1e9"),
       "m.toml:11: tier dram.read_Bps: must be finite and above zero"},
      {machine_with("read_Bps = 1e9", "read_Bps = nan"), "read_Bps: must be finite"},
      {machine_with("read_Bps = 1e9", "read_Bps = +inf"), "read_Bps: must be finite"},
      {machine_with("read_Bps = 1e9", "read_Bps = 1e308"), "read_Bps: is no physical figure"},
      {machine_with("read_Bps = 1e9", "read_Bps = 1e-300"), "read_Bps: is no physical figure"},
      {machine_with("read_Bps = 1e9", "read_Bps = 1e999999999"), "read_Bps: must be finite"},
      {machine_with("read_Bps = 1e9", "read_Bps = \"1 GB/s\""), "must be a number (without quotes; units stand in the"},
      {machine_with("read_Bps = 1e9", "read_Bps = 1 GB/s"), "something follows on the line"},
      {machine_with("read_Bps = 1e9", "read_Bps = 1GB"), "m.toml:11: this is not the TOML of machine files: '1GB' is"},
      {machine_with("read_Bps = 1e9", "read_Bps = 1e9\nread_Bps = 2e9"), "m.toml:12: tier dram.read_Bps: stands twice"},
      {machine_with("capacity_bytes = 1000000000", "capacity_bytes = 1.5"), "capacity_bytes: must be a whole number"},
      {machine_with("capacity_bytes = 1000000000", "capacity_bytes = 9223372036854775807"), "must be a whole number"},
      {machine_with("capacity_bytes = 1000000000", "capacity_bytes = 18446744073709551616"), "must be a whole number"},
      {machine_with("capacity_bytes = 1000000000", "capacity_bytes = 0x10"), "'0x10' is no value"},
      {machine_with("capacity_bytes = 1000000000", "capacity_bytes = 2020-01-01"), "'2020-01-01' is no value"},
      {machine_with("persistent = true", "persistent = \"yes\""), "persistent: must be true or false"},
      {machine_with("kind = \"nvme\"", "kind = \"floppy\""), "tier disk.kind: has no value 'floppy' (one of: sram"},
      {machine_with("id = \"disk\"", "id = \"dram\""), "m.toml:14: tier dram.id: this id stands twice"},
      {machine_with("id = \"disk\"", "id = \"../etc\""), "is no plain name"},
      {machine_with("id = \"disk\"", "id.x = \"disk\""), "m.toml:14: this is not the TOML of machine files: dotted"},
      {machine_with("cite = \"c\"", "cite = \"\"\"c\"\"\""), "texts of several lines are not read"},
      {machine_with("[source.S]", "[source]"), "m.toml:4: source: must hold named tables (write [source.NAME])"},
      {machine_with("[source.S]", "[source.S.T]"), "sections nest two deep at most"},
      {machine_with("[machine]", "[machine]\nname = \"m\"\n[machine]"), "m.toml:4: machine: stands twice"},
      {machine_with("[machine]", "[[machine]]"), "m.toml:2: machine: must be a table (write [machine])"},
      {machine_with("[[link]]", "[link]"), "m.toml:20: link: must be a list of tables (write [[link]])"},
      {machine_with("[[link]]", "[[lnik]]"), "m.toml:20: lnik: unknown key (known here: schema, machine, source,"},
      {machine_with("[[link]]", "[tier.energy]\nread = 1\n[[link]]"), "tier disk.energy.read: unknown key"},
      {machine_with("[[unit]]", "[tier.energy]\nread_pj_per_bit = 1\n[[unit]]"), "tier: 'energy' stands apart"},
      {machine_with("from = \"disk\"", "from = \"dram\""), "m.toml:22: link dram -> dram.to: leads nowhere"},
      {machine_with(link, link + link), "link disk -> dram.to: stands twice"},
      {machine_with("to = \"dram\"", "to = \"hbm\""), "there is no tier 'hbm' (tiers: dram, disk)"},
      {machine_with("to = \"dram\"", "to = \"\\u001b[2J\""), "there is no tier '?[2J'"},
      {machine_with("near = \"dram\"", "near = \"disk\""), "unit cpu.near: must be a volatile tier"},
      {machine_with("[[unit.rate]]\nkernel = \"contraction\"\npeak_ops = 4e9\n", ""), "unit cpu: has no rate"},
      {machine_with("peak_ops = 4e9", "peak_ops = []"), "unit cpu rate contraction.peak_ops: must be a number"},
      {machine_with("name = \"m\"", "name = \"m\" # \a"), "a control character stands in a comment"},
      {machine_with("name = \"m\"", "name = \"\\q\""), "a text has an unknown escape"},
      {machine_with("name = \"m\"", "name = \"\\uD800\""), "an escape is no character"},
      {machine_with("name = \"m\"", "name = \"a\\u\x10\x10zz\""), "an escape needs hexadecimal digits"},
      {machine_with("name = \"m\"", "name = \"m"), "a text does not end on its line"},
      {machine_with("name = \"m\"", "name = " + std::string(100000, '[')),
       "m.toml:3: this is not the TOML of machine "
       "files: lists nest more than 8 deep"},
      {machine_with("name = \"m\"", "name = \"" + std::string(5000, 'm') + "\""), "is longer than 4096 characters"},
      {machine_with("source = \"S\"", "source = \"\""), "must be text that is not empty"},
      {std::string(100 << 20, ' '), "m.toml: the machine file is longer than 1 MiB"},
  };
  for (const auto& [text, expected] : all) {
    std::string message = "accepted";
    try {
      machine::parse(text, "m.toml");
    } catch (const Error& e) {
      EXPECT_EQ(e.kind(), ErrorKind::bad_file) << e.what();
      message = e.what();
    }
    EXPECT_NE(message.find(expected), std::string::npos) << message << "\nexpected: " << expected;
  }
}

}  // namespace
}  // namespace terrace
