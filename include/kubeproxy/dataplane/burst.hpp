#pragma once

#include "kubeproxy/dataplane/step.hpp"

#include <array>
#include <cassert>
#include <concepts>
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
struct append_next { // of settled, and of what no stage may return
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

template <class Result>
inline constexpr bool is_step = std::same_as<Result, settled>;
template <class... Next>
inline constexpr bool is_step<step<Next...>> = true;

/// What is wrong with a path, as a type that names it.
struct no_fault {};
template <class Stage, class State>
struct stage_may_throw {};
template <class Stage, class State, class Result>
struct stage_returns_no_step {};
template <class State>
struct no_stage_handles {};

template <class Stage, class In>
[[nodiscard]] constexpr auto fault_at() noexcept {
    if constexpr (!takes<Stage, In>)
        return no_fault{};
    else if constexpr (!std::is_nothrow_invocable_v<Stage&, In&>)
        return stage_may_throw<Stage, In>{};
    else if constexpr (!is_step<std::invoke_result_t<Stage&, In&>>)
        return stage_returns_no_step<Stage, In, std::invoke_result_t<Stage&, In&>>{};
    else
        return no_fault{};
}
template <class Stage>
[[nodiscard]] constexpr no_fault first_fault_of(type_list<>) noexcept {
    return {};
}
template <class Stage, class In, class... Rest>
[[nodiscard]] constexpr auto first_fault_of(type_list<In, Rest...>) noexcept {
    if constexpr (std::same_as<decltype(fault_at<Stage, In>()), no_fault>)
        return first_fault_of<Stage>(type_list<Rest...>{});
    else
        return fault_at<Stage, In>();
}

template <class Stage, class In>
concept takes_preparation = requires(Stage& stage, In& in) {
    { stage.prepare(in) }
    noexcept;
};
template <class Stage, class Inputs>
inline constexpr bool prepares = false;
template <class Stage, class... In>
inline constexpr bool prepares<Stage, type_list<In...>> = (takes_preparation<Stage, In> || ...);

/// The first fault of the stages in this order, if packets of these types come to the first one.
template <class Inputs, class... Stages>
struct path_fault {
    using type = no_fault;
};
template <class In, class... Rest>
struct path_fault<type_list<In, Rest...>> {
    using type = no_stage_handles<In>;
};
template <class Inputs, class Stage, class... Rest>
struct path_fault<Inputs, Stage, Rest...> {
    using of_stage = decltype(first_fault_of<Stage>(Inputs{}));
    using type = typename std::conditional_t<std::same_as<of_stage, no_fault>,
                                             path_fault<typename outputs_of<Stage, Inputs>::type, Rest...>,
                                             std::type_identity<of_stage>>::type;
};

/// Says in words what the fault is.
template <class Fault>
struct path_check {
    static_assert(std::same_as<Fault, no_fault>);
};
template <class Stage, class State>
struct path_check<stage_may_throw<Stage, State>> {
    static_assert(!takes<Stage, State>, "a stage of this data path may throw: declare its operator() noexcept");
};
template <class Stage, class State, class Result>
struct path_check<stage_returns_no_step<Stage, State, Result>> {
    static_assert(is_step<Result>, "a stage of this data path returns neither step<...> nor settled");
};
template <class State>
struct path_check<no_stage_handles<State>> {
    static_assert(std::is_same_v<State, settled>,
                  "no stage of this data path handles packets in this state: a stage is "
                  "missing, or stands in the wrong place");
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

/// What is wrong with the stages in this order, as a type that names it: detail::no_fault, stage_may_throw,
/// stage_returns_no_step or no_stage_handles.
template <class Frame, class... Stages>
using data_path_fault = typename detail::path_fault<detail::type_list<Frame>, Stages...>::type;

/// Whether the stages, in this order, settle every packet that starts as a Frame: none throws, and behind the last
/// one all are settled. A packet passes by a stage that does not take its type, so a stage in the wrong
/// place leaves packets unsettled, and the path does not compile.
template <class Frame, class... Stages>
concept data_path = std::same_as<data_path_fault<Frame, Stages...>, detail::no_fault>;

/// Stages over a burst. A stage that has a `prepare` half (it computes an address and prefetches it) waits until all
/// packets of the burst have come to it and were prepared, so that their memory latencies overlap; between such
/// points each packet runs through on its own, so a packet sees what the one before it changed.
///
///     parse     all packets        ─┐ prepare(locate): prefetch the bucket
///     locate    all packets        ─┐ prepare(track): prefetch the record
///     track, select, rewrite       packet by packet, in order
template <class Frame, std::size_t Burst, class... Stages>
class pipeline : detail::path_check<data_path_fault<Frame, Stages...>> {
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

    template <class Stage>
    [[nodiscard]] Stage& stage() noexcept {
        return std::get<Stage>(stages_);
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
