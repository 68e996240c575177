//! Pages of text: help, and what a group is made of.

use ratatui::text::Line;

use super::board::Event;
use super::health::safe;
use super::paint::Paint;
use crate::explain::{Book, Entry, Group};
use crate::model::flow::Flow;
use crate::output::explain;
use crate::output::options::OutputOptions;
use crate::output::{Node, Printer};

const HELP: &str = "\
1 2 3 4         drops by reason, identity pair, place, pods and port
5 6             maps and source NAT; taps and every counter of what was lost
Tab Shift-Tab   the next of them, the one before (also Right, Left)
Up Down j k     choose a row; PgUp, PgDn, Home, End, g, G
Enter           the last events of the row, why, and what the reason means
s               sort by: now, last minute, total, last seen, name
/               show rows with this text only; Esc shows all again
p Space         stop the picture; counting goes on
r               set all counts back
q Esc Ctrl-C    quit

NOW/S           drops in the last second that is over
1MIN/S          drops a second over the last minute (or since the start)
LAST MINUTE     drops over time, now at the right; each row has its own scale
seen            whether every drop that Cilium counted was seen
fill            how full connection tracking and NAT are, read every 10 s
SNAT            where the next connection most likely gets no source port";

pub fn help() -> Vec<Line<'static>> {
    HELP.lines().map(|line| Line::from(format!("  {line}"))).collect()
}

/// The last events of a group, the newest first, and what its reason means.
pub fn events(
    events: &[Event],
    node: &Node,
    book: Option<&Book>,
    width: usize,
    paint: Paint,
) -> Vec<Line<'static>> {
    let Some(newest) = events.last() else {
        return vec![Line::from("  no events: the counts were set back")];
    };
    let entries = book.map(|book| explained(book, &newest.flow)).unwrap_or_default();
    let mut lines = Vec::new();
    for entry in &entries {
        let brief = entry.text.map_or("no text about this reason yet", |text| text.brief());
        let brief = format!("{}: {brief}", safe(&entry.name));
        lines.extend(
            wrapped(&brief, "", "    ", width).into_iter().map(|line| Line::from(line).style(paint.bold())),
        );
    }
    let mut told = Vec::new();
    for event in events.iter().rev() {
        let mut text = printed(event, node);
        let mut why = text.split_off(text.len().min(1));
        // What holds for several in a row is said once.
        if why == told {
            why.clear();
        } else {
            told.clone_from(&why);
        }
        lines.extend(text.iter().flat_map(|line| wrapped(line, "", "    ", width)).map(Line::from));
        lines.extend(
            why.iter()
                .flat_map(|line| wrapped(line, "  ", "       ", width))
                .map(|line| Line::from(line).style(paint.warn())),
        );
    }
    for entry in entries {
        let mut page = Vec::new();
        explain::page(&mut page, entry, width);
        lines.push(Line::default());
        let page = String::from_utf8_lossy(&page).into_owned();
        lines.extend(page.lines().enumerate().map(|(at, line)| {
            let line = Line::from(line.to_owned());
            if at == 0 { line.style(paint.bold()) } else { line }
        }));
    }
    lines
}

/// As `drops --why` prints it.
fn printed(event: &Event, node: &Node) -> Vec<String> {
    let options = OutputOptions { names: true, ..OutputOptions::default() };
    let mut printer = Printer::new(Vec::new(), &options, node.clone());
    // Writing to a Vec cannot fail.
    let _ = printer.explained(&event.flow, event.why.as_deref());
    let bytes = printer.into_inner().unwrap_or_default();
    String::from_utf8_lossy(&bytes).lines().map(|line| line.trim_start().to_owned()).collect()
}

/// What is said about the reason: Cilium's, else the kernel's.
pub fn explained<'a>(book: &'a Book, flow: &Flow) -> Vec<&'a Entry> {
    let kernel = flow.kernel.as_ref().and_then(|kernel| kernel.reason_name.as_deref());
    match (flow.cilium, kernel) {
        (Some(drop), _) => book.find(&drop.reason.0.to_string(), &[Group::Cilium]),
        (None, Some(name)) => book.find(name, &[Group::Kernel]),
        (None, None) => Vec::new(),
    }
}

/// `text` in lines that fit, broken between words where that is possible.
fn wrapped(text: &str, first: &str, next: &str, width: usize) -> Vec<String> {
    let mut lines = vec![first.to_owned()];
    let mut is_empty = true;
    for word in text.split(' ') {
        let used = lines.last().map_or(0, |line| line.chars().count());
        if !is_empty && used + 1 + word.chars().count() > width {
            lines.push(next.to_owned());
            is_empty = true;
        }
        let Some(line) = lines.last_mut() else { break };
        if !is_empty {
            line.push(' ');
        }
        line.push_str(word);
        is_empty = false;
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_break_between_words_and_lose_none() {
        assert_eq!(wrapped("aa bb cc", "", "  ", 5), ["aa bb", "  cc"]);
        assert_eq!(wrapped("aaaaaaaa b", "", "  ", 5), ["aaaaaaaa", "  b"]);
        assert_eq!(wrapped("", "> ", "  ", 5), ["> "]);
        assert_eq!(wrapped("a  b", "", "", 10), ["a  b"]);
    }

    #[test]
    fn help_fits_the_smallest_screen() {
        assert!(HELP.lines().all(|line| line.chars().count() <= 78), "80 columns");
    }
}
