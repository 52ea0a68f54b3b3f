// C++: the library as a UniformRandomBitGenerator of the standard library, an owned generator in a smart pointer, and
// exceptions around it.
#include <snaprng.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstdlib>
#include <limits>
#include <memory>
#include <numeric>
#include <random>
#include <set>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#define CHECK(condition)                                                               \
    do {                                                                               \
        if (!(condition)) {                                                            \
            std::fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #condition); \
            std::exit(1);                                                              \
        }                                                                              \
    } while (false)

namespace {

struct Generator {
    using result_type = std::uint64_t;
    static constexpr result_type min() { return 0; }
    static constexpr result_type max() { return std::numeric_limits<result_type>::max(); }
    result_type operator()() const { return snaprng_u64(); }
};

struct Free {
    void operator()(snaprng_t *generator) const { snaprng_free(generator); }
};
using Owned = std::unique_ptr<snaprng_t, Free>;

[[noreturn]] void fail(int error) { throw std::runtime_error(snaprng_strerror(error)); }

Owned make(const std::string &purpose)
{
    snaprng_config config{};
    config.size = sizeof config;
    config.personalization = purpose.data();
    config.personalization_len = purpose.size();
    snaprng_t *made = nullptr;
    if (int error = snaprng_new(&config, &made))
        fail(error);
    return Owned(made);
}

}  // namespace

int main()
{
    std::vector<int> cards(52), sorted;
    std::iota(cards.begin(), cards.end(), 0);
    sorted = cards;
    std::shuffle(cards.begin(), cards.end(), Generator());
    // By chance: 2^-225.
    CHECK(cards != sorted);
    std::sort(cards.begin(), cards.end());
    CHECK(cards == sorted);
    Generator generator;
    std::uniform_int_distribution<int> dice(1, 6);
    for (int i = 0; i < 1000; i++) {
        int thrown = dice(generator);
        CHECK(thrown >= 1 && thrown <= 6);
    }

    Owned owned = make("ticket keys");
    std::set<std::array<unsigned char, 16>> blocks;
    std::array<unsigned char, 16> block;
    for (int i = 0; i < 1000; i++) {
        CHECK(snaprng_generate(owned.get(), block.data(), block.size()) == SNAPRNG_OK);
        CHECK(blocks.insert(block).second);
    }
    // One generator per thread, made and freed there.
    std::vector<std::array<unsigned char, 16>> of_threads(8);
    std::vector<std::thread> threads;
    for (auto &place : of_threads)
        threads.emplace_back([&place] {
            Owned mine = make("a thread");
            if (snaprng_generate(mine.get(), place.data(), place.size()) != SNAPRNG_OK)
                std::abort();
        });
    for (auto &thread : threads)
        thread.join();
    for (auto &place : of_threads)
        CHECK(blocks.insert(place).second);

    // An exception between calls passes, and what was owned is freed.
    bool caught = false;
    try {
        Owned lost = make("lost");
        fail(snaprng_fill(nullptr, 1));
    } catch (const std::runtime_error &error) {
        caught = std::string(error.what()) == snaprng_strerror(SNAPRNG_EINVAL);
    }
    CHECK(caught);
    std::printf("  %zu blocks all differ\n", blocks.size());
    return 0;
}
