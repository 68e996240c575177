//! What a run starts with on stderr: which taps are on and why others are not, what the kernel filters, and
//! remarks.

use std::io::{self, Write};

use super::escape;

/// A tap as the user is told about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TapLine {
    pub name: &'static str,
    pub state: TapStatus,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TapStatus {
    /// By which hook.
    On(String),
    /// Why not.
    Off(String),
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Banner {
    pub taps: Vec<TapLine>,
    /// See [`crate::filter::pushdown::Pushed`]; empty for no line.
    pub kernel_filters: String,
    /// One line each, such as "no Cilium here".
    pub notes: Vec<String>,
}

impl Banner {
    pub fn write(&self, sink: &mut impl Write) -> io::Result<()> {
        let mut out = Vec::new();
        for (at, tap) in self.taps.iter().enumerate() {
            let before = at.checked_sub(1).map(|before| &self.taps[before]);
            let (state, detail) = match &tap.state {
                TapStatus::On(hook) => ("on, ", hook.as_str()),
                state if before.is_some_and(|before| before.state == *state) => {
                    ("off, ", "for the same reason")
                }
                TapStatus::Off(why) => ("off, ", why.as_str()),
            };
            line(&mut out, &["tap ", tap.name, ": ", state], detail);
        }
        if !self.kernel_filters.is_empty() {
            line(&mut out, &["filters in kernel: "], &self.kernel_filters);
        }
        for note in &self.notes {
            line(&mut out, &["note: "], note);
        }
        sink.write_all(&out)
    }
}

/// `text` may hold error messages, and those may hold anything.
fn line(out: &mut Vec<u8>, start: &[&str], text: &str) {
    start.iter().for_each(|part| out.extend_from_slice(part.as_bytes()));
    escape::text(out, text);
    out.push(b'\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_each_and_no_foreign_control_characters() {
        let banner = Banner {
            taps: vec![
                TapLine { name: "free", state: TapStatus::On("tp_btf kfree_skb".into()) },
                TapLine {
                    name: "message",
                    state: TapStatus::Off("fentry: not permitted\nkprobe: \x1b[2J".into()),
                },
                TapLine {
                    name: "xdp_message",
                    state: TapStatus::Off("fentry: not permitted\nkprobe: \x1b[2J".into()),
                },
            ],
            kernel_filters: "identity, port".into(),
            notes: vec!["no Cilium here".into()],
        };
        let mut out = Vec::new();
        banner.write(&mut out).unwrap();
        let expected = "tap free: on, tp_btf kfree_skb\n\
                        tap message: off, fentry: not permitted\\nkprobe: ^[[2J\n\
                        tap xdp_message: off, for the same reason\n\
                        filters in kernel: identity, port\n\
                        note: no Cilium here\n";
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }
}
