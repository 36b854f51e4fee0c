// State and events to bytes and back: each struct lists its members once, in `fields(archive)`.
//
// The format has no tags and belongs to one build: it is for snapshots and journals, which name their build. What
// crosses the wire is Cap'n Proto (protocol/).
//
//   integer, enum, double : fixed width, little endian      string, vector, map : count u64, then the items
//   bool, optional        : one byte, then the value        variant : index u8, then the alternative
#pragma once

#include <array>
#include <bit>
#include <chrono>
#include <concepts>
#include <cstdint>
#include <cstring>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

namespace shoal {

static_assert(std::endian::native == std::endian::little, "the archive writes native little endian");

namespace archive_detail {
template <class T>
struct is_vector : std::false_type {};
template <class T>
struct is_vector<std::vector<T>> : std::true_type {};
template <class T>
struct is_map : std::false_type {};
template <class K, class V>
struct is_map<std::map<K, V>> : std::true_type {};
template <class T>
struct is_set : std::false_type {};
template <class T>
struct is_set<std::set<T>> : std::true_type {};
template <class T>
struct is_optional : std::false_type {};
template <class T>
struct is_optional<std::optional<T>> : std::true_type {};
template <class T>
struct is_variant : std::false_type {};
template <class... T>
struct is_variant<std::variant<T...>> : std::true_type {};
template <class T>
struct is_pair : std::false_type {};
template <class A, class B>
struct is_pair<std::pair<A, B>> : std::true_type {};
template <class T>
struct is_array : std::false_type {};
template <class T, std::size_t N>
struct is_array<std::array<T, N>> : std::true_type {};
template <class T>
struct is_time : std::false_type {};
template <class C, class D>
struct is_time<std::chrono::time_point<C, D>> : std::true_type {};
template <class T>
struct is_duration : std::false_type {};
template <class R, class P>
struct is_duration<std::chrono::duration<R, P>> : std::true_type {};
template <class T>
concept Plain = std::is_arithmetic_v<T> || std::is_enum_v<T>;
}  // namespace archive_detail

class Encoder {
 public:
  template <class... T>
  void operator()(const T&... values) {
    (write(values), ...);
  }
  std::string take() && { return std::move(bytes_); }
  const std::string& bytes() const { return bytes_; }

 private:
  template <class T>
  void write(const T& v) {
    using namespace archive_detail;
    if constexpr (std::same_as<T, bool>) {
      bytes_.push_back(v ? 1 : 0);
    } else if constexpr (Plain<T>) {
      bytes_.append(reinterpret_cast<const char*>(&v), sizeof v);
    } else if constexpr (is_time<T>::value) {
      write(v.time_since_epoch().count());
    } else if constexpr (is_duration<T>::value) {
      write(v.count());
    } else if constexpr (std::same_as<T, std::string>) {
      write(std::uint64_t{v.size()});
      bytes_.append(v);
    } else if constexpr (is_vector<T>::value || is_map<T>::value || is_set<T>::value) {
      write(std::uint64_t{v.size()});
      for (const auto& item : v) write(item);
    } else if constexpr (is_array<T>::value) {
      for (const auto& item : v) write(item);
    } else if constexpr (is_pair<T>::value) {
      write(v.first);
      write(v.second);
    } else if constexpr (is_optional<T>::value) {
      write(v.has_value());
      if (v) write(*v);
    } else if constexpr (is_variant<T>::value) {
      write(static_cast<std::uint8_t>(v.index()));
      std::visit([&](const auto& alternative) { write(alternative); }, v);
    } else {
      // `fields` is one function for both directions, hence not const; an Encoder never modifies.
      const_cast<T&>(v).fields(*this);
    }
  }
  std::string bytes_;
};

// Reads what an Encoder wrote. Any malformed byte turns ok() false for good and leaves the rest of the values
// as they were; no allocation is larger than the input.
class Decoder {
 public:
  explicit Decoder(std::string_view bytes) : rest_(bytes) {}

  template <class... T>
  void operator()(T&... values) {
    (read(values), ...);
  }
  bool ok() const { return ok_; }
  bool at_end() const { return ok_ && rest_.empty(); }

 private:
  bool take(void* out, std::size_t n) {
    if (!ok_ || rest_.size() < n) return ok_ = false;
    std::memcpy(out, rest_.data(), n);
    rest_.remove_prefix(n);
    return true;
  }
  // A count of items that take at least one byte each.
  std::uint64_t count() {
    std::uint64_t n = 0;
    if (!take(&n, sizeof n)) return 0;
    if (n > rest_.size()) {
      ok_ = false;
      return 0;
    }
    return n;
  }

  template <class T>
  void read(T& v) {
    using namespace archive_detail;
    if (!ok_) return;
    if constexpr (std::same_as<T, bool>) {
      std::uint8_t b = 0;
      if (take(&b, 1) && b > 1) ok_ = false;
      v = b == 1;
    } else if constexpr (Plain<T>) {
      take(&v, sizeof v);
    } else if constexpr (is_time<T>::value) {
      typename T::rep n = 0;
      read(n);
      v = T(typename T::duration(n));
    } else if constexpr (is_duration<T>::value) {
      typename T::rep n = 0;
      read(n);
      v = T(n);
    } else if constexpr (std::same_as<T, std::string>) {
      const std::uint64_t n = count();
      if (!ok_) return;
      v.assign(rest_.data(), n);
      rest_.remove_prefix(n);
    } else if constexpr (is_vector<T>::value) {
      const std::uint64_t n = count();
      v.clear();
      for (std::uint64_t i = 0; i < n && ok_; ++i) read(v.emplace_back());
    } else if constexpr (is_map<T>::value) {
      const std::uint64_t n = count();
      v.clear();
      for (std::uint64_t i = 0; i < n && ok_; ++i) {
        typename T::key_type key{};
        read(key);
        typename T::mapped_type value{};
        read(value);
        if (ok_ && !v.emplace(std::move(key), std::move(value)).second) ok_ = false;
      }
    } else if constexpr (is_set<T>::value) {
      const std::uint64_t n = count();
      v.clear();
      for (std::uint64_t i = 0; i < n && ok_; ++i) {
        typename T::key_type key{};
        read(key);
        if (ok_ && !v.insert(std::move(key)).second) ok_ = false;
      }
    } else if constexpr (is_array<T>::value) {
      for (auto& item : v) read(item);
    } else if constexpr (is_pair<T>::value) {
      read(v.first);
      read(v.second);
    } else if constexpr (is_optional<T>::value) {
      bool present = false;
      read(present);
      if (!ok_) return;
      if (present) {
        read(v.emplace());
      } else {
        v.reset();
      }
    } else if constexpr (is_variant<T>::value) {
      std::uint8_t index = 0;
      read(index);
      if (ok_) read_alternative<0>(v, index);
    } else {
      v.fields(*this);
    }
  }

  template <std::size_t I, class V>
  void read_alternative(V& v, std::uint8_t index) {
    if constexpr (I == std::variant_size_v<V>) {
      ok_ = false;
    } else if (index == I) {
      read(v.template emplace<I>());
    } else {
      read_alternative<I + 1>(v, index);
    }
  }

  std::string_view rest_;
  bool ok_ = true;
};

template <class T>
std::string encode_state(const T& value) {
  Encoder encoder;
  encoder(value);
  return std::move(encoder).take();
}

// nullopt when the bytes are not exactly one T.
template <class T>
std::optional<T> decode_state(std::string_view bytes) {
  T value{};
  Decoder decoder(bytes);
  decoder(value);
  if (!decoder.at_end()) return std::nullopt;
  return value;
}

}  // namespace shoal
