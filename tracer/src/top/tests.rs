//! Counts of drops made by hand, and screens drawn of them: each screen is written here as it has to look.

use std::time::Duration;

use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::style::Color;
use tracer_common::event::TapCounters;
use tracer_common::id::Identity;

use super::batch::Report;
use super::board::{Board, EVENTS, Grouping, Query, Row, Sort};
use super::draw::{Picture, draw};
use super::health::Health;
use super::page;
use super::paint::Paint;
use super::state::{Cover, State, Tab};
use crate::cilium::release::ReleaseRange;
use crate::explain::Book;
use crate::model::flow::Flow;
use crate::model::gauges::{Gauges, MapGauge, NatGauge};
use crate::model::reason::DropReason;
use crate::model::time::{BootTime, WallTime};
use crate::output::Node;
use crate::output::banner::{TapLine, TapStatus};
use crate::output::summary::{EventCounters, Metrics, ReasonCount, Reconciliation, Summary, TapSummary};
use crate::output::tests::{closed_port, denied};
use crate::output::time::Clock;

/// A second of the boot clock.
const START: u64 = 5000;
/// What the flows of `output::tests` have for it.
const WALL: i64 = 1_767_723_964_783_000_000;

fn at(mut flow: Flow, second: u64) -> Flow {
    flow.boot_time = BootTime(second * 1_000_000_000);
    flow.time = WallTime(WALL + (second - START) as i64 * 1_000_000_000);
    flow
}

fn node() -> Node {
    Node::new("default", "node-a", ReleaseRange::ANY)
}

fn now(second: u64) -> BootTime {
    BootTime(second * 1_000_000_000)
}

fn board(flows: &[Flow]) -> Board {
    let mut board = Board::new(&node(), now(START));
    flows.iter().for_each(|flow| board.add(flow, None));
    board
}

fn query(grouping: Grouping, sort: Sort, filter: &str) -> Query {
    Query { grouping, sort, filter: filter.into() }
}

fn texts(rows: &[Row]) -> Vec<&str> {
    rows.iter().map(|row| row.text.as_str()).collect()
}

/// 1 denied drop in the first second, 3 closed ports in each of the last two.
fn mixed() -> Board {
    let mut flows = vec![at(denied(), START)];
    flows.extend([8, 8, 8, 9, 9, 9].map(|second| at(closed_port(), START + second)));
    board(&flows)
}

#[test]
fn each_grouping_has_its_words() {
    let board = mixed();
    for (grouping, expected) in [
        (Grouping::Reason, ["NO_SOCKET", "Policy denied"]),
        (Grouping::Identity, ["unknown > 2 world", "1234 app=app > 2 world"]),
        (Grouping::Place, ["__udp6_lib_rcv+0x3a1  NO_SOCKET", "bpf_lxc.c:2101  Policy denied"]),
        (Grouping::Pod, ["fd00::1:10 > world 53/UDP", "default/app > world 80/TCP"]),
    ] {
        let rows = board.rows(&query(grouping, Sort::Total, ""), now(START + 10));
        assert_eq!(texts(&rows), expected, "{grouping:?}");
        assert_eq!(rows.iter().map(|row| row.count.total).collect::<Vec<_>>(), [6, 1]);
    }
}

#[test]
fn rates_are_those_of_the_last_second_and_minute() {
    let board = mixed();
    let figures = |second| {
        let rows = board.rows(&query(Grouping::Reason, Sort::Total, ""), now(second));
        rows.iter().map(|row| (row.now, row.minute)).collect::<Vec<_>>()
    };
    assert_eq!(figures(START + 10), [(3, 6), (0, 1)]);
    assert_eq!(figures(START + 11), [(0, 6), (0, 1)]);
    assert_eq!(figures(START + 61), [(0, 6), (0, 0)], "the first second is a minute ago");
    assert_eq!((board.minute(now(START + 10)), board.minute(now(START + 500))), (10, 60));
}

