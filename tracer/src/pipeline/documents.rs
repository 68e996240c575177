//! `tracer schema`, `completion`, `man` and `manifest`: documents on stdout.

use std::fs;
use std::io::{self, Write as _};
use std::path::Path;

use super::RunError;
use crate::cli::documents::Document;
use crate::cli::exit::Exit;
use crate::output::is_closed_pipe;
use crate::{cli, manifest, schema};

const NAME: &str = "tracer";

pub fn run(document: &Document) -> Result<Exit, RunError> {
    let text = match document {
        Document::Schema(None) => schema::DOCUMENT.as_bytes().to_vec(),
        Document::Schema(Some(output)) => one_schema(output).map_err(RunError::Output)?,
        Document::Completion(shell) => completion(*shell),
        Document::Man(None) => page().map_err(RunError::Output)?,
        Document::Man(Some(directory)) => return pages(directory),
        Document::Manifest(kind, settings) => manifest::render(*kind, settings).into_bytes(),
    };
    let mut stdout = io::stdout().lock();
    match stdout.write_all(&text).and_then(|()| stdout.flush()) {
        Err(error) if !is_closed_pipe(&error) => Err(RunError::Output(error)),
        _ => Ok(Exit::Done),
    }
}

fn one_schema(output: &str) -> io::Result<Vec<u8>> {
    let schema = schema::of(output).ok_or_else(|| io::Error::other(format!("no schema of `{output}`")))?;
    let mut text = serde_json::to_vec_pretty(&schema)?;
    text.push(b'\n');
    Ok(text)
}

fn completion(shell: clap_complete::Shell) -> Vec<u8> {
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut cli::command(), NAME, &mut text);
    text
}

fn page() -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    clap_mangen::Man::new(cli::command()).render(&mut text)?;
    Ok(text)
}

/// One page a command: `tracer-ct-list.1`.
fn pages(directory: &Path) -> Result<Exit, RunError> {
    let written =
        fs::create_dir_all(directory).and_then(|()| clap_mangen::generate_to(cli::command(), directory));
    written.map_err(|source| RunError::Pages { path: directory.display().to_string(), source })?;
    Ok(Exit::Done)
}
