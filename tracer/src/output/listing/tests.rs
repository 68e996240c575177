//! Listings, byte for byte.

use std::cmp::Ordering;
use std::io;
use std::ops::ControlFlow;

use super::sort::natural;
use super::*;

const COLUMNS: &[Column] =
    &[Column::text("pod_name"), Column::number("entries"), Column::text("note").wide()];

struct Pod(&'static str, i64, &'static str);

impl Row for Pod {
    fn text(&self, column: usize, out: &mut Vec<u8>) {
        match column {
            0 => value::foreign(out, self.0),
            1 => value::number(out, self.1),
            _ => value::foreign(out, self.2),
        }
    }

    fn json(&self, members: &mut Object<'_>) {
        members.always_string("pod_name", self.0);
        members.always_number("entries", self.1);
        members.always_strings("notes", [self.2]);
    }

    fn vendor(&self, out: &mut Vec<u8>) -> bool {
        value::foreign(out, self.0);
        true
    }
}

const PODS: [Pod; 3] =
    [Pod("web", 9, "a,\"b\""), Pod("db-with-long-name", 1234, ""), Pod("x\x1b[1m", -3, "{")];

fn list(options: ListingOptions, named: bool, rows: &[Pod]) -> String {
    let mut out = Vec::new();
    let mut listing = Listing::new(&mut out, &options, COLUMNS);
    if named {
        listing = listing.named("pods");
    }
    for row in rows {
        if listing.row(row).is_break() {
            break;
        }
    }
    listing.finish_with("that is all\n", |members| members.always_number("total", 3)).unwrap();
    String::from_utf8(out).unwrap()
}

fn format(format: ListFormat) -> ListingOptions {
    ListingOptions { format, ..ListingOptions::default() }
}

