//! Names for the numbers in the kernel's part of an event.

use std::sync::Arc;
use std::thread::{self, JoinHandle};

use super::drop_reason::DropReasons;
use super::kallsyms::Symbols;
use crate::model::names::KernelNames;

/// The running kernel's reasons and symbols. The symbol table takes tens of milliseconds to read, so a thread
/// of its own reads it while the programs are being loaded.
pub struct RunningKernel {
    reasons: DropReasons,
    symbols: Loading,
}

enum Loading {
    Running(JoinHandle<std::io::Result<Symbols>>),
    Done(Symbols),
}

/// The symbol table being read.
pub struct SymbolReader(Loading);

impl SymbolReader {
    /// Starts reading, with the rights that the caller has now.
    pub fn start() -> Self {
        let reader = thread::Builder::new().name("symbols".to_owned()).spawn(Symbols::load);
        Self(reader.map_or_else(|_| Loading::Done(Symbols::default()), Loading::Running))
    }
}

impl RunningKernel {
    pub fn new(reasons: DropReasons, symbols: SymbolReader) -> Self {
        Self { reasons, symbols: symbols.0 }
    }

    pub fn reasons(&self) -> &DropReasons {
        &self.reasons
    }

    /// The table; waits for it the first time.
    pub fn symbols(&mut self) -> &Symbols {
        if let Loading::Running(_) = self.symbols {
            let running = std::mem::replace(&mut self.symbols, Loading::Done(Symbols::default()));
            if let Loading::Running(reader) = running {
                self.symbols = Loading::Done(finished(reader));
            }
        }
        match &self.symbols {
            Loading::Done(symbols) => symbols,
            Loading::Running(_) => unreachable!("replaced above"),
        }
    }
}

fn finished(reader: JoinHandle<std::io::Result<Symbols>>) -> Symbols {
    match reader.join() {
        Ok(Ok(symbols)) => symbols,
        Ok(Err(error)) => {
            tracing::debug!(%error, "`/proc/kallsyms`");
            Symbols::default()
        }
        Err(_) => Symbols::default(),
    }
}

impl KernelNames for RunningKernel {
    fn drop_reason(&mut self, number: u32) -> Option<Arc<str>> {
        self.reasons.name(number)
    }

    fn symbol(&mut self, address: u64) -> Option<Arc<str>> {
        self.symbols().resolve(address)
    }
}
