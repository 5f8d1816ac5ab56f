#pragma once

#include "kubeproxy/dataplane/step.hpp"

#include <array>
#include <cassert>
#include <cstddef>
#include <cstdint>
#include <tuple>
#include <type_traits>
#include <utility>

namespace kubeproxy {
inline namespace v0_2 {

namespace detail {

template <class... T>
struct type_list {};

template <class List, class T>
struct append_unique;
template <class... Have, class T>
struct append_unique<type_list<Have...>, T> {
    static constexpr bool is_known = (std::same_as<Have, T> || ...) || std::same_as<T, settled>;
    using type = std::conditional_t<is_known, type_list<Have...>, type_list<Have..., T>>;
};

/// `List` and the alternatives of a stage's result that are not settled.
template <class List, class Result>
struct append_next;
template <class List>
struct append_next<List, settled> {
    using type = List;
};
template <class List>
struct append_next<List, step<>> {
    using type = List;
};
template <class List, class First, class... Rest>
struct append_next<List, step<First, Rest...>> : append_next<typename append_unique<List, First>::type, step<Rest...>> {
};

template <class Stage, class In>
concept takes = std::is_invocable_v<Stage&, In&>;

/// What an `In` is behind a stage: the stage's result, or itself where the stage does not take it.
template <class Stage, class In>
struct result_of {
    using type = step<In>;
};
template <class Stage, class In>
    requires takes<Stage, In>
struct result_of<Stage, In> {
    using type = std::invoke_result_t<Stage&, In&>;
};

/// What comes out of a stage, whatever of `Inputs` goes in.
template <class Stage, class Inputs, class Collected = type_list<>>
struct outputs_of;
template <class Stage, class Collected>
struct outputs_of<Stage, type_list<>, Collected> {
    using type = Collected;
};
template <class Stage, class In, class... Rest, class Collected>
struct outputs_of<Stage, type_list<In, Rest...>, Collected>
    : outputs_of<Stage, type_list<Rest...>,
                 typename append_next<Collected, typename result_of<Stage, In>::type>::type> {};

template <class Stage, class Inputs>
inline constexpr bool never_throws = false;
template <class Stage, class... In>
inline constexpr bool never_throws<Stage, type_list<In...>> = ((!takes<Stage, In> ||
                                                                std::is_nothrow_invocable_v<Stage&, In&>)&&...);

template <class Stage, class In>
concept takes_preparation = requires(Stage& stage, In& in) {
    { stage.prepare(in) }
    noexcept;
};
template <class Stage, class Inputs>
inline constexpr bool prepares = false;
template <class Stage, class... In>
inline constexpr bool prepares<Stage, type_list<In...>> = (takes_preparation<Stage, In> || ...);

template <class Inputs, class... Stages>
struct path_check : std::bool_constant<std::same_as<Inputs, type_list<>>> {};
template <class Inputs, class Stage, class... Rest>
struct path_check<Inputs, Stage, Rest...> {
    static constexpr bool value = [] {
        if constexpr (never_throws<Stage, Inputs>)
            return path_check<typename outputs_of<Stage, Inputs>::type, Rest...>::value;
        else
            return false;
    }();
};

template <class List>
struct as_step;
template <class... T>
struct as_step<type_list<T...>> {
    using type = step<T...>;
};

/// What stage `K` of a path takes.
template <std::size_t K, class Inputs, class... Stages>
struct inputs_of {
    using type = Inputs;
};
template <std::size_t K, class Inputs, class Stage, class... Rest>
    requires(K > 0)
struct inputs_of<K, Inputs, Stage, Rest...> : inputs_of<K - 1, typename outputs_of<Stage, Inputs>::type, Rest...> {};

} // namespace detail

/// Whether the stages, in this order, settle every packet that starts as a Frame: none throws, and behind the last
/// one all are settled. A packet passes by a stage that does not take its type, so a stage in the wrong
/// place leaves packets unsettled, and the path does not compile.
template <class Frame, class... Stages>
concept data_path = detail::path_check<detail::type_list<Frame>, Stages...>::value;

/// Stages over a burst. A stage that has a `prepare` half (it computes an address and prefetches it) waits until all
/// packets of the burst have come to it and were prepared, so that their memory latencies overlap; between such
/// points each packet runs through on its own, so a packet sees what the one before it changed.
///
///     parse     all packets        ─┐ prepare(locate): prefetch the bucket
///     locate    all packets        ─┐ prepare(track): prefetch the record
///     track, select, rewrite       packet by packet, in order
template <class Frame, std::size_t Burst, class... Stages>
    requires data_path<Frame, Stages...>
class pipeline {
  public:
    static constexpr std::size_t burst_size = Burst;

    explicit pipeline(Stages&&... stages) noexcept : stages_{std::move(stages)...} {}

    /// Settles frame_at(0) to frame_at(count - 1).
    /// \pre count <= burst_size
    template <class FrameAt>
    void run(std::size_t count, FrameAt frame_at) noexcept {
        assert(count <= Burst);
        begin(count, frame_at);
        [&]<std::size_t... K>(std::index_sequence<K...>) { (resume<K + 1>(count), ...); }
        (std::make_index_sequence<sizeof...(Stages) - 1>{});
    }

    template <std::size_t K>
    [[nodiscard]] auto& stage() noexcept {
        return std::get<K>(stages_);
    }

  private:
    template <std::size_t K>
    using inputs = typename detail::inputs_of<K, detail::type_list<Frame>, Stages...>::type;
    template <std::size_t K>
    using stage_type = std::tuple_element_t<K, std::tuple<Stages...>>;
    template <std::size_t K>
    static constexpr bool waits_before = [] {
        if constexpr (K == 0 || K >= sizeof...(Stages))
            return false;
        else
            return detail::prepares<stage_type<K>, inputs<K>>;
    }();
    template <std::size_t K>
    using waiting_room =
        std::conditional_t<waits_before<K>, std::array<typename detail::as_step<inputs<K>>::type, Burst>, settled>;

    // The loops are functions of their own, so that each has all registers.
    template <class FrameAt>
    [[gnu::noinline]] void begin(std::size_t count, FrameAt frame_at) noexcept {
        for (std::size_t i = 0; i < count; ++i) {
            Frame frame = frame_at(i);
            advance<0, true>(i, frame);
        }
    }

    template <std::size_t K, bool Fresh, class Packet>
    [[gnu::always_inline]] void advance(std::size_t i, Packet& packet) noexcept {
        if constexpr (!detail::takes<stage_type<K>, Packet>) {
            advance<K + 1, true>(i, packet);
        } else if constexpr (waits_before<K> && Fresh) {
            std::get<K>(waiting_)[i] = packet;
            if constexpr (detail::takes_preparation<stage_type<K>, Packet>) std::get<K>(stages_).prepare(packet);
        } else {
            go_on<K + 1, true>(i, std::get<K>(stages_)(packet));
        }
    }

    template <std::size_t K, bool Fresh>
    [[gnu::always_inline]] void go_on(std::size_t, settled) noexcept {}
    template <std::size_t K, bool Fresh, class... Next>
    [[gnu::always_inline]] void go_on(std::size_t i, step<Next...> const& at) noexcept {
        (void)((at.template is<Next>() && (enter<K, Fresh>(i, at.template as<Next>()), true)) || ...);
    }
    template <std::size_t K, bool Fresh, class Packet>
    [[gnu::always_inline]] void enter(std::size_t i, Packet packet) noexcept {
        advance<K, Fresh>(i, packet);
    }

    /// The packets that wait before stage K go on, in order.
    template <std::size_t K>
    [[gnu::noinline]] void resume(std::size_t count) noexcept {
        if constexpr (waits_before<K>) {
            auto& room = std::get<K>(waiting_);
            for (std::size_t i = 0; i < count; ++i) go_on<K, false>(i, std::exchange(room[i], settled{}));
        }
    }

    template <std::size_t... K>
    static auto rooms(std::index_sequence<K...>) -> std::tuple<waiting_room<K>...>;

    std::tuple<Stages...> stages_;
    decltype(rooms(std::make_index_sequence<sizeof...(Stages)>{})) waiting_{};
};

} // namespace v0_2
} // namespace kubeproxy