#[test]
fn rows_are_sorted_and_filtered() {
    let mut board = mixed();
    board.add(&at(denied(), START + 10), None);
    let rows = |sort, filter: &str| {
        let rows = board.rows(&query(Grouping::Reason, sort, filter), now(START + 11));
        texts(&rows).join(" ")
    };
    assert_eq!(rows(Sort::Now, ""), "Policy denied NO_SOCKET");
    assert_eq!(rows(Sort::Minute, ""), "NO_SOCKET Policy denied");
    assert_eq!(rows(Sort::Total, ""), "NO_SOCKET Policy denied");
    assert_eq!(rows(Sort::Last, ""), "Policy denied NO_SOCKET");
    assert_eq!(rows(Sort::Name, ""), "NO_SOCKET Policy denied");
    assert_eq!(rows(Sort::Now, "poLICY"), "Policy denied");
    assert_eq!(rows(Sort::Now, "nobody"), "");
}

#[test]
fn a_flood_is_not_copied_and_the_newest_events_are_kept() {
    let flood: Vec<Flow> = (0..1000)
        .map(|number| {
            let mut flow = at(denied(), START);
            flow.boot_time.0 += number * 1_000_000;
            flow
        })
        .collect();
    let board = board(&flood);
    let row = &board.rows(&query(Grouping::Reason, Sort::Now, ""), now(START + 1))[0];
    assert_eq!((row.now, row.count.total), (1000, 1000), "every one of them counts");
    let events = board.events(Grouping::Reason, row.values.as_deref().unwrap());
    assert_eq!(events.len(), EVENTS);
    let last = events.last().unwrap().flow.boot_time.0;
    assert!(last >= START * 1_000_000_000 + 900_000_000, "{last}");
}

#[test]
fn groups_beyond_the_limit_are_one_row_without_events() {
    let mut flows = Vec::new();
    for number in 0..4100 {
        let mut flow = at(denied(), START);
        flow.dst.identity = Some(Identity(70_000 + number));
        flows.push(flow);
    }
    let rows = board(&flows).rows(&query(Grouping::Identity, Sort::Total, "other groups"), now(START + 1));
    assert_eq!((rows.len(), rows[0].count.total, rows[0].values.is_none()), (1, 4, true));
}

#[test]
fn set_back_there_is_nothing() {
    let mut board = mixed();
    board.reset(now(START + 20));
    assert_eq!(board.all(now(START + 21)).count.total, 0);
    assert!(board.rows(&query(Grouping::Pod, Sort::Now, ""), now(START + 21)).is_empty());
    assert_eq!(board.minute(now(START + 25)), 5);
}

#[test]
fn foreign_names_command_no_terminal() {
    let mut flow = at(denied(), START);
    flow.cilium = None;
    flow.kernel = closed_port().kernel;
    flow.kernel.iter_mut().for_each(|kernel| kernel.reason_name = Some("\x1b[2J".into()));
    let rows = board(&[flow]).rows(&query(Grouping::Reason, Sort::Now, ""), now(START + 1));
    assert!(!rows[0].text.contains('\x1b'), "{:?}", rows[0].text);
}

