// Machine files: what is read, what is refused and where the message points.
#include "terrace/machine/toml.h"

#include <gtest/gtest.h>

#include "terrace/core/error.h"

namespace terrace {
namespace {

const char* const kSmall = R"(schema = 1
[machine]
name = "small"
[source.S]
cite = "a book"
status = "published"
[[tier]]
id = "dram"
kind = "dram"
capacity_bytes = 1000000
read_Bps = 10e9
source = "S"
[[tier]]
id = "disk"
kind = "nvme"
persistent = true
capacity_bytes = 9000000
read_Bps = 1e9
latency_ns = 2500
granule_bytes = 512
source = "S"
[[link]]
from = "disk"
to = "dram"
Bps = 1e9
rates = [{block_bytes = 4096, depth = 2, Bps = 5e7}]
source = "S"
[[unit]]
id = "cpu"
kind = "simd"
near = "dram"
threads = 2
source = "S"
[[unit.rate]]
kernel = "contraction"
peak_ops = 4e9
)";

std::string replaced(const std::string& from, const std::string& to) {
  std::string s = kSmall;
  const std::size_t at = s.find(from);
  EXPECT_NE(at, s.npos) << from;
  return s.replace(at, from.size(), to);
}

/// The whole message of the refusal.
std::string refusal(const std::string& text) {
  try {
    machine::parse(text, "m.toml");
  } catch (const Error& e) {
    EXPECT_EQ(e.kind(), ErrorKind::bad_file);
    return e.what();
  }
  ADD_FAILURE() << "was taken";
  return {};
}

void expect_refused(const std::string& text, std::initializer_list<const char*> parts) {
  const std::string message = refusal(text);
  for (const char* p : parts) EXPECT_NE(message.find(p), message.npos) << "no '" << p << "' in: " << message;
}

TEST(MachineFile, ReadsEveryPart) {
  const Machine m = machine::parse(kSmall, "m.toml");
  EXPECT_EQ(m.name, "small");
  ASSERT_EQ(m.tiers.size(), 2u);
  EXPECT_EQ(m.main_memory(), 0);
  EXPECT_EQ(m.file_tier(), TierId{1});
  EXPECT_EQ(m.find_link(1, 0), LinkId{0});
  EXPECT_FALSE(m.find_link(0, 1));
  EXPECT_DOUBLE_EQ(m.tiers[1].latency.value, 2.5e-6);
  EXPECT_EQ(m.tiers[1].granule, Bytes{512});
  EXPECT_EQ(m.links[0].rates.at(0).depth, 2);
  EXPECT_EQ(m.units[0].rates.at(0).threads, 2);  // the unit's own, when a rate does not say
  EXPECT_FALSE(m.tiers[0].energy.read_pj_per_bit);
}

TEST(MachineFile, RefusesWithLineKeyAndHint) {
  expect_refused(replaced("read_Bps = 10e9", "read_bps = 10e9"), {"m.toml:", "read_Bps", "missing"});
  expect_refused(replaced("threads = 2", "threads = 2\nspeed = 3"),
                 {"m.toml:33", "unit cpu.speed", "unknown key", "threads"});
  expect_refused(replaced("[machine]", "[machine]\ncolour = \"red\""), {"m.toml:3", "colour", "unknown key"});
  expect_refused(replaced("source = \"S\"", "source = \"T\""), {"m.toml:12", "'T' is not declared", "[source.T]"});
  expect_refused(replaced("near = \"dram\"", "near = \"drum\""), {"no tier 'drum'", "dram, disk"});
  expect_refused(replaced("schema = 1", "schema = 2"), {"schema"});
  expect_refused(replaced("id = \"disk\"", "id = \"dram\""), {"stands twice"});
  expect_refused(replaced("capacity_bytes = 1000000", "capacity_bytes = \"1000000\""), {"must be a number"});
  expect_refused(replaced("near = \"dram\"", "near = \"disk\""), {"volatile"});
  expect_refused(replaced("status = \"published\"", "status = \"sure\""), {"sure", "measured"});
  expect_refused(replaced("from = \"disk\"", "from = \"dram\""), {"leads nowhere"});
  expect_refused("schema = \n", {"m.toml:1", "TOML"});
  expect_refused("", {"schema"});
}

TEST(MachineFile, NumbersAreFiniteAndAboveZero) {
  for (const char* bad : {"0", "-1", "inf", "nan", "-inf", "0.0", "1e99", "true", "[1]"})
    expect_refused(replaced("read_Bps = 10e9", std::string("read_Bps = ") + bad), {"m.toml:11", "read_Bps"});
  for (const char* bad : {"0", "-4096", "1.5", "9223372036854775807", "1e300"})
    expect_refused(replaced("capacity_bytes = 1000000", std::string("capacity_bytes = ") + bad), {"capacity_bytes"});
  expect_refused(replaced("granule_bytes = 512", "granule_bytes = 513"), {"power of two"});
}

TEST(MachineFile, FilesMustReachMainMemory) {
  std::string s = kSmall;
  const std::size_t begin = s.find("[[link]]"), end = s.find("[[unit]]");
  expect_refused(s.erase(begin, end - begin), {"no link from 'disk' to 'dram'"});
}

TEST(MachineFile, CountsAreBounded) {
  std::string tiers = kSmall;
  for (int i = 0; i < 7; ++i)
    tiers += "[[tier]]\nid = \"t" + std::to_string(i) +
             "\"\nkind = \"dram\"\ncapacity_bytes = 1\nread_Bps = 1\nsource = \"S\"\n";
  expect_refused(tiers, {"tier", "at most 8"});
  expect_refused(std::string(2 << 20, '#'), {"1 MiB"});
  expect_refused("a = " + std::string(100000, '['), {"m.toml"});
}

// Other readers of TOML ended on some of these.
TEST(MachineFile, DamagedTomlIsRefused) {
  for (const char* bad : {"[=]",
                          "[[=]]",
                          "[ ,]",
                          "[#]\n",
                          "[\n]",
                          "[.a]",
                          "[a.]",
                          "[a.=1]",
                          "[]",
                          "[[]]",
                          "[",
                          "[[",
                          "[a",
                          "[[a]",
                          "=x",
                          ".a=1",
                          "a.=1",
                          "a..b=1",
                          "a.\n=1",
                          "a=",
                          "a=,",
                          "a=}",
                          "a=]",
                          "a=[}",
                          "a=[=]",
                          "a=[1 }]",
                          "a={=1}",
                          "a={,}",
                          "a={b}",
                          "a={b=}",
                          "a={b=}}",
                          "a={b=]}",
                          "a={.b=1}",
                          "a=2020-01-01 1\n",
                          "a=2020-01-01 1,",
                          "a=[2020-01-01 1]",
                          "a=2020-01-01 1",
                          "a='",
                          "a=\"\\",
                          "a='''",
                          "\"",
                          "'",
                          "\"a",
                          "a=1_",
                          "a=0x",
                          "a=+",
                          "a=1e",
                          "a=_1",
                          "\xff",
                          "a=\"\\u",
                          "a=1\r",
                          "é=1",
                          "aé=1",
                          "[é]",
                          "a=é",
                          "a=1é",
                          "a=''é",
                          "a=\"\"é",
                          "a=\"\"\"\\é\"\"\"",
                          "a=\"\"\"\\\né\"\"\"",
                          "a='''b'''''é",
                          "a=[1,é]",
                          "a={é=1}",
                          "'a'é=1",
                          "a.é=1",
                          "a=2020-01-01 é",
                          "a=1\"é\"",
                          "a = 1 'é'",
                          "a='b' \"é\"",
                          "a=true\"é",
                          "a = 1==\"é = 1",
                          "a = [\nb=\"é\"]",
                          "a = [\nb = \"é\"]",
                          "a = \"\\é\""}) {
    SCOPED_TRACE(bad);
    refusal(bad);
    refusal(std::string("schema = 1\n") + bad);
    refusal(std::string(kSmall) + bad);
  }
}

TEST(MachineFile, OtherScriptsStandInQuotesAndComments) {
  const Machine m = machine::parse(replaced("cite = \"a book\"", "cite = \"a bö\\\"ök\"  # über \" this"), "m.toml");
  EXPECT_EQ(m.sources.at(0).cite, "a bö\"ök");
  EXPECT_EQ(machine::parse(replaced("\"a book\"", "'\"ö\"'"), "m.toml").sources.at(0).cite, "\"ö\"");
  expect_refused(replaced("[machine]", "[machine]\nü = 1"), {"m.toml:3", "not ASCII must stand in quotes"});
}

void expect_same(const Machine& a, const Machine& b) {
  EXPECT_EQ(machine::to_toml(a), machine::to_toml(b));
  ASSERT_EQ(a.tiers.size(), b.tiers.size());
  for (std::size_t i = 0; i < a.tiers.size(); ++i) {
    const Tier &x = a.tiers[i], &y = b.tiers[i];
    EXPECT_EQ(x.id, y.id);
    EXPECT_EQ(x.capacity, y.capacity);
    EXPECT_EQ(x.read, y.read);
    EXPECT_EQ(x.write, y.write);
    EXPECT_EQ(x.latency, y.latency);
    EXPECT_EQ(x.granule, y.granule);
    EXPECT_EQ(x.hardware, y.hardware);
    EXPECT_EQ(x.persistent, y.persistent);
    EXPECT_EQ(x.read_Bps_by_threads, y.read_Bps_by_threads);
    EXPECT_EQ(x.energy.read_pj_per_bit, y.energy.read_pj_per_bit);
    EXPECT_EQ(x.energy.write_pj_per_bit, y.energy.write_pj_per_bit);
  }
  ASSERT_EQ(a.links.size(), b.links.size());
  for (std::size_t i = 0; i < a.links.size(); ++i) {
    EXPECT_EQ(a.links[i].rate, b.links[i].rate);
    EXPECT_EQ(a.links[i].pj_per_bit, b.links[i].pj_per_bit);
    ASSERT_EQ(a.links[i].rates.size(), b.links[i].rates.size());
    for (std::size_t r = 0; r < a.links[i].rates.size(); ++r)
      EXPECT_EQ(a.links[i].rates[r].rate, b.links[i].rates[r].rate);
  }
  ASSERT_EQ(a.units.size(), b.units.size());
  for (std::size_t i = 0; i < a.units.size(); ++i) {
    EXPECT_EQ(a.units[i].step_overhead, b.units[i].step_overhead);
    ASSERT_EQ(a.units[i].rates.size(), b.units[i].rates.size());
    for (std::size_t r = 0; r < a.units[i].rates.size(); ++r) {
      EXPECT_EQ(a.units[i].rates[r].peak, b.units[i].rates[r].peak);
      EXPECT_EQ(a.units[i].rates[r].vector_peak, b.units[i].rates[r].vector_peak);
      EXPECT_EQ(a.units[i].rates[r].pj_per_op, b.units[i].rates[r].pj_per_op);
    }
  }
}

TEST(MachineFile, RoundTrip) {
  Machine m = machine::parse(kSmall, "m.toml");
  m.processor = "quote \" backslash \\ tab \t bell \a";
  m.notes = "two\nlines";
  m.idle_w = 0.1;
  m.tiers[0].read_Bps_by_threads = {1.0 / 3, 2e9, 3.0000000000000004e9};
  m.tiers[0].energy.read_pj_per_bit = 3.9;
  m.tiers[1].latency = Seconds{1e-9 / 3};
  m.links[0].pj_per_bit = 1e-3;
  m.links[0].rates.push_back({Bytes{8192}, 3, BytesPerSecond{123456789.123}});
  m.units[0].step_overhead = Seconds{4.2e-8};
  m.units[0].rates.push_back({"linear", 1, OpsPerSecond{1e12 / 7}, OpsPerSecond{3}, BytesPerSecond{7}, 0.25});
  const Machine back = machine::parse(machine::to_toml(m), "written");
  expect_same(m, back);
  EXPECT_EQ(back.processor, m.processor);
  EXPECT_EQ(back.notes, m.notes);
  EXPECT_EQ(back.idle_w, m.idle_w);
  EXPECT_FALSE(back.tdp_w);
}

TEST(MachineFile, ShippedMachinesAreSound) {
  for (const char* name : {"raspberry-pi-5", "hbm-server"}) {
    const Machine m = machine::load(name, {TERRACE_SOURCE_DIR "/machines"});
    EXPECT_EQ(m.name, name);
    expect_same(m, machine::parse(machine::to_toml(m), name));
    ASSERT_TRUE(m.file_tier());
    EXPECT_TRUE(m.find_link(*m.file_tier(), m.main_memory()));
    for (const Link& l : m.links)
      for (const LinkRate& r : l.rates) EXPECT_LE(r.rate, l.rate) << name;
    for (const Tier& t : m.tiers)
      for (double by : t.read_Bps_by_threads) EXPECT_LE(by, t.read.value) << name;
  }
}

TEST(MachineFile, AnUnknownNameListsTheKnownOnes) {
  try {
    machine::load("toaster", {TERRACE_SOURCE_DIR "/machines"});
    FAIL();
  } catch (const Error& e) {
    EXPECT_EQ(e.kind(), ErrorKind::usage);
    EXPECT_NE(e.hint().find("hbm-server, raspberry-pi-5"), std::string::npos) << e.hint();
  }
  EXPECT_THROW(machine::load("./no-such.toml"), Error);
  EXPECT_THROW(machine::load("/dev/zero.toml"), Error);
  EXPECT_THROW(machine::load("/"), Error);
}

}  // namespace
}  // namespace terrace
