#include "terrace/io/sha256.h"

#include <gtest/gtest.h>

#include <string>
#include <string_view>

namespace terrace::io {
namespace {

std::string hex_of(std::string_view text) {
  Sha256 s;
  s.update(std::as_bytes(std::span(text)));
  return s.hex();
}

TEST(Sha256, PublishedVectors) {
  // NIST, "Cryptographic Standards and Guidelines: Example Values", SHA-256; and the empty message (FIPS 180-4 tests).
  EXPECT_EQ(hex_of(""), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  EXPECT_EQ(hex_of("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_EQ(hex_of("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq"),
            "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
  EXPECT_EQ(hex_of("abcdefghbcdefghicdefghijdefghijkefghijklfghijklmghijklmnhijklmnoijklmnopjklmnopqklmnopqrlmnopqrs"
                   "mnopqrstnopqrstu"),
            "cf5b16a778af8380036ce59e7b0492370b249b11e8f07a51afac45037afee9d1");
  EXPECT_EQ(hex_of(std::string(1000000, 'a')), "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

TEST(Sha256, PiecesDoNotMatter) {
  std::string text;
  for (int i = 0; i < 300; ++i) text += static_cast<char>(i * 7);
  for (std::size_t length = 0; length <= text.size(); ++length) {  // every place of the end in a block
    const auto bytes = std::as_bytes(std::span(text)).first(length);
    const std::string whole = hex_of(std::string_view(text).substr(0, length));
    for (const std::size_t piece : {1u, 3u, 55u, 64u, 65u, 130u}) {
      Sha256 s;
      for (std::size_t at = 0; at < length; at += piece) {
        s.update(bytes.subspan(at, std::min(piece, length - at)));
        (void)s.hex();  // looking at it does not end it
      }
      ASSERT_EQ(s.hex(), whole) << length << " bytes in pieces of " << piece;
    }
  }
}

}  // namespace
}  // namespace terrace::io
