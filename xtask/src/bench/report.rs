//! The sections of `docs/performance.md`: kept one by one, put together at the end, so that measuring one topic again
//! leaves the others as they were.

use std::fmt::{self, Write as _};
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use super::machine;

const HEAD: &str = "\
# Speed

Written by `cargo xtask bench`; nothing here is edited by hand. Three figures with slashes are the smallest, the median and
the largest of the rounds. A ratio is of two runs made one right after the other; ratios carry from machine to machine
better than times do. A target that was missed is marked **missed**.
";

/// One topic's figures, as Markdown.
pub struct Section {
    title: &'static str,
    facts: Vec<String>,
    body: String,
}

impl Section {
    pub fn new(title: &'static str) -> Self {
        Self { title, facts: machine::lines(), body: String::new() }
    }

    /// A paragraph.
    pub fn text(&mut self, text: impl AsRef<str>) {
        let _ = writeln!(self.body, "\n{}", text.as_ref());
    }

    /// A table with a row of titles.
    pub fn table(&mut self, titles: &[&str], rows: &[Vec<String>]) {
        let _ = writeln!(self.body, "\n| {} |\n|{}", titles.join(" | "), "---|".repeat(titles.len()));
        for row in rows {
            let _ = writeln!(self.body, "| {} |", row.join(" | "));
        }
    }
}

impl fmt::Display for Section {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "\n## {}\n", self.title)?;
        self.facts.iter().try_for_each(|line| writeln!(f, "- {line}"))?;
        f.write_str(&self.body)
    }
}

/// `met` or `**missed**`.
pub fn verdict(met: bool) -> String {
    if met { "met" } else { "**missed**" }.to_owned()
}

/// Keeps a section for [`assemble`].
pub fn keep(scratch: &Path, name: &str, section: &Section) -> Result<()> {
    let directory = scratch.join("sections");
    let file = directory.join(format!("{name}.md"));
    fs::create_dir_all(&directory)
        .and_then(|()| fs::write(&file, section.to_string()))
        .with_context(|| format!("cannot write {}", file.display()))
}

/// Puts all sections together, in the order of their names.
pub fn assemble(scratch: &Path, file: &Path) -> Result<()> {
    let directory = scratch.join("sections");
    let entries = fs::read_dir(&directory).with_context(|| format!("cannot read {}", directory.display()))?;
    let mut names: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
    names.sort();
    let mut text = HEAD.to_owned();
    for name in names {
        text += &fs::read_to_string(&name).with_context(|| format!("cannot read {}", name.display()))?;
    }
    fs::write(file, text).with_context(|| format!("cannot write {}", file.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_section_is_a_title_facts_and_tables() {
        let mut section = Section { title: "T", facts: vec!["f".into()], body: String::new() };
        section.text("text");
        section.table(&["a", "b"], &[vec!["1".into(), "2".into()]]);
        assert_eq!(section.to_string(), "\n## T\n\n- f\n\ntext\n\n| a | b |\n|---|---|\n| 1 | 2 |\n");
    }
}
