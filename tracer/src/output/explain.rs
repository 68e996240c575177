//! Explanations: a page for each reason, or one line each in a listing.

use super::listing::{Column, Object, Row, value};
use crate::explain::{Entry, Group};

pub const COLUMNS: &[Column] = &[
    Column::text("group"),
    Column::number("number"),
    Column::text("name"),
    Column::text("theme"),
    Column::text("also").wide(),
    Column::text("meaning"),
];

/// Lines of a page are not longer than this where nothing else limits them.
pub const WIDTH: usize = 100;
/// What stands for a text that was not written yet.
const NO_TEXT: &str = "No text for this one yet.";

impl Row for Entry {
    fn text(&self, column: usize, out: &mut Vec<u8>) {
        match column {
            0 => value::word(out, self.group.name()),
            1 => self.number.into_iter().for_each(|number| value::number(out, number)),
            2 => value::foreign(out, &self.name),
            3 => value::foreign(out, &self.theme),
            4 => value::foreign(out, &self.aliases.join(", ")),
            5 => value::word(out, self.text.map_or(NO_TEXT, |text| text.brief())),
            _ => {}
        }
    }

    fn json(&self, members: &mut Object<'_>) {
        members.always_string("group", self.group.name());
        match self.number {
            Some(number) => members.always_number("number", number),
            None => members.null("number"),
        }
        members.always_string("name", &self.name);
        members.always_strings("also", self.aliases.iter().map(String::as_str));
        members.always_string("theme", &self.theme);
        members.always_flag("has_text", self.text.is_some());
        members.always_string("meaning", &meaning(self));
        members.always_strings("causes", self.text.map_or(&[][..], |text| text.causes).iter().copied());
        members.objects("confirm", self.confirm(), |object, (command, shows)| {
            object.always_string("command", &command);
            object.always_string("shows", shows);
        });
        members.always_strings("action", actions(self).iter().map(String::as_str));
        members.objects("ext_error", self.ext_errors(), |object, error| {
            object.always_number("value", error.value);
            object.always_string("name", error.name);
            object.always_string("meaning", &error.meaning);
        });
    }
}

fn meaning(entry: &Entry) -> String {
    match entry.text {
        Some(text) => text.meaning.to_owned(),
        None => format!(
            "{NO_TEXT} `{}` is a reason of this kernel, declared by its part `{}`; this version of tracer was \
             written before it, or without it.",
            entry.name, entry.theme
        ),
    }
}

fn actions(entry: &Entry) -> Vec<String> {
    match entry.text {
        Some(text) => text.action.iter().map(|action| (*action).to_owned()).collect(),
        None => vec![
            "See which function gives it (below `Confirm`), and read that function.".to_owned(),
            format!(
                "The comment beside the name in this kernel's source says what it means: git grep -n {}, in \
                 include/net/dropreason-core.h or in the part that declares it.",
                entry.name
            ),
        ],
    }
}

/// One page for people, in lines of at most `width` characters.
pub fn page(out: &mut Vec<u8>, entry: &Entry, width: usize) {
    heading(out, entry, width);
    paragraph(out, &meaning(entry), width);
    section(out, "Usual causes");
    entry.text.map_or(&[][..], |text| text.causes).iter().for_each(|cause| item(out, cause, width));
    if entry.text.is_none() {
        item(out, "Not known here.", width);
    }
    section(out, "Confirm");
    for (command, shows) in entry.confirm() {
        value::word(out, "  $ ");
        value::foreign(out, &command);
        out.push(b'\n');
        wrap(out, shows, ["      ", "      "], width);
    }
    section(out, "What to do");
    actions(entry).iter().for_each(|action| item(out, action, width));
    ext_errors(out, entry, width);
}

fn heading(out: &mut Vec<u8>, entry: &Entry, width: usize) {
    value::foreign(out, &entry.name);
    let kind = match entry.group {
        Group::Cilium => "drop reason of Cilium",
        Group::CiliumCount => "counted by Cilium in cilium_metrics, no drop reason",
        Group::ExtError => "extended error of a drop of Cilium",
        Group::Kernel if entry.number.is_none() => {
            "drop reason of the kernel; not one of the running kernel's"
        }
        Group::Kernel => "drop reason of the running kernel",
    };
    value::word(out, " · ");
    if let Some(number) = entry.number {
        value::number(out, number);
        value::word(out, " · ");
    }
    value::word(out, kind);
    value::word(out, " · ");
    value::foreign(out, &entry.theme);
    out.push(b'\n');
    if !entry.aliases.is_empty() {
        wrap(out, &format!("also: {}", entry.aliases.join(", ")), ["  ", "        "], width);
    }
    out.push(b'\n');
}

fn ext_errors(out: &mut Vec<u8>, entry: &Entry, width: usize) {
    let errors = entry.ext_errors();
    if errors.is_empty() {
        return;
    }
    section(out, "ext_error");
    for error in errors {
        wrap(out, &format!("{} {}: {}", error.value, error.name, error.meaning), ["  ", "      "], width);
    }
}

fn section(out: &mut Vec<u8>, name: &str) {
    out.push(b'\n');
    value::word(out, name);
    out.push(b'\n');
}

fn paragraph(out: &mut Vec<u8>, text: &str, width: usize) {
    wrap(out, text, ["  ", "  "], width);
}

fn item(out: &mut Vec<u8>, text: &str, width: usize) {
    wrap(out, text, ["  - ", "    "], width);
}

/// Appends `text` in lines of at most `width`, the first one led by `first`, the others by `next`.
fn wrap(out: &mut Vec<u8>, text: &str, [first, next]: [&str; 2], width: usize) {
    let mut used = 0;
    for word in text.split(' ') {
        let length = word.chars().count();
        if used == 0 || used + 1 + length > width {
            let lead = if used == 0 { first } else { next };
            if used > 0 {
                out.push(b'\n');
            }
            value::word(out, lead);
            used = lead.len();
        } else {
            out.push(b' ');
            used += 1;
        }
        value::foreign(out, word);
        used += length;
    }
    out.push(b'\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wrapped(text: &str) -> String {
        let mut out = Vec::new();
        wrap(&mut out, text, ["  - ", "    "], WIDTH);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn lines_break_between_words_at_the_width() {
        let text = "word ".repeat(40);
        let out = wrapped(text.trim());
        assert!(out.starts_with("  - word word") && out.ends_with("word\n"), "{out}");
        let lines: Vec<&str> = out.lines().collect();
        assert_eq!(lines.iter().map(|line| line.split_whitespace().count()).sum::<usize>(), 41);
        assert!(lines.len() == 3 && lines.iter().all(|line| line.len() <= WIDTH), "{out}");
        assert!(lines[1].starts_with("    word"), "{out}");
    }

    #[test]
    fn a_word_longer_than_a_line_stays_whole() {
        let long = "x".repeat(2 * WIDTH);
        assert_eq!(wrapped(&format!("a {long} b")), format!("  - a\n    {long}\n    b\n"));
    }

    #[test]
    fn what_the_kernel_calls_its_reasons_cannot_command_a_terminal() {
        let entry = Entry {
            group: Group::Kernel,
            number: Some(1),
            name: "A\x1b[2J".to_owned(),
            aliases: vec![],
            vendor: None,
            theme: "core".to_owned(),
            text: None,
        };
        let mut out = Vec::new();
        page(&mut out, &entry, WIDTH);
        assert!(!out.contains(&0x1b), "{}", String::from_utf8_lossy(&out));
        assert!(String::from_utf8_lossy(&out).contains(NO_TEXT));
    }
}
