//! `tracer top`: counts of drops by what they have in common, with their rates, and how they are drawn or printed.
//! Takes flows, summaries and figures of maps as values; knows no tap, no map, no thread. [`board`] counts, [`state`] is
//! what keys have chosen, [`draw`] makes a screen of both, [`batch`] makes text and JSON.

pub mod batch;
pub mod board;
pub mod draw;
pub mod health;
mod label;
pub mod page;
pub mod paint;
mod rate;
pub mod state;

#[cfg(test)]
mod tests;
