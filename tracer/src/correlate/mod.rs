//! Ring records → named flows: a record is checked ([`record`]), the two records of one drop become one
//! ([`join`]), what they say is put together ([`facts`]) and named by what the node knows ([`name`]), and
//! harmless drops are sorted out ([`noise`]). Reads no map, no file and no clock: the caller brings the
//! names and the time.

pub mod facts;
pub mod join;
pub mod name;
pub mod noise;
pub mod record;

mod cache;

#[cfg(test)]
mod fixture;
