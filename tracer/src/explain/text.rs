//! The parts that every explanation has.

/// What can be said about one reason.
#[derive(Clone, Copy, Debug)]
pub struct Text {
    /// The first sentence stands alone in listings.
    pub meaning: &'static str,
    /// The most frequent first.
    pub causes: &'static [&'static str],
    /// Beyond the check that every entry of its group has.
    pub confirm: &'static [Check],
    pub action: &'static [&'static str],
}

/// A command line of tracer, and what to look for in its output. Words in capitals stand for what the reader
/// knows: ENDPOINT, IP, PORT.
#[derive(Clone, Copy, Debug)]
pub struct Check {
    pub command: &'static str,
    pub shows: &'static str,
}

/// A [`Check`], as the tables write it.
pub(super) const fn check(command: &'static str, shows: &'static str) -> Check {
    Check { command, shows }
}

impl Text {
    /// The first sentence of the meaning.
    pub fn brief(&self) -> &'static str {
        let end = self.meaning.find(". ").or_else(|| self.meaning.find(".\n"));
        end.map_or(self.meaning, |end| &self.meaning[..=end])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_brief_ends_with_the_first_sentence() {
        let text = |meaning| Text { meaning, causes: &[], confirm: &[], action: &[] };
        assert_eq!(text("One, e.g.this. Two.").brief(), "One, e.g.this.");
        assert_eq!(text("Only one.").brief(), "Only one.");
    }
}