fn health() -> Health {
    let counters = TapCounters { seen: 900, emitted: 7, ring_full: 2, ..TapCounters::default() };
    let row =
        ReasonCount { reason: DropReason(133), counted: 3, shown: 1, filtered: 0, folded: 0, after_end: 0 };
    let summary = Summary {
        duration: Duration::from_secs(10),
        taps: vec![TapSummary { name: "free", hook: "tp_btf kfree_skb".into(), counters, missed: Some(4) }],
        events: EventCounters {
            received: 7,
            shown: 7,
            filtered: 5,
            folded: vec![("other-host", 11)],
            ..EventCounters::default()
        },
        metrics: Metrics::Compared(Reconciliation { reasons: vec![row], lost: 2, ..Default::default() }),
        ..Summary::default()
    };
    let mut health = Health::new(vec![
        TapLine { name: "free", state: TapStatus::On("tp_btf kfree_skb".into()) },
        TapLine { name: "message", state: TapStatus::Off("no fentry".into()) },
    ]);
    health.hear(summary);
    let map = |name: &str, entries, expired| MapGauge {
        name: name.into(),
        entries,
        max_entries: 1000,
        evicts: true,
        expired,
        growth: Some(12.0),
    };
    health.gauges = Some(Ok(Gauges {
        maps: vec![
            map("cilium_ct4_global", 123, Some(5)),
            map("cilium_snat_v4_external", 960, None),
            map("cilium_lxc", 3, None),
        ],
        nat: vec![NatGauge {
            egress: "172.18.0.2".parse().unwrap(),
            remote: "1.1.1.1:443".parse().unwrap(),
            protocol: 6,
            used: 31_000,
            failure: 0.85,
        }],
        heartbeat_age: Some(840),
        complete: true,
        ..Gauges::default()
    }));
    health
}

const PLAIN: Paint = Paint { color: false, ascii: false };

struct Shot {
    terminal: Terminal<TestBackend>,
}

impl Shot {
    /// Lines without the blanks at their ends.
    fn lines(&self) -> Vec<String> {
        let buffer = self.terminal.backend().buffer();
        let width = usize::from(buffer.area.width);
        let cells: Vec<&str> = buffer.content.iter().map(|cell| cell.symbol()).collect();
        cells.chunks(width).map(|line| line.concat().trim_end().to_owned()).collect()
    }
}

fn shot(width: u16, height: u16, state: &State, board: &Board, health: &Health, paint: Paint) -> Shot {
    let moment = now(START + 10);
    let rows = state.query().map(|query| board.rows(&query, moment)).unwrap_or_default();
    let all = board.all(moment);
    let page = match (&state.cover, state.tab) {
        (Cover::Help, _) => page::help(),
        (_, Tab::Maps) => health.maps(paint),
        (_, Tab::Taps) => health.counters(paint),
        _ => Vec::new(),
    };
    let picture = Picture {
        paint,
        state,
        node: "node-a",
        clock: "2026-01-06T18:26:14Z",
        now: WallTime(WALL + 10_000_000_000),
        elapsed: 10,
        all: &all,
        minute: board.minute(moment),
        rows: &rows,
        chosen: 0,
        health,
        page: &page,
    };
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal.draw(|frame| draw(frame.buffer_mut(), &picture)).unwrap();
    Shot { terminal }
}

#[test]
fn the_screen_of_80_by_24() {
    let shot = shot(80, 24, &State::default(), &mixed(), &health(), PLAIN);
    let mut expected = vec![
        " tracer top  node-a  for 10s                               2026-01-06T18:26:14Z",
        "drops  3/s now, 0.7/s over the last 10 s, 7 in all                            █",
        "seen   INCOMPLETE: lost 2, malformed 0, unaccounted 0; filtered 5, folded 11",
        "taps   free tp_btf kfree_skb, message off",
        "fill   snat_v4_external 96.0%  ct4_global 12.3%",
        "agent  NO HEARTBEAT for 14m; SNAT fails 85.0%: 31000 ports to 1.1.1.1:443/TCP",
        " 1 reason  2 identity  3 place  4 pod  5 maps  6 taps, losses   sort: now",
        " NOW/S  1MIN/S     TOTAL  LAST MINUTE   REASON",
        "     3     0.6         6             █  NO_SOCKET",
        "     0     0.1         1            ▁  Policy denied",
    ];
    expected.resize(23, "");
    expected.push("q quit  ? help  Tab group  Enter events  s sort  / filter  p pause  r reset");
    let lines = shot.lines();
    for (line, wanted) in lines.iter().zip(&expected) {
        if !wanted.contains(['█', '▁']) {
            assert!(line.starts_with(wanted), "\n{}\n{line:?}\n{wanted:?}", lines.join("\n"));
        }
    }
    assert_eq!(lines.len(), 24);
    // Seven in the last ten seconds: one cell of five seconds each, and the older one.
    assert_eq!(lines[8], "     3     0.6         6             █  NO_SOCKET");
    assert_eq!(lines[9], "     0     0.1         1            █   Policy denied");
    assert!(
        lines[1].ends_with('█') && lines[1].starts_with("drops  3/s now, 0.7/s over the last 10 s, 7 in all")
    );
}

