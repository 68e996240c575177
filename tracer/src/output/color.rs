//! Colours of the text formats, and the decision whether to use any.

use anstyle::{AnsiColor, Reset, Style};

/// `--color`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ColorChoice {
    #[default]
    Auto,
    Always,
    Never,
}

/// The environment variables that have a say.
#[derive(Clone, Debug, Default)]
pub struct ColorEnv {
    pub no_color: Option<String>,
    pub clicolor_force: Option<String>,
    pub term: Option<String>,
}

impl ColorEnv {
    /// From the environment of this process.
    pub fn from_process() -> Self {
        let get = |name| std::env::var_os(name).map(|v| v.to_string_lossy().into_owned());
        Self { no_color: get("NO_COLOR"), clicolor_force: get("CLICOLOR_FORCE"), term: get("TERM") }
    }
}

/// Whether to colour: the flag decides; else a non-empty NO_COLOR says no, CLICOLOR_FORCE says yes, TERM=dumb
/// says no, and last of all it takes a terminal.
pub fn decide(choice: ColorChoice, env: &ColorEnv, is_terminal: bool) -> bool {
    let set = |value: &Option<String>| value.as_deref().is_some_and(|v| !v.is_empty());
    match choice {
        ColorChoice::Always => true,
        ColorChoice::Never => false,
        ColorChoice::Auto if set(&env.no_color) => false,
        ColorChoice::Auto if set(&env.clicolor_force) && env.clicolor_force.as_deref() != Some("0") => true,
        ColorChoice::Auto => is_terminal && env.term.as_deref() != Some("dumb"),
    }
}

/// Escape sequences, rendered once. All empty without colour.
#[derive(Debug, Default)]
pub(super) struct Palette {
    pub host: String,
    pub port: String,
    pub identity: String,
    pub forwarded: String,
    pub dropped: String,
    pub noticed: String,
    pub reset: String,
}

impl Palette {
    pub fn new(color: bool) -> Self {
        if !color {
            return Self::default();
        }
        let start = |color: AnsiColor| Style::new().fg_color(Some(color.into())).render().to_string();
        Self {
            host: start(AnsiColor::Cyan),
            port: start(AnsiColor::Yellow),
            identity: start(AnsiColor::Magenta),
            forwarded: start(AnsiColor::Green),
            dropped: start(AnsiColor::Red),
            noticed: start(AnsiColor::Yellow),
            reset: Reset.render().to_string(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_flag_wins_then_the_environment_then_the_terminal() {
        let env = |no: &str, force: &str, term: &str| {
            let some = |v: &str| (v != "-").then(|| v.to_owned());
            ColorEnv { no_color: some(no), clicolor_force: some(force), term: some(term) }
        };
        for (choice, env, terminal, expected) in [
            (ColorChoice::Always, env("1", "-", "dumb"), false, true),
            (ColorChoice::Never, env("-", "1", "xterm"), true, false),
            (ColorChoice::Auto, env("-", "-", "xterm"), true, true),
            (ColorChoice::Auto, env("-", "-", "xterm"), false, false),
            (ColorChoice::Auto, env("-", "-", "-"), true, true),
            (ColorChoice::Auto, env("1", "-", "xterm"), true, false),
            (ColorChoice::Auto, env("", "-", "xterm"), true, true),
            (ColorChoice::Auto, env("-", "-", "dumb"), true, false),
            (ColorChoice::Auto, env("-", "1", "dumb"), false, true),
            (ColorChoice::Auto, env("-", "0", "xterm"), false, false),
            (ColorChoice::Auto, env("1", "1", "xterm"), true, false),
        ] {
            assert_eq!(decide(choice, &env, terminal), expected, "{choice:?} {env:?} {terminal}");
        }
    }

    #[test]
    fn sequences_are_the_usual_ones() {
        let palette = Palette::new(true);
        assert_eq!((palette.host.as_str(), palette.reset.as_str()), ("\x1b[36m", "\x1b[0m"));
        assert_eq!((palette.dropped.as_str(), palette.identity.as_str()), ("\x1b[31m", "\x1b[35m"));
    }
}
