#include <rte_eal.h>
#include <unistd.h>

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace {

/// DPDK without huge pages, devices and files: once for all tests, and not when they are only listed.
class environment : public testing::Environment {
  public:
    void SetUp() override {
        std::vector<std::string> words{"dpdk_tests",
                                       "--no-huge",
                                       "--no-shconf",
                                       "--no-pci",
                                       "--no-telemetry",
                                       "--log-level",
                                       "error",
                                       "-m",
                                       "64",
                                       "--lcores",
                                       "0@(0-" + last_processor() + ")"};
        std::vector<char*> arguments;
        for (auto& word : words) arguments.push_back(word.data());
        ASSERT_GE(rte_eal_init(static_cast<int>(arguments.size()), arguments.data()), 0);
    }
    void TearDown() override { EXPECT_EQ(rte_eal_cleanup(), 0); }

  private:
    static std::string last_processor() { return std::to_string(sysconf(_SC_NPROCESSORS_ONLN) - 1); }
};

} // namespace

int main(int argc, char** argv) {
    testing::InitGoogleTest(&argc, argv);
    testing::AddGlobalTestEnvironment(new environment); // googletest deletes it
    return RUN_ALL_TESTS();
}