#[test]
fn wide_and_tall_there_is_room_for_maps_and_counters() {
    let lines = shot(160, 50, &State::default(), &mixed(), &health(), PLAIN).lines();
    let text = lines.join("\n");
    assert_eq!(lines.len(), 50);
    for wanted in [
        "cilium_snat_v4_external              960      1000    96.0%     +12.0         -",
        "  172.18.0.2 > 1.1.1.1:443 TCP                          31000            85.0%",
        "taps, losses (6)",
        "ring full                            2                 -",
        "lost                           2",
        "unaccounted                    0",
        "     3     0.6         6     1s  ",
    ] {
        assert!(text.contains(wanted), "no `{wanted}` in\n{text}");
    }
}

#[test]
fn every_counter_has_a_line_also_when_it_is_zero() {
    let state = State { tab: Tab::Taps, ..State::default() };
    let text = shot(80, 50, &state, &mixed(), &health(), PLAIN).lines().join("\n");
    for (name, _) in crate::output::summary::tap_counters(&TapCounters::default()) {
        assert!(text.contains(&format!("  {}", name.replace('_', " "))), "no {name} in\n{text}");
    }
    for wanted in [
        "seen                               900                 -",
        "missed                               4                 -",
        "message is off: no fentry",
        "received                     7    counted                        3",
        "lost in queues               0    unaccounted                    0",
        "folded other-host               11",
    ] {
        assert!(text.contains(wanted), "no `{wanted}` in\n{text}");
    }
}

#[test]
fn small_screens_cut_lines_and_tiny_ones_say_so() {
    let small = shot(60, 14, &State::default(), &mixed(), &health(), PLAIN).lines();
    assert!(small[8].ends_with("NO_SOCKET") && small[13].starts_with("q quit"), "{}", small.join("\n"));
    let tiny = shot(50, 5, &State::default(), &mixed(), &health(), PLAIN).lines();
    assert_eq!(tiny[0], "tracer top: 50x5 is too small, 80x24 is enough");
    for (width, height) in [(1, 1), (60, 1), (300, 14), (61, 200), (158, 40), (157, 40)] {
        shot(width, height, &State::default(), &mixed(), &health(), PLAIN);
    }
}

#[test]
fn without_colour_no_cell_has_one() {
    for tab in Tab::ALL {
        let state = State { tab, ..State::default() };
        for cell in &shot(160, 50, &state, &mixed(), &health(), PLAIN).terminal.backend().buffer().content {
            assert_eq!((cell.fg, cell.bg), (Color::Reset, Color::Reset), "{tab:?}");
        }
        let colored = Paint { color: true, ..PLAIN };
        let shot = shot(160, 50, &state, &mixed(), &health(), colored);
        assert!(shot.terminal.backend().buffer().content.iter().any(|cell| cell.fg == Color::Red), "{tab:?}");
    }
}

#[test]
fn an_empty_screen_says_that_nothing_was_dropped() {
    let empty = Board::new(&node(), now(START));
    let lines = shot(80, 24, &State::default(), &empty, &Health::default(), PLAIN).lines();
    assert_eq!(lines[8], "  no drops so far");
    assert_eq!(
        (lines[2].as_str(), lines[4].as_str()),
        ("seen   no report yet", "fill   maps are being read")
    );
    let state = State { filter: "abc".into(), ..State::default() };
    let lines = shot(80, 24, &state, &mixed(), &Health::default(), PLAIN).lines();
    assert_eq!(lines[8], "  no row with `abc`; Esc takes the filter back");
}

