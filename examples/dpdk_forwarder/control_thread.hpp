#pragma once

#include "dpdk_forwarder/forwarder.hpp"

#include "support/control_server.hpp"

#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <rte_errno.h>
#include <rte_lcore.h>

#include <pthread.h>

#include <chrono>
#include <stdexcept>
#include <string>
#include <string_view>

namespace dpdk {

/// Answers `ku` lines on a Unix socket while workers run, and ends what has drained, on a thread beside the lcores'
/// processors where there is one.
class control_thread {
  public:
    control_thread(forwarder& all, std::string const& path)
        : all_{&all}, server_{context_, path, [&all](std::string_view line) { return all.execute(line); }} {
        await_timer();
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
    void await_timer() {
        timer_.expires_after(std::chrono::seconds{1});
        timer_.async_wait([this](boost::system::error_code const& wrong) {
            if (wrong) return;
            all_->tick();
            await_timer();
        });
    }

    forwarder* all_;
    boost::asio::io_context context_{1};
    examples::control_server server_;
    boost::asio::steady_timer timer_{context_};
    pthread_t thread_{};
};

} // namespace dpdk
