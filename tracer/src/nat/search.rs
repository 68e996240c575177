//! The datapath's search for a free source port, replayed (bpf/lib/nat.h). It tries the port that the packet
//! came with, then one at random, and then goes on from port to port by a fixed rule until its tries are used
//! up. So whether a search fails is decided by a few ports and not by how full the range is, and it can be
//! worked out exactly.

use super::PortRange;

/// How a 16-bit number becomes a port of the range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Clamp {
    /// `first + (value * size >> 16)`. With the usual range the port after a port is half-way between it and
    /// the end, and every search ends in the same few ports.
    Scale,
    /// `first + value % (size - 1)`: older releases.
    Modulo,
}

/// What a search does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Search {
    pub range: PortRange,
    pub clamp: Clamp,
    /// Ports that are looked at before the packet is dropped, the kept one included.
    pub tries: u32,
}

impl Search {
    /// The port of the range for a 16-bit number.
    pub const fn clamp(&self, value: u16) -> u16 {
        let (value, size) = (value as u32, self.range.size());
        let offset = match self.clamp {
            Clamp::Scale => (value * size) >> 16,
            Clamp::Modulo if size > 1 => value % (size - 1),
            Clamp::Modulo => 0,
        };
        self.range.first + offset as u16
    }

    /// The port that is tried after `port`.
    pub const fn next(&self, port: u16) -> u16 {
        self.clamp(port.wrapping_add(1))
    }

    /// The first port to try for a packet from `source`; `random` is used if that is outside of the range.
    pub const fn keep(&self, source: u16, random: u16) -> u16 {
        if self.range.contains(source) { source } else { self.clamp(random) }
    }

    /// The ports that long searches end in, in the order in which they are tried; empty when there are so
    /// many that they say nothing.
    pub fn shared_ports(&self) -> Vec<u16> {
        const MANY: usize = 64;
        let settled = (0..self.range.size()).fold(self.range.first, |port, _| self.next(port));
        let circle = std::iter::successors(Some(settled), |port| Some(self.next(*port)));
        let mut ports: Vec<u16> = circle.take(MANY + 1).collect();
        match ports[1..].iter().position(|port| *port == settled) {
            Some(last) => {
                ports.truncate(last + 1);
                ports
            }
            None => Vec::new(),
        }
    }
}

/// How many tries in a row fail when they start at a port.
mod run {
    pub const FREE: u32 = 0;
    /// The port is used, how many follow is not worked out yet.
    pub const UNKNOWN: u32 = u32::MAX;
    /// The port is being worked out.
    pub const OPEN: u32 = u32::MAX - 1;
    /// All, for ever.
    pub const ENDLESS: u32 = u32::MAX - 2;
}

/// Works out chances of failure for one destination after the other; its memory is used again.
#[derive(Debug)]
pub struct Odds {
    search: Search,
    /// Of 65536 random numbers, how many become this port. By offset in the range.
    weights: Vec<u32>,
    /// By offset in the range; [`run`].
    runs: Vec<u32>,
    path: Vec<u16>,
}

impl Odds {
    pub fn new(search: Search) -> Self {
        let size = search.range.size() as usize;
        let mut weights = vec![0; size];
        for value in 0..=u16::MAX {
            weights[usize::from(search.clamp(value) - search.range.first)] += 1;
        }
        Self { search, weights, runs: vec![run::FREE; size], path: Vec::new() }
    }

    pub fn search(&self) -> &Search {
        &self.search
    }

    /// The chance that the next search fails, from 0 to 1, when `used` (each port once, all in the range) are
    /// taken, and each source port of `sources` is as likely as the others.
    pub fn failure(&mut self, used: &[u16], sources: PortRange) -> f64 {
        for port in used {
            *self.run_mut(*port) = run::UNKNOWN;
        }
        let tries = self.search.tries.saturating_sub(1);
        let (mut random, mut chain) = (0u64, 0u64);
        for port in used {
            let weight = u64::from(self.weights[self.offset(*port)]);
            random += weight;
            chain += if self.run_length(*port) >= tries { weight } else { 0 };
        }
        for port in used {
            *self.run_mut(*port) = run::FREE;
        }
        let share = |weight: u64| weight as f64 / 65536.0;
        let chain = if tries == 0 { 1.0 } else { share(chain) };
        self.first_try_fails(used, sources, share(random)) * chain
    }

    /// `random`: the chance that a random port is taken.
    fn first_try_fails(&self, used: &[u16], sources: PortRange, random: f64) -> f64 {
        let range = self.search.range;
        let kept = u32::from(sources.last.min(range.last)) + 1;
        let kept = kept.saturating_sub(sources.first.max(range.first).into());
        let taken = used.iter().filter(|port| sources.contains(**port)).count();
        (taken as f64 + f64::from(sources.size() - kept) * random) / f64::from(sources.size())
    }

    fn offset(&self, port: u16) -> usize {
        usize::from(port - self.search.range.first)
    }

    fn run_mut(&mut self, port: u16) -> &mut u32 {
        let offset = self.offset(port);
        &mut self.runs[offset]
    }

    /// Follows the rule from `port` until a port is free or known, then tells everyone on the way.
    fn run_length(&mut self, port: u16) -> u32 {
        let mut at = port;
        while *self.run_mut(at) == run::UNKNOWN {
            *self.run_mut(at) = run::OPEN;
            self.path.push(at);
            at = self.search.next(at);
        }
        let mut length = match *self.run_mut(at) {
            // Back on the way itself: whoever came here goes round for ever.
            run::OPEN => run::ENDLESS,
            known => known,
        };
        while let Some(passed) = self.path.pop() {
            length = if length == run::ENDLESS { length } else { length + 1 };
            *self.run_mut(passed) = length;
        }
        *self.run_mut(port)
    }
}

#[cfg(test)]
mod tests;