#[test]
fn the_events_of_a_row_come_with_what_the_reason_means() {
    let board = mixed();
    let rows = board.rows(&query(Grouping::Reason, Sort::Name, "denied"), now(START + 10));
    let events = board.events(Grouping::Reason, rows[0].values.as_deref().unwrap());
    let page = page::events(&events, &node(), Some(&Book::new(None)), 80, PLAIN);
    let lines: Vec<String> = page.iter().map(ToString::to_string).collect();
    assert!(lines[0].starts_with("POLICY_DENIED: "), "{lines:?}");
    assert!(lines.iter().any(|line| line.contains("default/app:53875 (ID:1234) <>")), "{lines:?}");
    assert!(lines.iter().any(|line| line.starts_with("POLICY_DENIED · 133")), "{lines:?}");
    assert!(lines.iter().any(|line| line == "What to do"));
    assert!(lines.iter().all(|line| line.chars().count() <= 80), "{lines:?}");
}

fn report(board: &Board, health: &Health, json: bool, rows: usize) -> String {
    let report = Report {
        board,
        health,
        time: WallTime(WALL + 10_000_000_000),
        now: now(START + 10),
        interval: Duration::from_secs(2),
        is_final: true,
        rows,
    };
    let mut out = Vec::new();
    match json {
        true => report.json(&mut out, &mut Clock::json()),
        false => report.text(&mut out, &mut Clock::json()),
    }
    String::from_utf8(out).unwrap()
}

#[test]
fn a_report_in_json_has_every_count() {
    let line = report(&mixed(), &health(), true, 1);
    assert_eq!(line.lines().count(), 1);
    let line: serde_json::Value = serde_json::from_str(&line).unwrap();
    assert_eq!((&line["node_name"], &line["time"]), (&"node-a".into(), &"2026-01-06T18:26:14.783Z".into()));
    let top = &line["top"];
    let drops = serde_json::json!({
        "count": "7", "total": "7", "per_second": 3.5, "per_second_last_minute": 0.7
    });
    assert_eq!(top["drops"], drops);
    let place = serde_json::json!({
        "rows": [{
            "place": "__udp6_lib_rcv+0x3a1", "reason": "NO_SOCKET", "count": "6", "total": "6",
            "per_second": 3, "per_second_last_minute": 0.6,
            "first_seen": "2026-01-06T18:26:12.783Z", "last_seen": "2026-01-06T18:26:13.783Z"
        }],
        "more_rows": 1, "more_count": "1", "more_total": "1"
    });
    assert_eq!(top["groups"]["place"], place);
    assert_eq!(top["maps"][0]["usage_percent"], serde_json::json!(12.3));
    assert_eq!(top["source_nat"][0]["failure_percent"], serde_json::json!(85.0));
    assert_eq!(top["agent"]["alive"], false);
    assert_eq!((&top["summary"]["lost"], &top["final"]), (&"2".into(), &true.into()));
}

#[test]
fn a_report_in_text_has_them_too() {
    let text = report(&mixed(), &health(), false, 1);
    for wanted in [
        "2026-01-06T18:26:14.783Z node-a: 7 drops in 2.0 s, 0.7/s over the last 10 s, 7 in all\n",
        "      NEW  1MIN/S      TOTAL  REASON\n        6     0.6          6  NO_SOCKET\n        1                  1  in 1 more rows\n",
        "      960       1000    96.00      12.0  cilium_snat_v4_external\n",
        "source NAT: 172.18.0.2 > 1.1.1.1:443 TCP: 31000 ports in use, the next connection fails with 85.0%\n",
        "summary of 10.0 s: INCOMPLETE, lost 2, malformed 0, unaccounted 0\n",
    ] {
        assert!(text.contains(wanted), "no `{wanted}` in\n{text}");
    }
}
