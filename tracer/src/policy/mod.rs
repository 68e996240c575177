//! The datapath's decision, replayed over the entries of one endpoint's policy map: who wins, why, and what would
//! have to be there. Pure: entries and facts come from the caller, no map is read.
//!
//! [`evaluate`](evaluate::evaluate) asks the map alone; [`judge`](gate::judge) adds what surrounds the look-up;
//! [`missing`](advice::missing) and [`near_misses`](advice::near_misses) say what would change the answer.

pub mod advice;
mod choose;
pub mod decision;
pub mod evaluate;
pub mod gate;
pub mod rule;
pub mod table;

#[cfg(test)]
mod tests;