#[test]
fn a_table_is_as_wide_as_its_rows() {
    let expected = "\
POD NAME           ENTRIES
web                      9
db-with-long-name     1234
x^[[1m                  -3
that is all
";
    assert_eq!(list(format(ListFormat::Table), false, &PODS), expected);
    let wide = list(format(ListFormat::Wide), false, &PODS[..1]);
    assert_eq!(wide, "POD NAME  ENTRIES  NOTE\nweb             9  a,\"b\"\nthat is all\n");
    let bare = ListingOptions { no_headers: true, ..format(ListFormat::Table) };
    assert_eq!(list(bare, false, &PODS[..1]), "web  9\nthat is all\n");
}

#[test]
fn a_long_table_goes_on_with_the_widths_of_its_first_rows() {
    let rows: Vec<Pod> =
        (0..300).map(|n| Pod(if n == 250 { "much-longer" } else { "short" }, n, "")).collect();
    let text = list(format(ListFormat::Table), false, &rows);
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 302);
    assert_eq!(lines[250], "short         249");
    assert_eq!(lines[251], "much-longer      250");
    assert_eq!(lines[252], "short            251");
}

#[test]
fn json_is_one_array_or_one_object() {
    let one = r#"{"pod_name":"web","entries":9,"notes":["a,\"b\""]}"#;
    assert_eq!(list(format(ListFormat::Json), false, &PODS[..1]), format!("[\n{one}\n]\n"));
    assert_eq!(
        list(format(ListFormat::Json), true, &PODS[..1]),
        format!("{{\"pods\":[\n{one}\n],\"total\":3}}\n")
    );
    assert_eq!(list(format(ListFormat::Json), false, &[]), "[]\n");
    assert_eq!(list(format(ListFormat::Json), true, &[]), "{\"pods\":[],\"total\":3}\n");
    let all: serde_json::Value = serde_json::from_str(&list(format(ListFormat::Json), true, &PODS)).unwrap();
    assert_eq!(all["pods"][2]["pod_name"], "x\x1b[1m");
}

#[test]
fn jsonl_is_one_object_a_line() {
    let text = list(format(ListFormat::Jsonl), true, &PODS);
    let names: Vec<serde_json::Value> =
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((names.len(), &names[1]["entries"]), (3, &serde_json::json!(1234)));
}

#[test]
fn yaml_has_a_member_a_line() {
    let expected = "\
pods:
- pod_name: \"web\"
  entries: 9
  notes: [\"a,\\\"b\\\"\"]
- pod_name: \"x\\u001b[1m\"
  entries: -3
  notes: [\"{\"]
total: 3
";
    let rows = [Pod("web", 9, "a,\"b\""), Pod("x\x1b[1m", -3, "{")];
    assert_eq!(list(format(ListFormat::Yaml), true, &rows), expected);
    assert_eq!(list(format(ListFormat::Yaml), true, &[]), "pods: []\ntotal: 3\n");
}

#[test]
fn csv_quotes_what_needs_quotes() {
    let expected = "pod_name,entries,note\r\nweb,9,\"a,\"\"b\"\"\"\r\ndb-with-long-name,1234,\r\n";
    assert_eq!(list(format(ListFormat::Csv), false, &PODS[..2]), expected);
    assert_eq!(list(format(ListFormat::Csv), false, &[]), "pod_name,entries,note\r\n");
}

#[test]
fn vendor_lines_stand_alone() {
    assert_eq!(list(format(ListFormat::Cilium), false, &PODS[..2]), "web\ndb-with-long-name\n");
}

#[test]
fn sorting_follows_numbers_and_keeps_no_more_than_the_limit() {
    let names = |sort: &str, limit: Option<usize>| {
        let options = ListingOptions {
            sort: Sort::by_name(sort, COLUMNS),
            limit: limit.and_then(NonZeroUsize::new),
            ..format(ListFormat::Cilium)
        };
        list(options, false, &PODS).lines().map(|line| line[..1].to_owned()).collect::<String>()
    };
    assert_eq!(names("entries", None), "xwd");
    assert_eq!(names("-ENTRIES", None), "dwx");
    assert_eq!(names("entries", Some(2)), "xw");
    assert_eq!(names("-entries", Some(1)), "d");
    assert_eq!(Sort::by_name("colour", COLUMNS), None);
}

#[test]
fn a_sorted_table_is_aligned_however_long_its_rows_took() {
    let options = ListingOptions { sort: Sort::by_name("-entries", COLUMNS), ..format(ListFormat::Table) };
    let mut out = Vec::new();
    let mut listing = Listing::new(&mut out, &options, COLUMNS);
    assert!(PODS.iter().all(|row| listing.row(row).is_continue()));
    std::thread::sleep(std::time::Duration::from_millis(30));
    listing.finish().unwrap();
    let text = String::from_utf8(out).unwrap();
    let widths: Vec<usize> = text.lines().map(str::len).collect();
    assert_eq!(widths, [26; 4], "{text}");
}

#[test]
fn the_limit_ends_the_walk() {
    let options = ListingOptions { limit: NonZeroUsize::new(2), ..format(ListFormat::Jsonl) };
    let mut listing = Listing::new(io::sink(), &options, COLUMNS);
    assert_eq!(listing.row(&PODS[0]), ControlFlow::Continue(()));
    assert_eq!(listing.row(&PODS[1]), ControlFlow::Break(()));
    assert_eq!(listing.row(&PODS[2]), ControlFlow::Break(()));
    assert_eq!(listing.finish().unwrap(), 2);
}

#[test]
fn texts_with_numbers_sort_as_people_expect() {
    for (less, more) in [
        ("10.0.0.9:80", "10.0.0.10:80"),
        ("-5", "3"),
        ("-5", "-3"),
        ("9", "10"),
        ("12.15", "12.50"),
        ("a2", "a10"),
        ("", "a"),
        ("a", "ab"),
    ] {
        assert_eq!(natural(less.as_bytes(), more.as_bytes()), Ordering::Less, "{less} {more}");
        assert_eq!(natural(more.as_bytes(), less.as_bytes()), Ordering::Greater, "{less} {more}");
    }
    assert_eq!(natural(b"007", b"7"), Ordering::Equal);
}

struct Broken(io::ErrorKind);

impl io::Write for Broken {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        Err(self.0.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_reader_that_went_away_is_no_error_and_a_full_disk_is() {
    for (kind, is_ok) in [(io::ErrorKind::BrokenPipe, true), (io::ErrorKind::StorageFull, false)] {
        let mut listing = Listing::new(Broken(kind), &format(ListFormat::Jsonl), COLUMNS);
        let refused = (0..10_000).any(|_| listing.row(&PODS[0]).is_break());
        assert!(refused, "the walk is told to stop");
        assert_eq!(listing.finish().is_ok(), is_ok);
    }
}

#[test]
fn entries_that_nobody_understands_are_shown_as_bytes() {
    let entry = RawEntry { map: "cilium_new", key: &[1, 0xab], value: &[] };
    for (format, expected) in [
        (ListFormat::Jsonl, "{\"map\":\"cilium_new\",\"raw_key\":\"01ab\",\"raw_value\":\"\"}\n"),
        (ListFormat::Cilium, "POD NAME   ENTRIES   NOTE\ncilium_new raw key=01ab value=\n"),
        (ListFormat::Csv, "pod_name,entries,note\r\n"),
    ] {
        let mut out = Vec::new();
        let mut listing = Listing::new(&mut out, &self::format(format), COLUMNS);
        assert!(listing.raw(&entry).is_continue());
        listing.finish().unwrap();
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }
}

#[test]
fn values_are_written_as_everybody_writes_them() {
    let text = |write: &dyn Fn(&mut Vec<u8>)| {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).unwrap()
    };
    assert_eq!(text(&|out| value::socket(out, "10.0.1.5:80".parse().unwrap())), "10.0.1.5:80");
    assert_eq!(text(&|out| value::socket(out, "[fd00::5]:80".parse().unwrap())), "[fd00::5]:80");
    assert_eq!(text(&|out| value::hex(out, 0x13, 4)), "0x0013");
    assert_eq!(text(&|out| value::percent(out, 1, 3)), "33.33");
    assert_eq!(text(&|out| value::percent(out, 5, 524_288)), "0.00");
    assert_eq!(text(&|out| value::percent(out, 0, 0)), "0.00");
}
