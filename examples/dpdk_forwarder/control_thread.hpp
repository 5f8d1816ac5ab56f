#pragma once

#include "dpdk_forwarder/forwarder.hpp"

#include "support/control_server.hpp"

#include <boost/asio/io_context.hpp>
#include <rte_errno.h>
#include <rte_lcore.h>

#include <pthread.h>

#include <stdexcept>
#include <string>
#include <string_view>

namespace dpdk {

/// Answers `ku` lines on a Unix socket while workers run, on a thread beside the lcores' processors where there is one.
class control_thread {
  public:
    control_thread(forwarder& all, std::string const& path)
        : server_{context_, path, [&all](std::string_view line) { return all.execute(line); }} {
        auto const run = [](void* self) -> void* {
            static_cast<control_thread*>(self)->context_.run();
            return nullptr;
        };
        if (int const failed = rte_ctrl_thread_create(&thread_, "control", nullptr, run, this); failed != 0)
            throw std::runtime_error{std::string{"no thread to control: "} + rte_strerror(-failed)};
    }
    control_thread(control_thread const&) = delete;
    control_thread& operator=(control_thread const&) = delete;
    ~control_thread() {
        context_.stop();
        pthread_join(thread_, nullptr);
    }

  private:
    boost::asio::io_context context_{1};
    examples::control_server server_;
    pthread_t thread_{};
};

} // namespace dpdk
