// Runs a fuzz target over kept inputs where libFuzzer is not linked: any compiler, any sanitizer.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <exception>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <stdexcept>
#include <string>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(std::uint8_t const* data, std::size_t size);

namespace {

namespace fs = std::filesystem;

/// Sorted, so that every run goes through the inputs in one order.
std::vector<fs::path> files_of(std::vector<fs::path> const& arguments) {
    std::vector<fs::path> files;
    for (auto const& argument : arguments) {
        if (!fs::is_directory(argument)) {
            files.push_back(argument);
            continue;
        }
        for (auto const& entry : fs::recursive_directory_iterator{argument}) {
            if (entry.is_regular_file()) files.push_back(entry.path());
        }
    }
    std::sort(files.begin(), files.end());
    return files;
}

void replay(fs::path const& file) {
    std::ifstream in{file, std::ios::binary};
    if (!in) throw std::runtime_error{file.string() + ": cannot be read"};
    std::string const text{std::istreambuf_iterator<char>{in}, {}};
    // Its own block of exactly this size: a byte read past the input is an error AddressSanitizer sees.
    std::vector<std::uint8_t> const input(text.begin(), text.end());
    LLVMFuzzerTestOneInput(input.data(), input.size());
}

} // namespace

int main(int argc, char** argv) try {
    auto const files = files_of({argv + 1, argv + argc});
    for (auto const& file : files) replay(file);
    std::printf("%zu inputs replayed\n", files.size());
    return files.empty() ? 1 : 0;
} catch (std::exception const& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
}
