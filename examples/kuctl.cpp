// Sends lines of the ku language to a forwarder's control socket: see --help.

#include <boost/asio/io_context.hpp>
#include <boost/asio/local/stream_protocol.hpp>
#include <boost/asio/read_until.hpp>
#include <boost/asio/write.hpp>

#include <cstdlib>
#include <exception>
#include <iostream>
#include <span>
#include <string>
#include <string_view>

namespace {

namespace asio = boost::asio;

constexpr std::string_view usage =
    "kuctl [-s SOCKET] [WORD...]\n\n"
    "Says a line of the ku language to a forwarder, and prints the answer; without words each line of the\n"
    "standard input. The socket is what the forwarder was given as --control; without -s it is $KUCTL_SOCKET.\n\n"
    "    kuctl -s /run/forwarder.sock show ku vip verbose\n"
    "    kuctl -s /run/forwarder.sock ku pod 10.96.0.1/32 10.244.1.9 del\n\n"
    "Exit status: 0; 1: a line was refused; 2: nobody is there, or the command line is wrong.\n";

enum exit_status { all_well = 0, refused = 1, not_reached = 2 };

class connection {
  public:
    explicit connection(std::string const& path) {
        try {
            stream_.connect(asio::local::stream_protocol::endpoint{path});
        } catch (boost::system::system_error const& wrong) {
            throw std::runtime_error{path + ": " + wrong.code().message()};
        }
    }
    /// The answer without the empty line at its end.
    [[nodiscard]] std::string ask(std::string const& line) {
        asio::write(stream_, asio::buffer(line + '\n'));
        auto const size = asio::read_until(stream_, asio::dynamic_buffer(input_), "\n\n");
        auto answer = input_.substr(0, size - 1);
        input_.erase(0, size);
        return answer;
    }

  private:
    asio::io_context context_;
    asio::local::stream_protocol::socket stream_{context_};
    std::string input_;
};

bool print(std::string const& answer) {
    bool const is_error = answer.starts_with("error: ");
    (is_error ? std::cerr : std::cout) << answer << std::flush;
    return !is_error;
}

int run(std::span<char* const> words) {
    std::string socket = std::getenv("KUCTL_SOCKET") == nullptr ? "" : std::getenv("KUCTL_SOCKET");
    if (words.size() >= 2 && std::string_view{words[0]} == "-s") {
        socket = words[1];
        words = words.subspan(2);
    }
    if (!words.empty() && (std::string_view{words[0]} == "--help" || std::string_view{words[0]} == "-h")) {
        std::cout << usage;
        return all_well;
    }
    if (socket.empty() || (!words.empty() && words[0][0] == '-')) {
        std::cerr << usage;
        return not_reached;
    }
    connection there{socket};
    std::string line;
    for (std::string_view const word : words) line += (line.empty() ? "" : " ") + std::string{word};
    if (!words.empty()) return print(there.ask(line)) ? all_well : refused;
    int status = all_well;
    while (std::getline(std::cin, line))
        if (!print(there.ask(line))) status = refused;
    return status;
}

} // namespace

int main(int argc, char** argv) {
    try {
        return run(std::span{argv, static_cast<std::size_t>(argc)}.subspan(1));
    } catch (std::exception const& wrong) {
        std::cerr << "kuctl: " << wrong.what() << '\n';
        return not_reached;
    }
}
